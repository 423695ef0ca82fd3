"""How far a board was in one view, from the visible picture alone: a distance that the rig had no part in."""

from __future__ import annotations

import cv2
import numpy as np

from calibration.boards import Board
from calibration.findings import Target, TargetView
from calibration.rig import Camera
from calibration.warp import to_rays


def view_distance(view: TargetView, target: Target, vis: Camera) -> float | None:
    """m from the visible camera to the board's middle; None if the view does not show the whole board."""
    board = Board(target.kind, target.columns, target.rows, target.pitch_mm / 1000)
    if len(view.vis.points) != len(board.points) or len(board.points) < 4:
        return None
    rays, is_sure = to_rays(vis, np.array(view.vis.points, np.float64))
    if not is_sure.all():
        return None
    try:
        is_found, turn, move = cv2.solvePnP(
            board.points.astype(np.float64), np.ascontiguousarray(rays[:, :2]), np.eye(3), np.zeros(5)
        )
    except cv2.error:  # points in one line
        return None
    middle = cv2.Rodrigues(turn)[0] @ board.points.mean(axis=0) + move.ravel()
    return float(middle[2]) if is_found and middle[2] > 0 else None
