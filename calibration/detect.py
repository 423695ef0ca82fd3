"""Where a target is in a picture: its points to a fraction of a pixel, in either spectrum, bright or dark."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from calibration.boards import Board
from calibration.circles import find_circles
from calibration.corners import find_charuco, find_chess, refined
from calibration.grids import Ids, Luma, deviation, resized, right_handed, spacing_px
from calibration.rig import Matrix

COARSE = 640
"""px, longer side at which a target is looked for first: at full size a 1280x1024 picture takes four times as long."""
SMALL = 400
"""px, longer side below which a picture is looked at in double size, too."""
BENT = 0.3
"""Largest deviation from a plane's perspective, rms, in spacings: more is no grid; a strong lens stays below 0.15."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A target in one picture."""

    points: Matrix
    """(N, 2) px, from the centre of the first pixel."""
    ids: Ids
    """(N,) which of the board's points they are; all of them but for a Charuco board."""
    is_inverted: bool
    """Whether it was found with black and white exchanged."""
    bend: float
    """px, rms deviation from a plane's perspective: lens and error together."""
    blur: float
    """px, width of the edges on the board: contrast over the steepest gradient."""


class Detector:
    """Finds a board in the pictures of one camera; what worked last is tried first. One thread at a time."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._ways: list[tuple[float, bool]] = []

    def find(self, luma: Luma) -> Sighting | None:
        """The board in a picture (H, W) uint8, None if it is not seen (a Charuco board: not enough of it)."""
        ways = self._ways or [(scale, inverted) for scale in scales(luma) for inverted in (False, True)]
        for way in ways:
            found = find_at(luma, self.board, *way)
            if found is not None:
                self._ways = [way, *(other for other in ways if other != way)]
                return found
        return None


def scales(luma: Luma) -> list[float]:
    """Sizes at which a picture is looked at, best first: coarse, full, double for a small one, half for a soft one."""
    longer = max(luma.shape)
    coarse = [COARSE / longer] if longer > 1.2 * COARSE else []
    return [*coarse, 1.0, *([2.0] if longer <= SMALL else []), *([0.5 * COARSE / longer] if longer > SMALL else [])]


def find_at(luma: Luma, board: Board, scale: float, is_inverted: bool) -> Sighting | None:
    """The board in a picture at one size and polarity."""
    picture, ratio = resized(luma, scale)
    found = _SEARCH[board.kind](255 - picture if is_inverted else picture, board)
    if found is None:
        return None
    points, ids = found
    points = (points + 0.5) / ratio - 0.5
    height, width = luma.shape
    if not ((points > -0.5) & (points < (width - 0.5, height - 0.5))).all():
        return None
    points = right_handed(board, points, ids)
    if board.kind in ("chess", "charuco"):
        points = refined(luma, board, points, ids)
    bend = deviation(board, points, ids)
    if bend > BENT * spacing_px(board, points, ids):
        return None
    return Sighting(points, ids, is_inverted, bend, edge_width(luma, points))


def edge_width(luma: Luma, points: Matrix) -> float:
    """px that black takes to become white around these points: 5th to 95th percentile over the steepest gradients."""
    (left, top), (right, lower) = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int) + 1
    part = luma[max(top, 0) : lower, max(left, 0) : right].astype(np.float32)
    if min(part.shape) < 3:
        return float("inf")
    smooth = cv2.GaussianBlur(part, (3, 3), 0)  # noise is no edge
    across, down = (cv2.Scharr(smooth, cv2.CV_32F, *way, scale=1 / 32) for way in ((1, 0), (0, 1)))
    steepest = float(np.percentile(np.hypot(across, down), 98))
    low, high = np.percentile(smooth, (5, 95))
    return float((high - low) / steepest) if steepest > 0 else float("inf")


_SEARCH = {"chess": find_chess, "circles": find_circles, "acircles": find_circles, "charuco": find_charuco}
