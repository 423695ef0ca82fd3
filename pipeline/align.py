"""Both frames of a pair on one pixel grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Luma
from pipeline.frames import Chroma, Frame, Pair
from pipeline.thermal import Agc

Reference = Literal["vis", "ir"]
Size = tuple[int, int]
"""width, height in px"""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the two pictures are laid over each other."""

    reference: Reference = "vis"
    """Whose grid the output has; the other picture is scaled to it."""
    size: Size | None = None
    """Output size; None: that of the reference's frame."""
    shift: tuple[float, float] = (0.0, 0.0)
    """px of the output by which IR is moved right and down before it is fused."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """A pair on one grid, ready for the fuser."""

    ir: Luma
    """(H, W) uint8"""
    vis: Luma
    """(H, W) uint8"""
    chroma: Chroma
    """Of the VIS picture, see `Frame.chroma`."""
    pair: Pair
    """As it came from the sources."""


def align(pair: Pair, geometry: Geometry, ir_gain: Agc, vis_gain: Agc) -> Aligned:
    """The pair as 8-bit pictures of one size; 16-bit counts pass each camera's gain control first."""
    ir, vis = ir_gain.apply(pair.ir), vis_gain.apply(pair.vis)
    leader = vis if geometry.reference == "vis" else ir
    size = geometry.size or (leader.luma.shape[1], leader.luma.shape[0])
    ir, vis = scale(ir, size), scale(vis, size)
    moved = _moved(np.asarray(ir.luma, np.uint8), geometry.shift)
    return Aligned(moved, np.asarray(vis.luma, np.uint8), vis.chroma, pair)


def scale(frame: Frame, size: Size) -> Frame:
    """The frame at another size (width, height); itself if it has that size."""
    height, width = frame.luma.shape
    if (width, height) == size:
        return frame
    chroma = frame.chroma
    if chroma is not None:
        is_full = chroma[0].shape == frame.luma.shape
        small = size if is_full else ((size[0] + 1) // 2, (size[1] + 1) // 2)
        chroma = _resized(chroma[0], small), _resized(chroma[1], small)
    return replace(frame, luma=_resized(frame.luma, size), chroma=chroma)


def _resized(plane: NDArray[Any], size: Size) -> NDArray[Any]:
    """Area averaging when shrinking (no aliasing), bilinear when growing (no overshoot beside hot targets)."""
    shrinks = size[0] <= plane.shape[1] and size[1] <= plane.shape[0]
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _moved(luma: Luma, shift: tuple[float, float]) -> Luma:
    if shift == (0.0, 0.0):
        return luma
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    size = (luma.shape[1], luma.shape[0])
    moved = cv2.warpAffine(luma, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
