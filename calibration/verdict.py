"""Whether a calibration may be used: what it lacks, in the words of what to do about it."""

from __future__ import annotations

import cv2
import numpy as np

from calibration.choose import coverage
from calibration.rig import Size
from calibration.sigmas import Sigmas
from calibration.solve import Solved

MOST_FOCAL_PERCENT = 1.5
"""Standard error of a focal length: 1 % moves the border of a picture of 640 px by 3 px."""
MOST_OVERLAY_PERCENT = 1.0
"""Of the visible picture's width: standard error of where infrared is laid."""
MOST_ERROR_PERCENT = 0.4
"""Of a picture's width: error on views left out; 2.6 px of 640, far above any lens model's."""
LEAST_TILT_DEG, FAIR_TILT_DEG = 8.0, 15.0
"""Of nine views in ten, the largest angle to the middle one: below the first no focal length is believed, below the
second it is told. Simulated, 10 degrees leave 2 % of error with a sigma of 0.8."""
LEAST_COVERAGE = 0.4
"""Share of a picture's cells that some view should reach; the lens is extrapolated in the others."""


def tilt_deg(solved: Solved) -> float:
    """By how many degrees nine boards in ten lie to the middle one, at most."""
    normals = np.array([cv2.Rodrigues(board.rvec)[0][:, 2] for board in solved.solution.boards])
    middle = normals.mean(axis=0)
    angles = np.degrees(np.arccos(np.clip(normals @ middle / np.linalg.norm(middle), -1, 1)))
    return float(np.percentile(angles, 90))


def failures(solved: Solved, sigmas: Sigmas, ir_size: Size, vis_size: Size) -> list[str]:
    """What forbids to use a calibration, one line each; empty if nothing does."""
    found = []
    for name, percent in (("ir", sigmas.ir_focal_percent), ("vis", sigmas.vis_focal_percent)):
        if not percent <= MOST_FOCAL_PERCENT:
            found.append(
                f"focal length of {name} +-{percent:.0f} %: tilt the board more, each way, by 30 degrees and more"
            )
    tilt = tilt_deg(solved)
    if not tilt >= LEAST_TILT_DEG:
        found.append(f"the board was tilted by {tilt:.0f} degrees only: tilt it more, each way, by 30 degrees and more")
    for name, side, width in (("ir", 0, ir_size[0]), ("vis", 1, vis_size[0])):
        error = solved.held_out_rms(side)
        if not error <= MOST_ERROR_PERCENT / 100 * width:
            found.append(
                f"{error:.1f} px off in {name} on views left out: the board is bent, has "
                "another pitch in one direction, or moved between the two pictures of a view"
            )
    if not sigmas.overlay_far_px <= MOST_OVERLAY_PERCENT / 100 * vis_size[0]:
        found.append(
            f"far things are laid over to +-{sigmas.overlay_far_px:.0f} px of vis only: tilt the board more, and show "
            "it at several distances and in the corners of both pictures"
        )
    return found


def warnings(solved: Solved, ir_size: Size, vis_size: Size) -> list[str]:
    """What does not forbid it, but should be known."""
    found = []
    if solved.is_ambiguous:
        found.append(
            "the board looks the same upside down and the views do not tell: both cameras are taken to be upright "
            "alike; acircles with an odd number of rows, and charuco, leave no doubt"
        )
    if not solved.is_joint:
        found.append(
            f"together the cameras miss by {solved.rms(0):.2f} px in ir and {solved.rms(1):.2f} px in vis, each for "
            f"itself by {solved.own_errors[0]:.2f} and {solved.own_errors[1]:.2f}: they moved to each other, or the "
            "pictures of a pair are not of one moment; hold the board still, or give --offset"
        )
    for name, side, size in (("ir", 0, ir_size), ("vis", 1, vis_size)):
        views = [solved.views[place] for place in solved.kept]
        cells = coverage([(view.ir if side == 0 else view.vis).seen for view in views], size)
        share = float(np.mean(cells > 0))
        if share < LEAST_COVERAGE:
            found.append(f"the board was in {share:.0%} of the {name} picture: show it nearer, and in the corners")
    if ir_size[0] * ir_size[1] > vis_size[0] * vis_size[1]:
        found.append(f"ir is larger than vis ({ir_size[0]}x{ir_size[1]}): if the two are swapped, give infrared first")
    tilt = tilt_deg(solved)
    if LEAST_TILT_DEG <= tilt < FAIR_TILT_DEG:
        found.append(f"the board was tilted by {tilt:.0f} degrees only: 30 and more tell the focal length better")
    if len(solved.outliers) > len(solved.views) / 4:
        found.append(f"{len(solved.outliers)} of {len(solved.views)} views fit badly and are left out")
    return found
