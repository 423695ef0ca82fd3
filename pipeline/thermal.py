"""16-bit thermal counts to 8-bit luma: automatic gain control, smoothed over time."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame, InputError

log = logging.getLogger(__name__)

LOW_PERCENT = 0.5
"""Percentile of the counts that becomes black: a dead pixel or a patch of cold sky must not set the contrast."""

HIGH_PERCENT = 99.5
"""Percentile of the counts that becomes white."""

INERTIA = 0.9
"""Share of the old curve in the new one: a hot object that enters takes about 10 frames to darken the rest."""

PLATEAU = 3.0
"""Most that one count may weigh, in typical counts of the scene (see `plateau_curve`). Vickers has the plateau follow
the scene likewise; ours depends neither on the size of the picture nor on unused low bits of a 14-bit camera."""

GRID = 1 / 256
"""What a smoothed curve is rounded to, counts or levels: see `_nearer`."""

LEVELS = 65536
MIDDLE = 128
"""Luma of every pixel of a scene without any contrast."""

Mode = Literal["percentile", "plateau", "fixed"]

Span = tuple[float, float]
"""Counts that become black and white; the second is not below the first."""

Curve = NDArray[np.float64]
"""(65536,) luma 0..255 of each count, not rounded, never falling."""


@dataclass(frozen=True, slots=True)
class Region:
    """The part of a picture that sets its gain: px, or fractions of its width and height if none is above 1."""

    x: float
    y: float
    width: float
    height: float

    def of(self, luma: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """This part of a picture (H, W), a view; empty if it lies outside."""
        height, width = luma.shape
        is_share = max(self.x, self.y, self.width, self.height) <= 1
        across, down = (width, height) if is_share else (1, 1)
        left, top = math.floor(self.x * across), math.floor(self.y * down)
        return luma[top : math.ceil((self.y + self.height) * down), left : math.ceil((self.x + self.width) * across)]


@dataclass(frozen=True, slots=True)
class Gain:
    """How counts become luma."""

    mode: Mode = "percentile"
    span: Span = (0.0, LEVELS - 1.0)
    """Counts that become black and white, of mode `fixed`."""
    region: Region | None = None
    """What to measure; None: the whole picture."""
    is_for_8bit: bool = False
    """Luma of 8 bits, which a camera's own gain control has made, is treated too; else it stays as it is."""


def parse_gain(text: str, region: Region | None = None, *, is_for_8bit: bool = False) -> Gain:
    """`percentile`, `plateau` or `fixed:LO,HI` as a value. Raises InputError."""
    if text in ("percentile", "plateau"):
        mode: Mode = "percentile" if text == "percentile" else "plateau"
        return Gain(mode, region=region, is_for_8bit=is_for_8bit)
    kind, _, rest = text.partition(":")
    try:
        low, high = (float(part) for part in rest.split(","))
    except ValueError:
        low = high = math.nan
    if kind != "fixed" or not (low < high and math.isfinite(high - low)):
        raise InputError(f"agc {text!r}: give percentile, plateau, or fixed:LO,HI in counts with LO below HI")
    return Gain("fixed", (low, high), region, is_for_8bit)


def parse_region(text: str) -> Region:
    """`X,Y,W,H` in px, or in fractions of the picture if none is above 1. Raises InputError."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        x = y = width = height = math.nan
    if not (x >= 0 and y >= 0 and width > 0 and height > 0 and math.isfinite(x + y + width + height)):
        advice = "give left,top,width,height in px (160,120,320,240) or as fractions (0.25,0.25,0.5,0.5)"
        raise InputError(f"agc region {text!r}: {advice}")
    region = Region(x, y, width, height)
    if max(x, y, width, height) <= 1 and (x >= 1 or y >= 1):
        raise InputError(f"agc region {text!r}: lies outside the picture; as fractions, left and top are below 1")
    return region


def percentile_span(luma16: NDArray[np.uint16], low: float = LOW_PERCENT, high: float = HIGH_PERCENT) -> Span:
    """The counts of a frame (H, W) uint16 at two percentiles: each the least count that so many percent reach."""
    below = np.cumsum(_histogram(luma16))
    wanted = np.array([low, high]) / 100 * luma16.size
    first, last = np.searchsorted(below, np.maximum(wanted, 1))
    return float(first), float(last)


def plateau_curve(luma16: NDArray[np.uint16], plateau: float = PLATEAU) -> Curve:
    """The curve that spreads the counts of a frame (H, W) uint16 by how often they occur, up to a plateau.

    Histogram equalisation gives a large cold sky nearly all levels; with each count's weight capped, small targets
    keep theirs. V. E. Vickers, "Plateau equalization algorithm for real-time display of high-quality infrared
    imagery", Optical Engineering 35(7), 1996. A count takes the middle of its step, so a flat scene is mid-gray.
    plateau: in geometric means of how often the counts occur, which a large sky moves little.
    """
    histogram = _histogram(luma16)
    cap = plateau * np.exp(np.log(histogram[histogram > 0]).mean())
    weights = np.minimum(histogram, cap)
    curve: Curve = np.cumsum(weights) - weights / 2
    return curve * (255 / weights.sum())


def span_curve(span: Span) -> Curve:
    """The straight curve from black at the first count to white at the second.

    Where span is narrower than one count (a flat scene), counts below it are black, above it white, in it mid-gray.
    """
    low, high = span
    counts = np.arange(LEVELS, dtype=np.float64)
    if high - low >= 1:
        return np.clip((counts - low) * (255 / (high - low)), 0, 255)
    return np.where(counts < low, 0.0, np.where(counts > high, 255.0, MIDDLE))


def to_8bit(luma16: NDArray[np.uint16], span: Span) -> NDArray[np.uint8]:
    """Counts (H, W) uint16 as luma (H, W) uint8: by the straight curve of `span`, rounded half up."""
    return _through(span_curve(span), luma16)


class Agc:
    """Gain control of one thermal stream: its curve follows the scene slowly, so that brightness does not pump."""

    def __init__(
        self,
        gain: Gain | None = None,
        *,
        low: float = LOW_PERCENT,
        high: float = HIGH_PERCENT,
        inertia: float = INERTIA,
    ) -> None:
        """low, high: percentiles that become black and white. inertia: 0 (each frame for itself) to below 1."""
        if not 0 <= low < high <= 100:
            raise InputError(f"percentiles {low} and {high}: give 0 <= low < high <= 100")
        if not 0 <= inertia < 1:
            raise InputError(f"inertia {inertia}: give 0 (each frame for itself) to below 1")
        self.gain = gain or Gain()
        self._low, self._high, self._inertia = low, high, inertia
        self._state: Curve | None = None
        self._is_outside_told = False

    @property
    def state(self) -> Curve | None:
        """What one frame leaves for the next: the span (2,), or the curve (65536,); None before the first.

        Another gain control of the same settings goes on exactly from here once it is set there. Belongs to it.
        """
        return self._state

    @state.setter
    def state(self, state: Curve | None) -> None:
        """Go on from here."""
        self._state = state

    def apply(self, frame: Frame) -> Frame:
        """The frame with 8-bit luma; one that has it already is returned as it is, unless the gain is for 8 bits too.

        Call in the stream's order.
        """
        if frame.luma.dtype == np.uint8 and not self.gain.is_for_8bit:
            return frame
        luma16 = frame.luma.astype(np.uint16, copy=False)
        return replace(frame, luma=_through(self._curve_for(luma16), luma16))

    def _curve_for(self, luma16: NDArray[np.uint16]) -> Curve:
        """The curve for this frame: its own for the first, then a little closer to its own each time."""
        if self.gain.mode == "fixed":
            return span_curve(self.gain.span)
        keep, measured = self._inertia, self._measured(luma16)
        if self.gain.mode == "plateau":
            self._state = _nearer(self._state, plateau_curve(measured), keep)
            return self._state
        self._state = _nearer(self._state, np.array(percentile_span(measured, self._low, self._high)), keep)
        return span_curve((float(self._state[0]), float(self._state[1])))

    def _measured(self, luma16: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """The region that sets the gain; all of the picture, said once, where the region lies outside."""
        if self.gain.region is None:
            return luma16
        part = self.gain.region.of(luma16)
        if part.size:
            return part
        if not self._is_outside_told:
            self._is_outside_told = True
            height, width = luma16.shape
            log.warning("the agc region lies outside the picture of %dx%d px: all of it is measured", width, height)
        return luma16


def _nearer(old: Curve | None, own: Curve, keep: float) -> Curve:
    """old moved toward own by 1 - keep of the way, in whole steps of GRID and by one at least; None: own.

    In floats two runs that began at different frames would stay an ulp apart for ever: here they meet, after some 150
    frames at 0.9, so that a long video can be fused in pieces. A scene that holds still is reached exactly.
    """
    own = np.rint(own / GRID) * GRID
    if old is None:
        return own
    way = own - old
    return old + np.sign(way) * np.ceil(np.abs(way) * ((1 - keep) / GRID)) * GRID


def _histogram(luma16: NDArray[np.uint16]) -> Curve:
    """(65536,) how often each count occurs."""
    histogram = cv2.calcHist([luma16], [0], None, [LEVELS], [0, LEVELS])  # float32, exact below 2^24
    return np.asarray(histogram, np.float64).ravel()


def _through(curve: Curve, luma16: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.take(np.clip(np.floor(curve + 0.5), 0, 255).astype(np.uint8), luma16)
