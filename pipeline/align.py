"""Both frames of a pair on one pixel grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Luma
from pipeline.device_frames import on_host
from pipeline.frames import Chroma, Frame, Pair
from pipeline.picture import NEUTRAL
from pipeline.rigging import Rigging, chroma_laid_over, laid_over
from pipeline.thermal import Agc
from pipeline.work_height import Size, work_size

Reference = Literal["vis", "ir"]


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the two pictures are laid over each other."""

    reference: Reference = "vis"
    """Whose grid the output has; the other picture is scaled to it."""
    size: Size | None = None
    """Output size; None: that of the reference's frame."""
    shift: tuple[float, float] = (0.0, 0.0)
    """px of the output by which IR is moved right and down before it is fused."""
    rigging: Rigging | None = None
    """What warps the other picture onto the reference's grid; None scales it."""
    work_height: int | None = None
    """px at which pictures of more are fused, see `work_height.work_size`; None: at the output's size."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """A pair on one grid, ready for the fuser.

    Planes in a device's memory are passed on where they need not be changed, see `Frame.luma`.
    """

    ir: Luma
    """(H, W) uint8"""
    vis: Luma
    """(H, W) uint8"""
    chroma: Chroma
    """Of the VIS picture, see `Frame.chroma`."""
    pair: Pair
    """As it came from the sources."""
    seen: NDArray[np.float32] | None = None
    """(H, W) in 0..1, how far the other camera sees a pixel of the reference's; None: all of it."""
    reference: Reference = "vis"
    """Whose picture is whole: what is shown where `seen` is 0."""
    whole: Luma | None = None
    """(H, W) uint8, VIS at the output's size, as `chroma` is, where the rest is at a smaller one; else None."""


def align(pair: Pair, geometry: Geometry, ir_gain: Agc, vis_gain: Agc) -> Aligned:
    """The pair as 8-bit pictures of one size; 16-bit counts pass each camera's gain control first."""
    ready = replace(pair, ir=ir_gain.apply(pair.ir), vis=vis_gain.apply(pair.vis))
    size = geometry.size or _size(ready.vis if geometry.reference == "vis" else ready.ir)
    work = work_size(size, geometry.work_height)
    if geometry.rigging is not None:
        geometry.rigging.check(_size(pair.ir), _size(pair.vis))
    aligned = _on_grid(ready, geometry, size) if work == size else _at_work_size(ready, geometry, size, work)
    return replace(aligned, pair=pair)


def enlarged(aligned: Aligned) -> Aligned:
    """The pair at the output's size for those who want both pictures there; itself if it is at no smaller one."""
    if aligned.whole is None:
        return aligned
    size = aligned.whole.shape[1], aligned.whole.shape[0]
    seen = None if aligned.seen is None else _resized(aligned.seen, size)
    return replace(aligned, ir=_resized(aligned.ir, size), vis=aligned.whole, seen=seen, whole=None)


def _at_work_size(pair: Pair, geometry: Geometry, size: Size, work: Size) -> Aligned:
    """The pair at the size to fuse at; VIS and its colour at the output's size, too."""
    pair = replace(pair, ir=on_host(pair.ir), vis=on_host(pair.vis))
    if geometry.reference == "ir":
        full = _on_grid(pair, geometry, size)
        seen = None if full.seen is None else _resized(full.seen, work)
        return replace(full, ir=_resized(full.ir, work), vis=_resized(full.vis, work), seen=seen, whole=full.vis)
    vis = scale(pair.vis, size)
    x, y = geometry.shift
    small = replace(geometry, shift=(x * work[0] / size[0], y * work[1] / size[1]))
    aligned = _on_grid(replace(pair, vis=replace(vis, chroma=None)), small, work)  # IR is scaled once: straight to it
    return replace(aligned, chroma=vis.chroma, whole=cast(Luma, vis.luma))


def _on_grid(pair: Pair, geometry: Geometry, size: Size) -> Aligned:
    """The pair, of 8 bits by now, as pictures of a size."""
    if geometry.rigging is not None:
        pair = replace(pair, ir=on_host(pair.ir), vis=on_host(pair.vis))
        return _rigged(pair, geometry, geometry.rigging, size)
    ir, vis = scale(pair.ir, size), scale(pair.vis, size)
    if geometry.shift != (0.0, 0.0):
        ir = on_host(ir)
        ir = replace(ir, luma=_moved(np.asarray(ir.luma, np.uint8), geometry.shift))
    return Aligned(cast(Luma, ir.luma), cast(Luma, vis.luma), vis.chroma, pair)


def _rigged(pair: Pair, geometry: Geometry, rigging: Rigging, size: Size) -> Aligned:
    """The pair on the grid of the reference, which stands in for the other where that does not look.

    So the network sees no border there, and the fused picture passes into the reference's without an edge.
    """
    x, y = geometry.shift
    nudge = geometry.shift if geometry.reference == "vis" else (-x, -y)  # a shift moves IR, whichever is laid over
    own, other = (pair.vis, pair.ir) if geometry.reference == "vis" else (pair.ir, pair.vis)
    own = scale(own, size)
    other, warp = rigging.lay(other, size, geometry.reference, nudge)
    filled = laid_over(cast(Luma, other.luma), cast(Luma, own.luma), warp.weight)
    if geometry.reference == "vis":
        return Aligned(filled, cast(Luma, own.luma), own.chroma, pair, warp.weight)
    chroma = chroma_laid_over(other.chroma, None, warp.weight, NEUTRAL)
    return Aligned(cast(Luma, own.luma), filled, chroma, pair, warp.weight, "ir")


def _size(frame: Frame) -> Size:
    height, width = frame.luma.shape
    return width, height


def scale(frame: Frame, size: Size) -> Frame:
    """The frame at another size (width, height); itself if it has that size."""
    if _size(frame) == size:
        return frame
    frame = on_host(frame)
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
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    size = (luma.shape[1], luma.shape[0])
    moved = cv2.warpAffine(luma, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
