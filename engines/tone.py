"""How the tone of one infrared camera changes from frame to frame: steps of its automatic gain, and their removal.

A step is modelled as `y = a x + b(place)`, b a polynomial of degree 2: an affine change alone left 5 levels of a
measured step of 37 unexplained, since one border of the picture changed by 12 levels more than its middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Luma

WINDOW = 45
"""Frames over which what a step has changed is let through: 1.5 s at 30 frames/s."""
CELLS = 40, 30
"""Columns and rows of the small picture in which a step is sought: its grain and small movers count little."""
LEAST_SIDE = 30
"""Smallest side, px, of a picture in which one is sought."""
LEAST_CHANGE = 2.0
"""Root mean square, levels, of a change that is a step. Less from one frame to the next is hardly seen, and slow
warming stays far below: it is shown as it is."""
QUICK = 1.0
"""Median change, levels, below which nothing is fitted."""
LEAST_LIKENESS = 0.8
"""Correlation of the cells, their slow parts taken away: measured 0.93 and more at gain steps, 0.5 and less at cuts."""
LEAST_SHARE = 0.7
"""Of the cells that the step explains; the others may have moved."""
EXPLAINED = 0.25
"""Part of the change by which an explained cell may be off, but see `NEAR`."""
NEAR = 4.0
"""levels"""
MOST_GAIN = 4.0
"""Largest factor of contrast, either way."""
WHOLE = 0.999
"""Part of a cell that the camera must look at."""
UNSEEN = -1.0
"""Stands in a cell that it does not look at."""
LEAST_SEEN = 0.1
"""Of the cells; of fewer nothing is concluded."""
DARK, BRIGHT = 2.0, 253.0
"""Cells outside have lost their contrast and tell nothing, levels."""
ROUNDS = 4
"""Of the fit; each leaves out what the one before did not explain."""
SOFTENING = 0.25
"""Added to both variances, levels^2: rounding alone is no contrast."""

PARTS = 16
"""Of a level, in which a changed picture is computed: 16 bits are enough for them."""
LARGE = 16000
"""More parts than any level has; two of them still fit into 16 bits."""

Cells = NDArray[np.float64]
"""(rows * columns,) levels"""


def _places() -> NDArray[np.float64]:
    """(cells, 6) values of 1, u, v, u^2, uv, v^2 at each cell; u and v from -1 to 1."""
    u, v = (axis.ravel() for axis in np.meshgrid(*(np.linspace(-1, 1, count) for count in CELLS)))
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)


_PLACES = _places()


@dataclass(frozen=True, slots=True)
class Tone:
    """A change of tone: level x at a place becomes `gain x + offset(place)`."""

    gain: float
    offset: NDArray[np.float64]
    """(6,) of 1, u, v, u^2, uv, v^2."""

    def after(self, first: Tone) -> Tone:
        """This change, done after another."""
        return Tone(self.gain * first.gain, self.gain * first.offset + self.offset)

    def undone(self, share: float) -> Tone:
        """What takes a share of this change back: 1 all of it, 0 nothing."""
        return Tone(1 - share + share / self.gain, -share / self.gain * self.offset)

    def of(self, luma: Luma) -> Luma:
        """A picture (H, W) changed, cut off at black and white."""
        columns, rows = CELLS
        height, width = luma.shape
        field = np.rint(PARTS * (_PLACES @ self.offset)).clip(-LARGE, LARGE).astype(np.int16).reshape(rows, columns)
        scaled = cv2.LUT(luma, np.rint(PARTS * self.gain * np.arange(256.0)).clip(0, LARGE).astype(np.int16))
        changed = cv2.add(scaled, cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR))
        _, changed = cv2.threshold(changed, 0, 0, cv2.THRESH_TOZERO)  # the next would show what is below black as gray
        return np.asarray(cv2.convertScaleAbs(changed, alpha=1 / PARTS), np.uint8)


SAME = Tone(1.0, np.zeros(6))
"""No change."""


def cells(luma: Luma, seen: NDArray[np.float32] | None = None) -> Cells | None:
    """A picture (H, W) as `step` takes it; None if it is too small. seen: (H, W) in 0..1, 1 where the camera looks."""
    if min(luma.shape) < LEAST_SIDE:
        return None
    small = cv2.resize(luma, CELLS, interpolation=cv2.INTER_AREA).astype(np.float64)
    if seen is not None:
        small[cv2.resize(seen, CELLS, interpolation=cv2.INTER_AREA) < WHOLE] = UNSEEN
    return small.ravel()


def step(before: Cells, now: Cells) -> Tone | None:
    """The gain step from one frame to the next; None where there is none, or the scene has changed instead."""
    seen = np.minimum(before, now) > UNSEEN
    if seen.mean() < LEAST_SEEN or np.median(np.abs(now - before)[seen]) < QUICK:
        return None
    shows = seen & (np.minimum(before, now) >= DARK) & (np.maximum(before, now) <= BRIGHT)
    shown = shows.sum() / seen.sum()
    if shown < LEAST_SHARE:
        return None
    x, y, places = before[shows], now[shows], _PLACES[shows]
    tone, left, likeness = _fitted(x, y, places)
    change = float(np.sqrt(np.mean((tone.gain * x + places @ tone.offset - x) ** 2)))
    share = shown * np.mean(left <= max(NEAR, EXPLAINED * change))
    is_explained = likeness >= LEAST_LIKENESS and share >= LEAST_SHARE
    return tone if is_explained and change >= LEAST_CHANGE and 1 / MOST_GAIN <= tone.gain <= MOST_GAIN else None


def _fitted(x: Cells, y: Cells, places: NDArray[np.float64]) -> tuple[Tone, Cells, float]:
    """The tone that leads from x to y, what it leaves unexplained of each cell, and how alike the explained are.

    The gain is the ratio of the contrasts, not the regression of one on the other, which unlikeness draws towards 0:
    up and down again would not come out at 1.
    """
    both, kept = np.stack([x, y], axis=1), np.ones(len(x), np.bool_)
    for _ in range(ROUNDS):
        inside = places[kept]
        slow = np.linalg.solve(inside.T @ inside + 1e-6 * np.eye(6), inside.T @ both[kept])
        detail = both - places @ slow
        (xx, xy), (_, yy) = detail[kept].T @ detail[kept] / kept.sum()
        gain = float(np.sqrt((yy + SOFTENING) / (xx + SOFTENING)))
        left = np.abs(detail[:, 1] - gain * detail[:, 0])
        kept = left <= max(2.5 * 1.4826 * float(np.median(left)), 2.0)  # 2.5 standard deviations of a normal one
    return Tone(gain, slow[:, 1] - gain * slow[:, 0]), left, float(xy / np.sqrt(xx * yy + 1e-9))
