"""A pair as recorded and as the rig lays it: both blended, and squares of either by turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.rig import Rig
from calibration.warp import make_warp

WIDEST = 1280
"""px, of the visible picture that is worked on: a page shows less."""
FIELDS = 12
"""Of the chessboard, across."""
MARGIN = 0.05
"""Of the picture's sides, shown around what infrared sees."""
FINER = 1.5
"""Infrared with more px than this for one of the grid's is made smaller before it is warped, or it would alias."""

Luma8 = NDArray[np.uint8]
Colours = NDArray[np.uint8]
"""(H, W, 3) blue, green, red."""


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """Four pictures of one pair, cut to where infrared sees."""

    blend_before: Colours
    """IR only stretched to the size of VIS; IR red, VIS cyan: an edge in one of them is coloured, in both gray."""
    blend_after: Colours
    chess_before: Colours
    """Squares of IR and of VIS by turns: what runs across their borders is to run on."""
    chess_after: Colours
    coverage: float
    """Of VIS, that IR sees."""
    distance: float
    """m, for which infrared is laid; inf is far away. Of no meaning to a rig without depth."""
    name: str = ""
    """Of the pair, for people."""


def before_after(ir: Luma8, vis: Luma8, rig: Rig, depth: float, name: str = "") -> BeforeAfter | None:
    """The pictures of a pair, each (H, W) uint8; None where the cameras do not meet at this depth, m.

    Raises RigError for pictures of another aspect ratio than the rig's.
    """
    if vis.shape[1] > WIDEST:
        vis = _resized(vis, (WIDEST, max(round(vis.shape[0] * WIDEST / vis.shape[1]), 1)))
    size = vis.shape[1], vis.shape[0]
    ratio = min(ir.shape[1] / size[0], ir.shape[0] / size[1])
    if ratio > FINER:
        ir = _resized(ir, (max(round(ir.shape[1] / ratio), 1), max(round(ir.shape[0] / ratio), 1)))
    warp = make_warp(rig, (ir.shape[1], ir.shape[0]), size, depth=depth)
    if not warp.coverage:
        return None
    where = _around(warp.weight > 0)
    none: Any = None
    laid = np.asarray(cv2.remap(ir, warp.at, none, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    seen, everywhere = warp.weight[where] > 0, np.ones(vis[where].shape, np.bool_)
    before = _resized(ir, size)[where]
    return BeforeAfter(
        blend_before=_blend(before, vis[where], everywhere),
        blend_after=_blend(laid[where], vis[where], seen),
        chess_before=_chess(before, vis[where], everywhere),
        chess_after=_chess(laid[where], vis[where], seen),
        coverage=warp.coverage,
        distance=depth,
        name=name,
    )


def _around(seen: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of what is seen, and a margin."""
    rows, columns = np.nonzero(seen)
    sides = []
    for places, length in ((rows, seen.shape[0]), (columns, seen.shape[1])):
        margin = round(MARGIN * length)
        sides.append(slice(max(int(places.min()) - margin, 0), min(int(places.max()) + 1 + margin, length)))
    return sides[0], sides[1]


def _blend(ir: Luma8, vis: Luma8, seen: NDArray[np.bool_]) -> Colours:
    return np.dstack([vis, vis, np.where(seen, ir, vis)]).astype(np.uint8)


def _chess(ir: Luma8, vis: Luma8, seen: NDArray[np.bool_]) -> Colours:
    field = max(1, round(vis.shape[1] / FIELDS))
    row, column = np.mgrid[: vis.shape[0], : vis.shape[1]] // field
    mixed = np.where(((row + column) % 2 == 0) & seen, ir, vis)
    return np.dstack([mixed] * 3).astype(np.uint8)


def _resized(luma: Luma8, size: tuple[int, int]) -> Luma8:
    method = cv2.INTER_AREA if size[0] < luma.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(luma, size, interpolation=method), np.uint8)
