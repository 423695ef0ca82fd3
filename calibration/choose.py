"""Which views of a board are worth calibrating with: sharp, still, and unlike each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.boards import Board
from calibration.detect import Sighting
from calibration.lens import SolveError
from calibration.rig import Matrix, Size

MOST = 40
"""Views that are used: the error falls with the root of their number, the time grows with it."""
FEWEST = 8
"""Views without which nothing is computed: a camera has up to nine numbers, a view gives two that count."""
MOVING = 1.5
"""px a frame: two clocks that tick apart see a board half a frame apart, which is less than a px then."""
BLURRED = 1.8
"""Times the median width of the edges."""
ALIKE = 0.06
"""Distance of two views that teach nothing new: 6 % of the picture, or 3 degrees of tilt."""
TILT_UNIT = 45.0
"""Degrees of tilt that differ as much as one side of the picture to the other."""
CELLS = (8, 6)
"""Columns and rows into which a picture is cut to tell how much of it was covered."""


@dataclass(frozen=True, slots=True)
class View:
    """A board seen by both cameras at once."""

    name: str
    """What it is called in messages: a file or a time."""
    time: float
    """s on the visible clock."""
    ir: Sighting
    vis: Sighting
    motion: float = 0.0
    """px a frame that the board moves in the visible picture; 0 for single pictures."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The views to use, most different first, and why the others are not."""

    views: list[View]
    left_out: Counter[str]


def choose(views: Sequence[View], board: Board, ir_size: Size, vis_size: Size, most: int = MOST) -> Choice:
    """Views that differ as much as possible. Raises SolveError if fewer than 8 are left, and says why."""
    left_out: Counter[str] = Counter()
    usable = []
    limits = [BLURRED * float(np.median([side(view).blur for view in views])) for side in (_ir, _vis)] if views else []
    for view in views:
        if view.motion > MOVING:
            left_out["moving"] += 1
        elif any(side(view).blur > limit for side, limit in zip((_ir, _vis), limits, strict=True)):
            left_out["blurred"] += 1
        else:
            usable.append(view)
    features = [
        np.concatenate([appearance(view.ir, board, ir_size), appearance(view.vis, board, vis_size)]) for view in usable
    ]
    order = _farthest_first(np.array(features)) if usable else []
    left_out["alike"] = len(usable) - len(order)
    left_out["more than needed"] = max(len(order) - most, 0)
    chosen = [usable[place] for place in order[:most]]
    if len(chosen) < FEWEST:
        raise SolveError(_too_few(len(views), len(chosen), left_out))
    return Choice(chosen, +left_out)


def appearance(sighting: Sighting, board: Board, size: Size) -> Matrix:
    """(5,) how a board looks: where it is, how large, how tilted; 1 is a whole picture, an octave, or 45 degrees.

    The tilt is by a made-up focal length of 1.2 widths: it is for comparing.
    """
    width, height = size
    focal = 1.2 * max(size)
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    _, rvec, tvec = cv2.solvePnP(board.points[sighting.ids], sighting.points, K, None, flags=cv2.SOLVEPNP_IPPE)
    normal = cv2.Rodrigues(rvec)[0][:, 2]
    tilt = np.degrees(np.arctan2(normal[:2], abs(normal[2]))) / TILT_UNIT * np.sign(normal[2])
    centre = (cv2.Rodrigues(rvec)[0] @ board.points.mean(axis=0) + tvec.ravel()).astype(np.float64)
    place = centre[:2] / centre[2] * focal / (width, height)
    return np.array([*place, np.log2(max(centre[2], 1e-9) / np.ptp(board.points[:, 0])), *tilt])


def coverage(points: Sequence[Matrix], size: Size) -> NDArray[np.int64]:
    """(rows, columns) how many of the points (N, 2) px fall into each cell of the picture."""
    counts = np.zeros(CELLS[::-1], np.int64)
    for seen in points:
        cell = np.floor((seen + 0.5) / size * CELLS).astype(int)
        np.add.at(counts, (np.clip(cell[:, 1], 0, CELLS[1] - 1), np.clip(cell[:, 0], 0, CELLS[0] - 1)), 1)
    return counts


def _ir(view: View) -> Sighting:
    return view.ir


def _vis(view: View) -> Sighting:
    return view.vis


def _farthest_first(features: Matrix) -> list[int]:
    """Places in an order in which each is the one farthest from those before it; without those that are alike."""
    first = int(np.linalg.norm(features - np.median(features, axis=0), axis=1).argmin())
    order, nearest = [first], np.linalg.norm(features - features[first], axis=1)
    while nearest.max() > ALIKE:
        order.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[order[-1]], axis=1))
    return order


def _too_few(found: int, different: int, left_out: Counter[str]) -> str:
    if found < FEWEST:
        return (
            f"{found} views show the board to both cameras, at least {FEWEST} are needed; record more, tilted each way"
        )
    if left_out["alike"] >= found - FEWEST:
        return (
            f"{found} views of the board, but only {different} that differ: all are alike; tilt it to all sides, bring "
            "it nearer, and show it in every corner"
        )
    why = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
    return f"{found} views of the board, {different} of use ({why}), at least {FEWEST} are needed; hold it still"
