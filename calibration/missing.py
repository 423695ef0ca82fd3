"""Why a target is not found: how much of it the best picture shows, and which other grid fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np

from calibration.boards import FEWEST, MOST, Board
from calibration.circles import blobs
from calibration.detect import find_at, scales
from calibration.grids import Luma, resized

WITHIN = ((1, 1), (1, 0), (0, 1), (1, -1), (-1, 1), (-1, 0), (0, -1), (-1, -1))
"""Columns and rows by which a grid is miscounted, those with more circles first: a part of a grid is found, too."""
ENOUGH = 0.6
"""Share of the parts that a picture must show to be searched for other grids."""


def parts_seen(luma: Luma, board: Board) -> tuple[int, int]:
    """How many of the board's parts a picture shows, and of how many: corners, circles or markers."""
    if board.kind in ("circles", "acircles"):
        most = len(board.points)
        return max(min(blobs(picture, board), most) for picture in _pictures(luma)), most
    if board.kind == "charuco":
        detector = cv2.aruco.CharucoDetector(board.charuco)
        read = [detector.detectBoard(picture)[3] for picture in _pictures(luma)]
        return max(0 if ids is None else len(ids) for ids in read), len(board.charuco.getIds())
    return max(
        (columns * rows for columns, rows in (_largest(picture) for picture in _pictures(luma))), default=0
    ), len(board.points)


def fitting_grid(luma: Luma, board: Board) -> Board | None:
    """The board with another grid, a column or row away (a chessboard: any), that a picture shows whole."""
    if board.kind == "chess":
        found = max((_largest(picture) for picture in _pictures(luma)), key=lambda grid: grid[0] * grid[1])
        if min(found) < FEWEST or found in (board.shape, board.shape[::-1]):
            return None
        is_across = (board.columns >= board.rows) == (found[0] >= found[1])
        return board.with_grid(*(found if is_across else found[::-1]))
    seen, whole = parts_seen(luma, board)
    if seen < ENOUGH * whole:
        return None  # nothing like it: eight searches for nothing
    grids = [(board.columns + columns, board.rows + rows) for columns, rows in WITHIN]
    others = [board.with_grid(*grid) for grid in grids if min(grid) >= FEWEST and max(grid) <= MOST]
    return next((other for other in others if _fits(luma, other)), None)


def common_grid(pictures: Sequence[Luma], board: Board) -> Board | None:
    """The other grid that most of these pictures show, None if most show none."""
    found = Counter(other.grid for other in (fitting_grid(luma, board) for luma in pictures) if other is not None)
    if not found or found.most_common(1)[0][1] * 2 < len(pictures):
        return None
    columns, rows = (int(part) for part in found.most_common(1)[0][0].split("x"))
    return board.with_grid(columns, rows)


def larger_grid(luma: Luma, board: Board) -> Board | None:
    """A larger grid that a picture shows as well: the given one is a part of it, and no one knows which."""
    if board.kind == "charuco":
        return None  # its markers say which part it is
    if board.kind == "chess":
        other = fitting_grid(luma, board)
        return other if other is not None and len(other.points) > len(board.points) else None
    found: Board | None = None
    while True:
        now = found or board
        grids = [(now.columns + 1, now.rows), (now.columns, now.rows + 1)]
        more = [board.with_grid(*grid) for grid in grids if max(grid) <= MOST]
        larger = next((other for other in more if _fits(luma, other)), None)
        if larger is None:
            return found
        found = larger


def _fits(luma: Luma, board: Board) -> bool:
    tries = [find_at(luma, board, scale, inverted) for scale in scales(luma)[:1] for inverted in (False, True)]
    if board.kind == "charuco":  # a part of it is always found: all must be there
        return any(found is not None and len(found.ids) == len(board.points) for found in tries)
    return any(found is not None for found in tries)


def _pictures(luma: Luma) -> list[Luma]:
    picture, _ = resized(luma, scales(luma)[0])
    return [picture, np.asarray(cv2.bitwise_not(picture), np.uint8)]


def _largest(picture: Luma) -> tuple[int, int]:
    """Columns and rows of the largest chessboard in a picture, (0, 0) if there is none."""
    is_found, _, meta = cv2.findChessboardCornersSBWithMeta(picture, (FEWEST, FEWEST), cv2.CALIB_CB_LARGER)
    return (meta.shape[0], meta.shape[1]) if is_found and meta is not None else (0, 0)
