"""Points on a grid, as a picture shows them: how far they stand apart, how well they fit, which way round they run."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.boards import Board
from calibration.rig import Matrix

Luma = NDArray[np.uint8]
Ids = NDArray[np.intp]
"""(N,) which of the board's points they are."""


def deviation(board: Board, points: Matrix, ids: Ids) -> float:
    """px, rms distance of points from the homography that fits them best."""
    return float(np.sqrt((_off_plane(board, points, ids) ** 2).sum(axis=1).mean()))


def spacing_px(board: Board, points: Matrix, ids: Ids) -> float:
    """px, median distance from a point to its nearest neighbour on the board."""
    flat = board.points[ids, :2]
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    first, second = np.nonzero(np.triu(np.isclose(apart, board.spacing)))
    if not len(first):
        return 0.0
    return float(np.median(np.linalg.norm(points[first] - points[second], axis=1)))


def roughness(board: Board, points: Matrix, ids: Ids) -> float:
    """px, rms by which a point leaves its plane's perspective otherwise than its neighbours do: error, hardly lens."""
    columns, rows = board.shape
    flat = np.full((rows * columns, 2), np.nan)
    flat[ids] = _off_plane(board, points, ids)
    grid = flat.reshape(rows, columns, 2)
    across = (grid[:, 2:] + grid[:, :-2]) / 2 - grid[:, 1:-1]
    down = (grid[2:] + grid[:-2]) / 2 - grid[1:-1]
    off = np.concatenate([across.reshape(-1, 2), down.reshape(-1, 2)])
    off = off[~np.isnan(off[:, 0])]
    return float(np.sqrt((off**2).sum(axis=1).mean())) if len(off) else float("inf")


def right_handed(board: Board, points: Matrix, ids: Ids) -> Matrix:
    """Points in the order of a board seen from its front: a detector may run along a symmetric grid the other way."""
    flat = board.points[ids, :2]
    (A, *_) = np.linalg.lstsq(np.column_stack([flat, np.ones(len(flat))]), points, rcond=None)
    if np.linalg.det(A[:2]) > 0 or board.kind in ("charuco", "acircles"):
        return points
    columns, rows = board.shape
    return points.reshape(rows, columns, 2)[:, ::-1].reshape(-1, 2)


def resized(luma: Luma, scale: float) -> tuple[Luma, Matrix]:
    """A picture at another size, and by how much its width and height have grown: whole px make the two differ."""
    if scale == 1.0:
        return luma, np.ones(2)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = round(luma.shape[1] * scale), round(luma.shape[0] * scale)
    ratio = np.array([size[0] / luma.shape[1], size[1] / luma.shape[0]])
    return np.asarray(cv2.resize(luma, size, interpolation=way), np.uint8), ratio


def _off_plane(board: Board, points: Matrix, ids: Ids) -> Matrix:
    """(N, 2) px from the homography that fits the points best; infinite where there is none."""
    flat = board.points[ids, :2]
    H, _ = cv2.findHomography(flat, points)
    if H is None:
        return np.full((len(ids), 2), np.inf)
    return points - np.asarray(cv2.perspectiveTransform(flat.reshape(-1, 1, 2), H), np.float64).reshape(-1, 2)
