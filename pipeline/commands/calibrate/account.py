"""What a calibration by a target comes to: the rig, its findings, and the lines that tell them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from calibration.boards import Board
from calibration.choose import Choice, choose, coverage
from calibration.detect import Sighting
from calibration.findings import (
    CameraFindings,
    Findings,
    SideOfView,
    Target,
    TargetFindings,
    TargetView,
    findings_path,
    save_findings,
)
from calibration.lens import LensName, Points, SolveError, pose_of
from calibration.rig import Matrix, Rig, save_rig
from calibration.sigmas import Sigmas, board_distance, bootstrap
from calibration.solve import Solved, rig_of, solve
from calibration.verdict import failures, warnings
from pipeline.commands.calibrate.looks import Found
from pipeline.commands.calibrate.tool import own_name
from pipeline.job import Job


@dataclass(frozen=True, slots=True)
class Account:
    """A calibration and how good it is; nothing is written yet."""

    rig: Rig
    findings: Findings
    lines: list[str]
    """For the user."""
    solved: Solved
    failures: list[str]

    def distance_of(self, board: Board, sighting: Sighting) -> float:
        """m, from the visible camera to the middle of a board that it sees."""
        points = Points(board.points[sighting.ids], sighting.points)
        rvec, tvec = pose_of(self.solved.solution.vis, points)
        R = np.asarray(cv2.Rodrigues(rvec)[0], np.float64)
        return float((R @ board.points.mean(axis=0) + tvec)[2])

    def findings_path(self, out: Path) -> Path:
        """Where they are written."""
        return findings_path(out)

    def finish(self, out: Path, *, is_accepted: bool) -> None:
        """Write rig and findings. Raises SolveError for a rig that fails the limits; its findings are written."""
        findings = self.findings.model_copy(update={"rig": out.name})
        save_findings(findings, findings_path(out))
        if self.failures and not is_accepted:
            raise SolveError(
                f"{'; '.join(self.failures)} (no rig written; --accept writes it, {findings_path(out).name} has all)"
            )
        save_rig(self.rig, out)


def calibrate_views(
    found: Found, board: Board, ir_lens: LensName | None, vis_lens: LensName | None, most: int, job: Job
) -> Account:
    """Choose views, solve, draw sigmas. Raises SolveError."""
    choice = choose(found.views, board, *found.sizes, most)
    solved = solve(choice.views, board, *found.sizes, ir_lens, vis_lens)
    sigmas = bootstrap(solved, *found.sizes)
    why = failures(solved, sigmas, *found.sizes)
    quality = {
        "views": float(len(solved.kept)),
        "ir_rms_px": solved.rms(0), "vis_rms_px": solved.rms(1),
        "ir_held_out_px": solved.held_out_rms(0), "vis_held_out_px": solved.held_out_rms(1),
        **{f"sigma_{name}": value for name, value in asdict(sigmas).items()},
        "distance_m": board_distance(solved),
    }  # fmt: skip
    created, tool = datetime.now(UTC).isoformat(timespec="seconds"), own_name()
    rig = rig_of(solved, *found.sizes).model_copy(
        update={
            "clock_offset": job.policy.offset,
            "created": created,
            "tool": tool,
            "quality": {name: round(value, 5) for name, value in quality.items()},
        }
    )
    findings = Findings(
        rig=job.out.name, ir=job.ir, vis=job.vis, created=created, tool=tool,
        warnings=warnings(solved, *found.sizes),
        target=_target(found, board, choice, solved, sigmas, why),
    )  # fmt: skip
    return Account(rig, findings, _lines(found, choice, solved, sigmas), solved, why)


def _lines(found: Found, choice: Choice, solved: Solved, sigmas: Sigmas) -> list[str]:
    left = [f"{count} {reason}" for reason, count in choice.left_out.items()]
    left += [f"{len(solved.outliers)} fit badly"] if solved.outliers else []
    cameras = []
    for name, side, optics, focal in (
        ("ir", 0, solved.solution.ir, sigmas.ir_focal_percent),
        ("vis", 1, solved.solution.vis, sigmas.vis_focal_percent),
    ):
        (fx, _, cx), (_, fy, cy), _ = optics.K
        cameras.append(
            f"{name}: {found.sizes[side][0]}x{found.sizes[side][1]}, {optics.model}, f {fx:.1f} {fy:.1f} px "
            f"+-{focal:.2f} %, centre {cx:.1f} {cy:.1f}, rms {solved.rms(side):.3f} px, "
            f"on views left out {solved.held_out_rms(side):.3f} px"
        )
    x, y, z = 1000 * solved.solution.pose.tvec
    without = f", left out: {', '.join(left)}" if left else ""
    return [
        f"{len(solved.kept)} views used{without}",
        *cameras,
        f"baseline: {x:.1f} {y:.1f} {z:.1f} mm +-{sigmas.baseline_mm:.1f}, rotation +-{sigmas.rotation_deg:.3f} deg",
        f"overlay: +-{sigmas.overlay_px:.2f} px of vis at the board's {board_distance(solved):.2f} m, "
        f"+-{sigmas.overlay_far_px:.2f} px far away",
    ]


def _target(
    found: Found, board: Board, choice: Choice, solved: Solved, sigmas: Sigmas, why: list[str]
) -> TargetFindings:
    return TargetFindings(
        target=Target(kind=board.kind, columns=board.columns, rows=board.rows, pitch_mm=1000 * board.pitch),
        pictures=found.looks,
        both=len(found.views),
        left_out=dict(choice.left_out),
        ir=_camera(found, solved, 0),
        vis=_camera(found, solved, 1),
        views=[
            TargetView(
                name=view.name, time=view.time, state="kept" if place in solved.kept else "outlier",
                ir=_side(solved, place, 0, view.ir.blur, view.ir.is_inverted),
                vis=_side(solved, place, 1, view.vis.blur, view.vis.is_inverted),
            )
            for place, view in enumerate(choice.views)
        ],
        sigmas=asdict(sigmas),
        distance_m=board_distance(solved),
        is_accepted=not why,
        failures=why,
    )  # fmt: skip


def _camera(found: Found, solved: Solved, side: int) -> CameraFindings:
    optics = solved.solution.vis if side else solved.solution.ir
    seen = [(solved.views[place].vis if side else solved.views[place].ir).seen for place in solved.kept]
    return CameraFindings(
        size=found.sizes[side],
        lens=str(optics.model),
        pictures=found.looks,
        found=found.vis if side else found.ir,
        rms_px=solved.rms(side),
        held_out_px=solved.held_out_rms(side),
        coverage=coverage(seen, found.sizes[side]).tolist(),
    )


def _side(solved: Solved, place: int, side: int, blur: float, is_inverted: bool) -> SideOfView:
    view = solved.views[place].vis if side else solved.views[place].ir
    held_out = float(solved.held_out[place, side])
    return SideOfView(
        points=_rounded(view.seen),
        residuals=_rounded(solved.offsets[place][side]),
        rms_px=float(solved.errors[place, side]),
        held_out_px=held_out if held_out == held_out else None,  # not-a-number for an outlier
        blur_px=blur,
        is_inverted=is_inverted,
    )


def _rounded(points: Matrix) -> list[tuple[float, float]]:
    return [(round(float(x), 3), round(float(y), 3)) for x, y in points]
