"""Whether two pictures plainly do not lie on each other as they are, though they would at another scale and place.

Edges of one are laid over those of the other at each shift and at a bank of scales. Where nothing fits well, nothing
is said: a dark or even scene proves neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.check import Plane, Size, Surface, edges, work_size

SIDE = 256
"""px, longer side of the pictures looked at: 5 ms a scale, and a pixel is 0.4 % of the width."""
LEAST_SIDE = 48
"""px, of the shorter side: nobody can tell of less."""
STEP = 1.06
"""Ratio of neighbouring scales: between two of them edges are off by 1 % of the width at most."""
SCALES = tuple(float(scale) for scale in np.exp(np.arange(-12, 13) * np.log(STEP)))
"""Of infrared against visible, 0.5 to 2."""
FAR = 0.4
"""Of the width and the height, the largest shift tried."""
LEAST_OVERLAP = 0.25
"""Of the picture, below which a likeness is by chance."""
NEAR = 0.025
"""Mean displacement, of the width, up to which a pair is as well aligned as pairs are that are sold as aligned: those
of the TNO set are off by up to 1.7 %."""
PLAIN = 0.035
"""Mean displacement, of the width, from which it is plain: objects have two outlines then."""
SURE = 7.2
"""Spreads that the best fit stands out by to be believed: of 379 aligned pairs, the highest at a wrong place that was
`BETTER` than the right one had 6.7."""
BETTER = 1.4
"""Times that it stands out more than the best fit near the place as it is. Of aligned pairs beyond 7 spreads, the worst
had 1.29; of unaligned ones, none less than 1.86."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How the infrared picture would lie best on the visible one, both of one size."""

    scale: float
    """Of infrared, about the middle."""
    dx: float
    """Of the width, to the right, after scaling."""
    dy: float
    """Of the width, downwards."""
    score: float
    """Spreads by which this stands out of all places."""
    score_as_it_is: float
    """The same of the best place with a mean displacement of `NEAR` at most."""
    displacement: float
    """Of the width, mean over the picture: how far things are off as it is."""

    @property
    def is_unaligned(self) -> bool:
        """Whether the pair plainly does not lie together as it is; False where nobody can tell."""
        return self.displacement > PLAIN and self.score > max(SURE, BETTER * self.score_as_it_is)

    @property
    def is_aligned(self) -> bool:
        """Whether it plainly does; both are False where nobody can tell."""
        return self.score_as_it_is > SURE and not self.is_unaligned

    def __str__(self) -> str:
        """E.g. `infrared fits at 0.68 of its size, moved by 6 % of the width right and 4 % up`."""
        x, y = (f"{abs(100 * value):.0f} % of the width {way}" for value, way in (
            (self.dx, "right" if self.dx > 0 else "left"), (self.dy, "down" if self.dy > 0 else "up")))  # fmt: skip
        size = "" if abs(self.scale - 1) < STEP - 1 else f"at {self.scale:.2f} of its size, "
        return f"infrared fits {size}moved by {x} and {y}"


def best_fit(pairs: Sequence[tuple[Plane, Plane]]) -> Fit:
    """How infrared lies best on visible in all of these pairs, (H, W) uint8 of one size each and all of one size."""
    size = work_size((pairs[0][1].shape[1], pairs[0][1].shape[0]), SIDE)
    if min(size) < LEAST_SIDE:
        return Fit(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    spectra = [(ir, _spectrum(edges(vis, size), size)) for ir, vis in pairs]
    found: list[tuple[float, float, float, float]] = []  # score, scale, dx, dy
    near = 0.0
    for scale in (1.0, *(scale for scale in SCALES if abs(scale - 1.0) > 1e-9)):
        surface = _surface(spectra, size, scale)
        row, column = np.unravel_index(int(surface.argmax()), surface.shape)
        dx, dy = (float(axis) for axis in (_axis(size, 0)[column], _axis(size, 1)[row]))
        found.append((float(surface[row, column]), scale, dx, dy))
        if abs(scale - 1) < 4 * NEAR:  # any other is off by more at every shift
            near = max(near, float(np.where(_displacements(size, scale) <= NEAR, surface, 0.0).max()))
        if scale == 1.0 and near > 2 * SURE and near >= found[0][0]:
            break  # beyond doubt: an aligned pair costs one scale
    score, scale, dx, dy = max(found)
    off = _displacements(size, scale)[round(dy * size[0]) + _span(size, 1), round(dx * size[0]) + _span(size, 0)]
    return Fit(scale, dx, dy, score, near, float(off))


def _surface(pairs: list[tuple[Plane, NDArray[np.float32]]], size: Size, scale: float) -> Surface:
    """How far each shift stands out at one scale: rows are shifts down, columns shifts right, in spreads."""
    width, height = size
    wanted = max(round(width * scale), 8), max(round(height * scale), 8)
    middle = np.array([[1, 0, (width - wanted[0]) / 2], [0, 1, (height - wanted[1]) / 2]], np.float64)
    total = np.zeros((2 * _span(size, 1) + 1, 2 * _span(size, 0) + 1), np.float32)
    for ir, spectrum in pairs:
        placed = np.asarray(cv2.warpAffine(edges(ir, wanted), middle, size), np.float32)
        product = cv2.mulSpectrums(spectrum, _spectrum(placed, size), 0, conjB=True)
        likeness = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
        total += np.roll(likeness, (_span(size, 1), _span(size, 0)), (0, 1))[: total.shape[0], : total.shape[1]]
    across, down = (_overlap(size[axis], min(wanted[axis], size[axis]), _span(size, axis)) for axis in (0, 1))
    area = np.outer(down, across)
    surface = total / np.sqrt(np.maximum(area, 1.0) * len(pairs))
    is_judged = area >= LEAST_OVERLAP * width * height
    if not is_judged.any():
        return np.zeros_like(total)
    values = np.sort(surface[is_judged][::7])  # every seventh: the spread of 40,000 places is that of 6,000
    low, mid, high = (float(values[len(values) * quarter // 4]) for quarter in (1, 2, 3))
    return np.asarray(np.where(is_judged, (surface - mid) / max((high - low) / 1.349, 1e-6), 0.0), np.float32)


def _spectrum(picture: Surface, size: Size) -> NDArray[np.float32]:
    """Padded so that no shift up to the largest wraps round."""
    rows, columns = (cv2.getOptimalDFTSize(size[axis] + _span(size, axis) + 1) for axis in (1, 0))
    padded = cv2.copyMakeBorder(
        picture, 0, rows - picture.shape[0], 0, columns - picture.shape[1], cv2.BORDER_CONSTANT, value=0
    )
    return np.asarray(cv2.dft(padded), np.float32)


def _overlap(whole: int, part: int, span: int) -> NDArray[np.float64]:
    """px that a centred part and the whole share along one axis, by shift."""
    shift = np.abs(np.arange(-span, span + 1, dtype=np.float64))
    return np.clip((whole + part) / 2 - shift, 0, part)


def _span(size: Size, axis: int) -> int:
    """The largest shift along an axis, px of what is looked at."""
    return int(FAR * size[axis])


def _axis(size: Size, axis: int) -> NDArray[np.float64]:
    """The shifts along an axis, of the width."""
    span = _span(size, axis)
    return np.arange(-span, span + 1) / size[0]


def _displacements(size: Size, scale: float) -> NDArray[np.float64]:
    """By how much things are off on average, of the width, if a scale and each of the shifts is what would fit."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 5), np.linspace(-0.5, 0.5, 5) * size[1] / size[0])
    grown = np.stack([x, y], axis=-1).reshape(-1, 2) * (scale - 1)
    dx, dy = np.meshgrid(_axis(size, 0), _axis(size, 1))
    return np.asarray(np.mean([np.hypot(dx + gx, dy + gy) for gx, gy in grown], axis=0))
