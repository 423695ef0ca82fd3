"""How far apart the edges of two pictures lie that should lie on each other: over the picture, in px, with confidence.

The pictures are of two kinds of light, so levels say nothing and edges do. Their strength, freed of local contrast, is
correlated patch by patch; what many patches or many pictures agree on stands out of what a chance likeness gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
Surface = NDArray[np.float32]
Size = tuple[int, int]
"""width, height in px"""

WORK = 320
"""px, longer side of the pictures looked at: 7 ms a VGA pair on one core, and a tenth of a pixel is 0.2 px of VGA."""
COLUMNS, ROWS = 4, 3
"""Patches over the picture."""
LEAST_PATCH = 16
"""px a side."""
REACH = 20
"""px of the pictures looked at, either way, that edges are searched for: 6 % of the width."""
BLUR = 1.0
"""px, sigma before the gradient: noise of one pixel is no edge."""
NEIGHBOURHOOD = 25
"""px, side of the square that sets the local contrast: a hot target must not outweigh all else."""
FLOOR = 1.0
"""Added to the local variance of the root of the gradient, in levels a px: flat noise stays flat."""
SEEN = 0.6
"""Share of a patch that the other camera must see."""
SURE = 6.0
"""Peak over the spread of a patch's or a picture's correlation, from which it is believed. Of 164
pictures of one scene laid over another the highest had 5.6, and 1 patch of 2000 had more than 6 (99 % below 4.6)."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """How alike the edges are at each displacement, patch by patch."""

    surfaces: Surface
    """(ROWS, COLUMNS, 2 REACH + 1, 2 REACH + 1), in spreads of itself; nan in patches that cannot be judged."""
    scale: float
    """px of the pictures given per px of the surfaces."""
    size: Size
    """Of the pictures given."""


@dataclass(frozen=True, slots=True)
class Patch:
    """The residual at one place of the picture."""

    x: float
    """px, middle of the patch."""
    y: float
    dx: float
    """px by which infrared lies right of visible."""
    dy: float
    """px by which it lies below."""
    confidence: float
    """Peak over spread; believed from `SURE` on."""

    @property
    def length(self) -> float:
        """px between what should lie on each other."""
        return float(np.hypot(self.dx, self.dy))

    @property
    def is_sure(self) -> bool:
        """Whether the patch is believed."""
        return self.confidence >= SURE


@dataclass(frozen=True, slots=True)
class Residual:
    """What remains between two pictures that should lie on each other."""

    whole: Patch
    """What all patches together say; its place is the middle of the picture."""
    patches: tuple[Patch, ...]
    """Those that can be judged, row by row."""

    @property
    def sure(self) -> tuple[Patch, ...]:
        """The patches that are believed."""
        return tuple(patch for patch in self.patches if patch.is_sure)

    @property
    def typical(self) -> float:
        """px, median over the patches that are believed; of the whole where fewer than 3 are; nan if it is not sure."""
        if len(self.sure) >= 3:
            return float(np.median([patch.length for patch in self.sure]))
        return self.whole.length if self.whole.is_sure else float("nan")


def correlate(ir: Plane, vis: Plane, seen: Surface | None = None) -> Correlation:
    """Compare two pictures (H, W) uint8 on one grid. seen: (H, W) in 0..1, where infrared is infrared, see `Warp`."""
    size = vis.shape[1], vis.shape[0]
    small = work_size(size)
    width, height = small
    ours, theirs = edges(vis, small), edges(ir, small)
    mask = np.ones((height, width), np.float32)
    if seen is not None:  # elsewhere visible stands in for infrared, and is very like itself
        mask = np.asarray(cv2.resize(seen, small, interpolation=cv2.INTER_AREA), np.float32)
        border = np.ones((NEIGHBOURHOOD // 2, NEIGHBOURHOOD // 2), np.uint8)
        mask = np.asarray(cv2.erode((mask > 0.99).astype(np.float32), border), np.float32)
        theirs *= mask
    ground = cv2.copyMakeBorder(theirs, REACH, REACH, REACH, REACH, cv2.BORDER_CONSTANT, value=0)
    side = 2 * REACH + 1
    surfaces = np.full((ROWS, COLUMNS, side, side), np.nan, np.float32)
    for row, column, (x, y, w, h) in _cells(small):
        patch = ours[y : y + h, x : x + w]
        if mask[y : y + h, x : x + w].mean() < SEEN or not patch.any():
            continue
        window = ground[y : y + h + 2 * REACH, x : x + w + 2 * REACH]
        if window.any():
            surfaces[row, column] = _in_spreads(cv2.matchTemplate(window, patch, cv2.TM_CCORR_NORMED))
    return Correlation(surfaces, size[0] / width, size)


def pooled(correlations: Sequence[Correlation]) -> Correlation:
    """Several pictures of one size as one: what moves with the scene averages out, a misplaced camera does not."""
    count = np.sum([np.isfinite(each.surfaces) for each in correlations], axis=0)
    total = np.nansum([each.surfaces for each in correlations], axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.where(count * 2 >= len(correlations), total / count, np.nan)
    first = correlations[0]
    return Correlation(np.asarray(mean, np.float32), first.scale, first.size)


def residual(correlation: Correlation) -> Residual:
    """What the surfaces say, in px of the pictures given."""
    width, height = correlation.size
    small = work_size(correlation.size)
    patches = []
    for row, column, (x, y, w, h) in _cells(small):
        surface = correlation.surfaces[row, column]
        if np.isfinite(surface).all():
            scale = correlation.scale
            patches.append(_peak(_in_spreads(surface), scale, (x + w / 2) * scale, (y + h / 2) * scale))
    if not patches:
        return Residual(Patch(width / 2, height / 2, 0.0, 0.0, 0.0), ())
    whole = _in_spreads(np.asarray(np.nanmean(correlation.surfaces, axis=(0, 1)), np.float32))
    return Residual(_peak(whole, correlation.scale, width / 2, height / 2), tuple(patches))


def edges(luma: Plane, size: Size) -> Surface:
    """Edges of a picture at another size (width, height): (H, W) float32 about 0, of even contrast all over."""
    shrinks = size[0] <= luma.shape[1] and size[1] <= luma.shape[0]
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), BLUR)
    strength = cv2.magnitude(cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1))
    strength = cv2.sqrt(strength)
    square = (NEIGHBOURHOOD, NEIGHBOURHOOD)
    mean, power = cv2.blur(strength, square), cv2.sqrBoxFilter(strength, cv2.CV_32F, square)
    variance = np.maximum(np.asarray(power) - np.asarray(mean) ** 2, 0)
    return np.asarray((strength - mean) / np.sqrt(variance + FLOOR), np.float32)


def work_size(size: Size, side: int = WORK) -> Size:
    """Width and height of what is looked at: the longer side is `side` px, or less where the picture is small."""
    ratio = min(side / max(size), 1.0)
    return max(round(size[0] * ratio), 1), max(round(size[1] * ratio), 1)


def vertex(values: NDArray[np.generic], at: int) -> float:
    """Where between its neighbours the parabola through a peak is highest, -0.5..0.5."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = (float(value) for value in np.asarray(values[at - 1 : at + 2]))
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))


def _cells(size: Size) -> list[tuple[int, int, tuple[int, int, int, int]]]:
    """Row, column, and x, y, width, height of each patch; none of less than `LEAST_PATCH` px a side."""
    xs = np.linspace(0, size[0], COLUMNS + 1).astype(int)
    ys = np.linspace(0, size[1], ROWS + 1).astype(int)
    cells = [
        (row, column, (int(xs[column]), int(ys[row]), int(xs[column + 1] - xs[column]), int(ys[row + 1] - ys[row])))
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    return [cell for cell in cells if min(cell[2][2:]) >= LEAST_PATCH]


def _in_spreads(surface: NDArray[np.generic]) -> Surface:
    """A surface less its median, over its spread as the middle half of it has it: a peak does not widen it."""
    values = np.asarray(surface, np.float32)
    ordered = np.sort(values, axis=None)
    low, middle, high = (float(ordered[len(ordered) * quarter // 4]) for quarter in (1, 2, 3))
    spread = max((high - low) / 1.349, float(values.std()) / 5, 1e-6)  # of a surface with next to nothing in it
    return np.asarray((values - middle) / spread, np.float32)


def _peak(surface: Surface, scale: float, x: float, y: float) -> Patch:
    """The highest place of a surface, to a fraction of a px."""
    row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    dx = column - REACH + vertex(surface[row, :], int(column))
    dy = row - REACH + vertex(surface[:, column], int(row))
    return Patch(x, y, float(dx * scale), float(dy * scale), float(surface[row, column]))
