"""Which way round a board lies in the two pictures of a view, where it looks the same when turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from calibration.boards import Board
from calibration.bundle import Both, Pose
from calibration.lens import Optics, Points, SolveError, pose_of
from calibration.rig import Matrix

CLEAR = 0.5
"""Spread of the best order over that of the next, from which on the two cannot be told apart."""
FLAT_DEG = 1.0
"""Spread below which no order is wrong by much: noise."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Views whose two cameras count the board's points alike."""

    views: list[Both]
    pose: Pose
    """Of the two cameras, from the middle of all views."""
    turned: int
    """How many views had to be counted anew."""
    is_ambiguous: bool
    """Whether another way round fits as well: the cameras are taken to be upright alike then."""


def agree(board: Board, views: Sequence[Both], ir: Optics, vis: Optics) -> Agreement:
    """The order of the IR points by which the cameras stand to each other alike in all views.

    A turned board is a board again, so one view cannot tell; but the pose of the cameras that follows from the wrong
    order moves with the board's tilt. Raises SolveError if no order does.
    """
    vis_poses = [_matrices(*pose_of(vis, view.vis)) for view in views]
    options = []  # per view: for each turn, (points, R, T, how far the board's axis turns in the picture)
    for view, (R_vis, t_vis) in zip(views, vis_poses, strict=True):
        turned = []
        for order in board.turns:
            ir_points = view.ir if len(board.turns) == 1 else Points(view.ir.board, view.ir.seen[order])
            R_ir, t_ir = _matrices(*pose_of(ir, ir_points))
            R = R_vis @ R_ir.T
            turned.append(
                (ir_points, R, t_vis - R @ t_ir, np.degrees(np.arctan2(R[1, 0] - R[0, 1], R[0, 0] + R[1, 1])))
            )
        options.append(turned)
    rolls = (0.0,) if len(board.turns) == 1 else (0.0, 180.0) if len(board.turns) == 2 else (0.0, 90.0, 180.0, 270.0)
    tried = []
    for roll in rolls:
        places = [min(range(len(turned)), key=lambda k: _apart(turned[k][3], roll)) for turned in options]
        chosen = [turned[place] for turned, place in zip(options, places, strict=True)]
        R = mean_rotation([option[1] for option in chosen])
        tried.append((_spread(R, [option[1] for option in chosen]), roll, places, chosen, R))
    upright, best = tried[0], min(tried, key=lambda one: one[0])
    others = [one[0] for one in tried if one is not best]
    is_ambiguous = bool(others) and (best[0] > CLEAR * min(others) or min(others) < FLAT_DEG)
    spread, _, places, chosen, R = upright if is_ambiguous else best
    if spread > 20:
        raise SolveError(
            f"the cameras' pose differs by {spread:.0f} degrees from view to view: the pictures of a pair do not "
            "belong together, or one camera is mirrored; check the order of the inputs, --offset, and mirroring"
        )
    T = np.median([option[2] for option in chosen], axis=0)
    both = [Both(option[0], view.vis) for option, view in zip(chosen, views, strict=True)]
    turned_count = sum(place != 0 for place in places)
    rvec = np.asarray(cv2.Rodrigues(R)[0], np.float64).ravel()
    return Agreement(both, Pose(rvec, T), turned_count, is_ambiguous)


def mean_rotation(rotations: Sequence[Matrix]) -> Matrix:
    """The rotation (3, 3) in the middle of many, those far off left out."""
    kept = list(rotations)
    for _ in range(3):
        U, _, Vt = np.linalg.svd(np.sum(kept, axis=0))
        mean = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
        angles = np.array([angle_deg(mean.T @ R) for R in kept])
        limit = max(3 * 1.4826 * float(np.median(angles)), 0.5)
        kept = [R for R, angle in zip(kept, angles, strict=True) if angle <= limit]
    return mean


def angle_deg(R: Matrix) -> float:
    """By how many degrees a rotation turns."""
    return float(np.degrees(np.linalg.norm(cv2.Rodrigues(R)[0])))


def _spread(mean: Matrix, rotations: Sequence[Matrix]) -> float:
    return float(np.median([angle_deg(mean.T @ R) for R in rotations]))


def _apart(angle: float, roll: float) -> float:
    return abs((angle - roll + 180) % 360 - 180)


def _matrices(rvec: Matrix, tvec: Matrix) -> tuple[Matrix, Matrix]:
    return np.asarray(cv2.Rodrigues(rvec)[0], np.float64), tvec
