"""The circles of a target: the middle of each dark spot, corrected for what perspective does to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from calibration.boards import Board
from calibration.grids import Ids, Luma, spacing_px
from calibration.rig import Matrix

MOST_SPOTS = 4
"""Times the board's circles: so many dark spots are searched for a grid as they are, in 0.1 s."""
SPOT_EDGE = 0.15
"""Darkness, 0 white to 1, from which a pixel belongs to a spot."""


def find_circles(picture: Luma, board: Board) -> tuple[Matrix, Ids] | None:
    """Points and ids of a grid of dark circles, None if it is not seen whole."""
    kind = cv2.CALIB_CB_SYMMETRIC_GRID if board.kind == "circles" else cv2.CALIB_CB_ASYMMETRIC_GRID
    detector = _blobs(picture, board)
    spots = detector.detect(picture)
    if len(spots) < len(board.points):
        return None
    searched = picture if len(spots) <= MOST_SPOTS * len(board.points) else _largest_only(picture, spots, board)
    for more in (0, cv2.CALIB_CB_CLUSTERING):
        is_found, points = cv2.findCirclesGrid(searched, board.shape, flags=kind | more, blobDetector=detector)
        if is_found:
            centres = _centred(picture, np.asarray(points, np.float64).reshape(-1, 2), board)
            return centres, np.arange(len(board.points))
    return None


def _largest_only(picture: Luma, spots: Sequence[Any], board: Board) -> Luma:
    """A white picture with the largest spots only: with 2000 of them, as noise has, the search takes minutes."""
    clean = np.full_like(picture, 255)
    for spot in sorted(spots, key=lambda spot: -float(spot.size))[: MOST_SPOTS * len(board.points) // 2]:
        centre = round(spot.pt[0] * 16), round(spot.pt[1] * 16)
        cv2.circle(clean, centre, max(round(0.4 * spot.size * 16), 32), 0, -1, cv2.LINE_AA, 4)
    return clean


def blobs(picture: Luma, board: Board) -> int:
    """How many dark spots a picture has that may be circles of the board."""
    return len(_blobs(picture, board).detect(picture))


def _blobs(picture: Luma, board: Board) -> Any:
    wanted = cv2.SimpleBlobDetector.Params()
    wanted.minArea, wanted.maxArea = 8.0, picture.size / board.columns / board.rows / 2
    wanted.minDistBetweenBlobs = 3.0
    wanted.minThreshold, wanted.maxThreshold, wanted.thresholdStep = 10, 250, 10
    wanted.filterByConvexity, wanted.minConvexity = True, 0.8
    wanted.filterByInertia, wanted.minInertiaRatio = True, 0.1  # a circle at 80 degrees
    return cv2.SimpleBlobDetector.create(wanted)


def _centred(picture: Luma, points: Matrix, board: Board) -> Matrix:
    """Where the circles' centres are: the middle of each dark spot, less what perspective moves it from the centre."""
    spots = [_spot(picture, point, _reach(points, board)) for point in points]
    if any(spot is None for spot in spots):
        return points  # one runs into its neighbour: none can be measured
    measured = np.array(spots)
    return measured[:, :2] - _perspective_shift(board, measured[:, :2], measured[:, 2])


def _reach(points: Matrix, board: Board) -> int:
    return max(int(0.55 * spacing_px(board, points, np.arange(len(points)))), 3)


def _spot(picture: Luma, point: Matrix, reach: int) -> tuple[float, float, float] | None:
    """Centre of gravity and area of the dark around a point, px; None if it is cut or runs into another."""
    left, top = (round(float(value)) - reach for value in point)
    right, lower = left + 2 * reach + 1, top + 2 * reach + 1
    if left < 0 or top < 0 or right > picture.shape[1] or lower > picture.shape[0]:
        return None
    part = picture[top:lower, left:right].astype(np.float64)
    low, high = np.percentile(part, (3, 80))
    dark = np.clip((0.5 * (low + high) - part) / max(high - low, 1.0) + 0.5, 0.0, 1.0)
    _, labels = cv2.connectedComponents((dark > SPOT_EDGE).astype(np.uint8))
    label = labels[reach, reach]
    weight = np.where(labels == label, dark, 0.0)
    border = np.concatenate([weight[0], weight[-1], weight[:, 0], weight[:, -1]])
    if not label or border.any():
        return None
    grid, area = np.arange(2 * reach + 1), weight.sum()
    return left + weight.sum(axis=0) @ grid / area, top + weight.sum(axis=1) @ grid / area, area


def _perspective_shift(board: Board, centres: Matrix, areas: Matrix) -> Matrix:
    """(N, 2) px from a circle's projected centre to the centre of the ellipse that it becomes.

    The dual conic of a circle maps by H C* H^T, its centre is the last column: Hartley and Zisserman, section 2.3.
    """
    H, _ = cv2.findHomography(board.points[:, :2], centres)
    if H is None:
        return np.zeros_like(centres)
    shifts = np.zeros_like(centres)
    depth = board.points[:, :2] @ H[2, :2] + H[2, 2]
    radius = np.sqrt(np.median(areas * np.abs(depth) ** 3 / abs(np.linalg.det(H))) / np.pi)
    for index, (x, y, _) in enumerate(board.points):
        dual = np.outer((x, y, 1.0), (x, y, 1.0)) - radius**2 * np.diag([1.0, 1.0, 0.0])
        seen = H @ dual @ H.T
        centre = H @ (x, y, 1.0)
        shifts[index] = seen[:2, 2] / seen[2, 2] - centre[:2] / centre[2]
    return shifts
