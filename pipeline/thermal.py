"""16-bit thermal counts to 8-bit luma: automatic gain control by percentiles, smoothed over time."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame, InputError

LOW_PERCENT = 0.5
"""Percentile of the counts that becomes black: a dead pixel or a patch of cold sky must not set the contrast."""

HIGH_PERCENT = 99.5
"""Percentile of the counts that becomes white."""

INERTIA = 0.9
"""Share of the old span in the new one: a hot object that enters takes about 10 frames to darken the rest."""

LEVELS = 65536
MIDDLE = 128
"""Luma of every pixel of a scene without any contrast."""

Span = tuple[float, float]
"""Counts that become black and white; the second is not below the first."""


def percentile_span(luma16: NDArray[np.uint16], low: float = LOW_PERCENT, high: float = HIGH_PERCENT) -> Span:
    """The counts of a frame (H, W) uint16 at two percentiles: each the least count that so many percent reach."""
    histogram = cv2.calcHist([luma16], [0], None, [LEVELS], [0, LEVELS]).ravel()  # float32, exact below 2^24
    below = np.cumsum(histogram, dtype=np.float64)
    wanted = np.array([low, high]) / 100 * luma16.size
    first, last = np.searchsorted(below, np.maximum(wanted, 1))
    return float(first), float(last)


def to_8bit(luma16: NDArray[np.uint16], span: Span) -> NDArray[np.uint8]:
    """Counts (H, W) uint16 as luma (H, W) uint8: span to 0..255, linear, clipped, rounded half up.

    Where span is narrower than one count (a flat scene), counts below it are black, above it white, in it mid-gray.
    """
    low, high = span
    counts = np.arange(LEVELS, dtype=np.float64)
    if high - low >= 1:
        table = np.clip(np.floor((counts - low) * (255 / (high - low)) + 0.5), 0, 255)
    else:
        table = np.where(counts < low, 0, np.where(counts > high, 255, MIDDLE))
    return np.take(table.astype(np.uint8), luma16)


class Agc:
    """Gain control of one thermal stream: its span follows the scene slowly, so that brightness does not pump."""

    def __init__(self, *, low: float = LOW_PERCENT, high: float = HIGH_PERCENT, inertia: float = INERTIA) -> None:
        """low, high: percentiles that become black and white. inertia: 0 (each frame for itself) to below 1."""
        if not 0 <= low < high <= 100:
            raise InputError(f"percentiles {low} and {high}: give 0 <= low < high <= 100")
        if not 0 <= inertia < 1:
            raise InputError(f"inertia {inertia}: give 0 (each frame for itself) to below 1")
        self._low, self._high, self._inertia = low, high, inertia
        self._span: Span | None = None

    def apply(self, frame: Frame) -> Frame:
        """The frame with 8-bit luma; one that has it already is returned as it is. Call in the stream's order."""
        if frame.luma.dtype == np.uint8:
            return frame
        luma16 = frame.luma.astype(np.uint16, copy=False)
        return replace(frame, luma=to_8bit(luma16, self._follow(luma16)))

    def _follow(self, luma16: NDArray[np.uint16]) -> Span:
        """The span for this frame: its own for the first, then a little closer to its own each time."""
        span = percentile_span(luma16, self._low, self._high)
        if self._span is not None:
            keep = self._inertia
            span = (
                keep * self._span[0] + (1 - keep) * span[0],
                keep * self._span[1] + (1 - keep) * span[1],
            )
        self._span = span
        return span
