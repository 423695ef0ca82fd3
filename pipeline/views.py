"""What is shown of a pair: the fused picture, either camera, or one laid over the other in one of four ways."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Luma
from pipeline.align import Aligned, enlarged
from pipeline.collage import Planes, as_bytes, blend, divide, half, lay_over, set_in
from pipeline.compose import Tint, compose
from pipeline.frames import Frame, InputError, StreamInfo
from pipeline.palettes import Palette, Tones, tones
from pipeline.picture import FULL_SIZE_MATRIX, NEUTRAL, matrix_of
from pipeline.rigging import chroma_laid_over, laid_over
from pipeline.work_height import carried

View = Literal["fused", "ir", "vis", "blend", "pip", "edges", "hot"]
VIEWS: tuple[str, ...] = get_args(View)

FINE = 0.8
"""px, sigma of the blur that takes the sensor's noise from an edge; at 480 lines, and so for the next."""
COARSE = 2.2
"""px, sigma of the surroundings that an edge stands out from."""
NOISE = 2.5
"""Levels by which a pixel must differ from its surroundings to be an edge: what is below is grain."""
GROUND = 3.0
"""Or by so many times what half of all pixels do: in a thicket each leaf has edges, and a person would drown."""
EDGE_GAIN = 3.0
EDGE_LIMIT = 90.0
"""Levels an edge may add or take: white letters on a wall must not outshine what is warm."""
SOFTNESS = 24
"""Levels of IR over which `hot` fades in below its level."""


class Look(Protocol):
    """What a viewer may choose. `live.status.Controls` is one, `Choice` another."""

    @property
    def view(self) -> View:
        """Which picture."""
        ...

    @property
    def weight(self) -> float:
        """0..1, see `Choice`."""
        ...

    @property
    def hot_level(self) -> int:
        """0..255, see `Choice`."""
        ...

    @property
    def divider(self) -> float | None:
        """0..1, see `Choice`."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """A fixed look, for a run over files."""

    view: View = "fused"
    weight: float = 0.5
    """Share of IR in `blend`; how strong the edges of VIS are in `edges`, 0.5 being the usual."""
    hot_level: int = 200
    """Luma of IR, 0..255, from which `hot` shows it in full."""
    divider: float | None = None
    """Place of a divider IR | view | VIS, 0..1 of the width; None: none."""

    def __post_init__(self) -> None:
        """Raise InputError for values that cannot be used."""
        if self.view not in VIEWS:
            raise InputError(f"view {self.view!r}: not known; use one of {', '.join(VIEWS)}")
        for name, value, top in (("weight", self.weight, 1), ("hot level", self.hot_level, 255)):
            if not 0 <= value <= top:  # nan is not, either
                raise InputError(f"{name} {value}: give 0 to {top}")
        if self.divider is not None and not 0 <= self.divider <= 1:
            raise InputError(f"divider {self.divider}: give 0 (left) to 1 (right)")


def needs_network(look: Look) -> bool:
    """True if the fused picture is part of the look; else the network need not run."""
    return look.view == "fused"


def render(
    fused: Luma | None, aligned: Aligned, look: Look, palette: Palette, info: StreamInfo, tint: Tint = "vis"
) -> Frame:
    """The picture of a pair, at the VIS frame's time.

    fused: (H, W) uint8, may be None where `needs_network` says so. info: of the output, for the matrix and range of
    its colours. The planes may be those of the pair: never write into them. Raises ValueError if `fused` is missing.
    """
    if look.view == "fused" and fused is not None and look.divider is None:
        return compose(fused, aligned, tint)  # wherever the planes are
    if fused is not None and aligned.whole is not None:
        fused = carried(fused, aligned.vis, aligned.whole)
    aligned = enlarged(aligned)
    picture = _picture(fused, aligned, look, palette, info)
    if aligned.seen is not None and aligned.reference == "vis" and look.view not in ("vis", "pip"):
        picture = _within(picture, Planes(aligned.vis, aligned.chroma), aligned.seen)
    if look.divider is not None:
        ir, vis = _coloured(aligned, palette, info), Planes(aligned.vis, aligned.chroma)
        picture = divide(picture, ir, vis, look.divider)
    frame = compose(picture.luma, replace(aligned, seen=None))
    return replace(frame, chroma=picture.chroma if tint == "vis" else None)


def _within(picture: Planes, whole: Planes, seen: NDArray[np.float32]) -> Planes:
    """The picture where IR looks, VIS where it does not."""
    chroma = chroma_laid_over(picture.chroma, whole.chroma, seen, NEUTRAL)
    return Planes(laid_over(picture.luma, whole.luma, seen), chroma)


def _picture(fused: Luma | None, aligned: Aligned, look: Look, palette: Palette, info: StreamInfo) -> Planes:
    if look.view == "fused":
        if fused is None:
            raise ValueError("view fused without a fused picture; run the network, or choose another view")
        return Planes(fused, aligned.chroma)
    vis = Planes(aligned.vis, aligned.chroma)
    if look.view == "vis":
        return vis
    ir = _coloured(aligned, palette, info)
    match look.view:
        case "blend":
            return blend(ir, vis, look.weight)
        case "pip":
            return set_in(ir, vis)
        case "edges":
            return Planes(_edged(ir.luma, aligned.vis, look.weight), ir.chroma)
        case "hot":
            return lay_over(ir, vis, _heat(aligned.ir, look.hot_level))
    return ir


def _coloured(aligned: Aligned, palette: Palette, info: StreamInfo) -> Planes:
    """IR in the colours of a palette, its chroma of the size and range that VIS has."""
    is_full = aligned.chroma is not None and aligned.chroma[0].shape == aligned.ir.shape
    matrix, full_range = (FULL_SIZE_MATRIX, True) if is_full else (matrix_of(info), info.colour.full_range)
    paint: Tones = tones(palette, matrix, full_range=full_range)
    luma = np.asarray(cv2.LUT(aligned.ir, paint.luma), np.uint8)
    if paint.is_gray:
        return Planes(luma, None)
    small = aligned.ir if is_full else half(aligned.ir)
    return Planes(luma, (as_bytes(cv2.LUT(small, paint.u)), as_bytes(cv2.LUT(small, paint.v))))


def _heat(ir: Luma, level: int) -> NDArray[np.uint8]:
    """How much of a pixel is hot: 0 up to SOFTNESS below the level, 255 from it on, smooth between and in the plane."""
    part = np.clip((np.arange(256) - (level - SOFTNESS)) / SOFTNESS, 0, 1)
    alpha = cv2.LUT(ir, np.rint(255 * part * part * (3 - 2 * part)).astype(np.uint8))
    return as_bytes(cv2.GaussianBlur(alpha, (0, 0), _scaled(FINE, ir)))


def _edged(luma: Luma, vis: Luma, weight: float) -> Luma:
    """Luma of coloured IR with the fine detail of VIS drawn into it: a band-pass, its grain taken off."""
    fine = cv2.GaussianBlur(vis, (0, 0), _scaled(FINE, vis)).astype(np.float32)
    detail = fine - cv2.GaussianBlur(fine, (0, 0), _scaled(COARSE, vis))
    ground = max(NOISE, GROUND * float(np.median(np.abs(detail[::4, ::4]))))
    detail -= np.clip(detail, -ground, ground)
    detail *= 2 * weight * EDGE_GAIN
    return as_bytes(np.clip(luma + np.clip(detail, -EDGE_LIMIT, EDGE_LIMIT), 0, 255))


def _scaled(sigma: float, luma: Luma) -> float:
    """A blur for a picture of 480 lines, at the picture's own size."""
    return max(sigma * luma.shape[0] / 480, 0.3)
