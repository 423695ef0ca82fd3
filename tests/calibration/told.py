"""A rig and its findings as a calibration by a target leaves them, from a rendered truth; and the pictures."""

import cv2
import numpy as np

from calibration.findings import CameraFindings, Findings, SideOfView, Target, TargetFindings, TargetView
from calibration.rig import Camera, Rig, Stereo, as_table
from tests.calibration.render import Eye, Truth, both, project, random_truth


def small_truth(seed):
    """A random truth with half the pixels a side: a quarter of the time."""

    def halved(eye):
        K = np.diag([0.5, 0.5, 1]) @ eye.K
        return Eye(eye.width // 2, eye.height // 2, K, eye.dist)

    truth = random_truth(seed)
    return Truth(halved(truth.ir), halved(truth.vis), truth.R, truth.T)


def rig_of(truth, **changes):
    """The truth as a rig file holds it."""
    ir, vis = (
        Camera(width=eye.width, height=eye.height, K=as_table(eye.K), dist=tuple(eye.dist), rms=0.25)
        for eye in (truth.ir, truth.vis)
    )
    pose = Stereo(R=as_table(truth.R), T=tuple(truth.T))
    quality = {"ir_rms_px": 0.25, "vis_rms_px": 0.25}
    return Rig(
        ir=ir, vis=vis, pose=pose, quality=quality, created="2024-05-06T07:08:09+00:00", tool="crotalus 9.8", **changes
    )


def findings_of(truth, board, poses, *, rig="rig.json", **changes):
    """Views of exact points whose residuals are 0.25 px to the right; the last one is an outlier."""
    views = []
    for number, (R, t) in enumerate(poses):
        is_kept = number + 1 < len(poses)
        sides = [
            SideOfView(
                points=[tuple(map(float, point)) for point in project(board, eye, *pose)],
                residuals=[(0.25, 0.0)] * len(board.points),
                rms_px=0.25, held_out_px=0.3 if is_kept else None, blur_px=1.0, is_inverted=False,
            )
            for eye, pose in both(truth, R, t)
        ]  # fmt: skip
        state = "kept" if is_kept else "outlier"
        views.append(TargetView(name=f"{number}.png", time=float(number), state=state, ir=sides[0], vis=sides[1]))
    cameras = [
        CameraFindings(
            size=(eye.width, eye.height), lens="pinhole k1 k2", pictures=20, found=15, rms_px=0.25, held_out_px=0.3,
            coverage=[[0, 3, 0], [4, 9, 1]],
        )
        for eye in (truth.ir, truth.vis)
    ]  # fmt: skip
    target = TargetFindings(
        target=Target(kind=board.kind, columns=board.columns, rows=board.rows, pitch_mm=1000 * board.pitch),
        pictures=20, both=14, left_out={"alike": 3}, ir=cameras[0], vis=cameras[1], views=views,
        sigmas={"ir_focal_percent": 0.4, "vis_focal_percent": 1.2, "baseline_mm": 1.5,
                "overlay_px": 0.6, "overlay_far_px": 1.1},
        distance_m=1.0, is_accepted=True, failures=[],
    ).model_copy(update=changes)  # fmt: skip
    return Findings(
        rig=rig, ir="ir", vis="vis", created="2024-05-06T07:08:09+00:00", tool="crotalus 9.8", target=target
    )


def write_pictures(folder, pictures):
    """Folders `ir` and `vis` below the folder, with pictures of the names that the findings have."""
    for side, name in enumerate(("ir", "vis")):
        (folder / name).mkdir()
        for number, pair in enumerate(pictures):
            cv2.imwrite(str(folder / name / f"{number}.png"), np.asarray(pair[side]))
