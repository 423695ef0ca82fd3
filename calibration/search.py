"""Where one picture might lie on another, from no idea at all: a bank of scales and angles, all shifts at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.models import corners, moved
from calibration.outlines import Outlines, View, laid, outlines, shrunk
from calibration.patches import top_of_three
from calibration.rig import Matrix, Size

SIDE = 128
"""px, longer side of the reference's picture that is searched: 2.5 ms a scale and angle on one core."""
SCALE_STEP = 0.06
"""Between neighbouring scales: edges are off by 1.5 % of the width at most, two px here."""
ANGLE_STEP_DEG = 3.0
"""The same off the middle at half the width."""
LEAST_OVERLAP = 0.3
"""Of the smaller picture: less is likely to be alike by chance."""
EACH = 3
"""Best shifts that each scale and angle puts forward."""
APART = 0.04
"""Of the reference's width, by which the corners of two candidates differ."""
CLEAR = 4
"""px round a best shift that belong to it."""
BESIDE = 0.08
"""Of the longer side, how far off a repeated thing is looked for; beyond, it is a candidate of its own."""
MOST_BESIDE = 6
"""Of these that are looked at: to all sides, for some lead out of the picture."""
ALIKE = 0.5
"""Of the likeness at the best place, from which another one is worth a look."""

Box = tuple[float, float, float, float]


class Start(NamedTuple):
    """A first guess of how the other picture lies on the reference's."""

    scale: float
    """Its width over that of the reference's picture."""
    angle_deg: float
    dx: float
    """px of the reference by which its middle lies right of the reference's."""
    dy: float
    """The same, below."""


class Candidate(NamedTuple):
    """A place where the pictures may belong."""

    matrix: Matrix
    """(3, 3), pixels of the other to those of the reference."""
    score: float
    """Correlation of the outlines times the root of the number of pixels: spreads above chance."""


@dataclass(frozen=True, slots=True)
class Range:
    """What is tried."""

    scales: tuple[float, ...]
    """Width of the other's picture over the reference's."""
    angles_deg: tuple[float, ...]
    start: Start | None = None
    """Shifts are tried within `reach` of it only; None: everywhere."""
    reach: float = 0.2
    """Of the reference's width."""


def search_range(start: Start | None = None, *, is_shift_only: bool = False) -> Range:
    """The range for a start: all that cameras side by side may have if there is none, else what is near it."""
    if is_shift_only:
        return Range((start.scale if start else 1.0,), (start.angle_deg if start else 0.0,), start)
    middle, low, high, turn = (start.scale, -4, 4, 2) if start else (1.0, -17, 8, 4)  # 0.36 to 1.6, +-12 degrees
    scales = tuple(middle * float(np.exp(SCALE_STEP * step)) for step in range(low, high + 1))
    angle = start.angle_deg if start else 0.0
    return Range(scales, tuple(angle + ANGLE_STEP_DEG * step for step in range(-turn, turn + 1)), start)


def search(other: View, reference: View, tried: Range, *, keep: int = 5) -> list[Candidate]:
    """The best places of the other picture on the reference's, best first, none near another one."""
    small, to_small = shrunk(reference, SIDE / max(reference.size))
    bank = _Bank(outlines(small))
    found = []
    for scale in tried.scales:
        # pixels of the grid per pixel of the other; the picture is made as small as that first, once for all angles
        near, own = shrunk(other, scale * small.size[0] / other.size[0])
        for angle_deg in tried.angles_deg:
            ratio = scale * small.size[0] / near.size[0]
            centred, size = _turned(near.size, ratio, np.deg2rad(angle_deg))
            allowed = _allowed(tried, small.size, size, small.size[0] / reference.size[0])
            for (x, y), score in bank.best(outlines(laid(near, centred, size)), allowed):
                placed = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]) @ centred @ own
                found.append(Candidate(np.linalg.inv(to_small) @ placed, score))
    found.sort(key=lambda candidate: -candidate.score)
    return _different(found, other.size, APART * reference.size[0], keep)


def beside(other: Outlines, reference: Outlines) -> list[tuple[float, float]]:
    """Shifts (x, y) px, near but not next to where two pictures lie on each other, at which they are alike, too.

    Floors, fences and windows repeat: what lies one of them off is the mistake that looks best. Best first.
    """
    reach = round(BESIDE * max(other.mask.shape))
    ways, mask, energy = (
        cv2.copyMakeBorder(plane, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
        for plane in (reference.ways, reference.mask, (reference.ways**2).sum(axis=2))
    )
    alike = cv2.matchTemplate(ways, other.ways, cv2.TM_CCORR)
    theirs = cv2.matchTemplate(energy, other.mask, cv2.TM_CCORR)
    own = cv2.matchTemplate(mask, (other.ways**2).sum(axis=2), cv2.TM_CCORR)
    score = alike / np.sqrt(np.maximum(theirs, 1e-3) * np.maximum(own, 1e-3))
    y, x = np.indices(score.shape) - reach
    is_top = (score >= cv2.dilate(score, np.ones((5, 5), np.uint8))) & (np.hypot(x, y) > CLEAR)
    at_best = score[reach - 1 : reach + 2, reach - 1 : reach + 2].max()
    tops = np.flatnonzero(is_top & (score > ALIKE * at_best))
    ranked = tops[np.argsort(-score.ravel()[tops])][:MOST_BESIDE]
    return [_to_a_part(score, int(top) // score.shape[1], int(top) % score.shape[1], reach) for top in ranked]


def _to_a_part(score: NDArray[np.float32], row: int, column: int, reach: int) -> tuple[float, float]:
    """The shift of a top to a part of a px: half a px off, a fine fence looks less alike than it is."""
    if row in (0, score.shape[0] - 1) or column in (0, score.shape[1] - 1):
        return float(column - reach), float(row - reach)
    x = top_of_three(score[row, column - 1 : column + 2])
    y = top_of_three(score[row - 1 : row + 2, column])
    return column + x - reach, row + y - reach


class _Bank:
    """The reference's outlines in the frequency domain, for each size of transform once."""

    def __init__(self, reference: Outlines) -> None:
        self._ways, self._mask = reference.ways, reference.mask
        self._spectra: dict[Size, tuple[NDArray[np.float32], ...]] = {}

    def best(self, other: Outlines, allowed: Box | None) -> list[tuple[tuple[int, int], float]]:
        """The best shifts (x, y) px of the other's outlines and their scores; allowed: lowest and highest x and y."""
        (height, width), (h, w) = self._mask.shape, other.mask.shape
        # A shift that wraps round overlaps by less than a quarter of the smaller, which is less than what is allowed
        shape = _room(height, h), _room(width, w)
        ways, energy_and_mask, mask = self._spectrum(shape)
        alike = _correlated(ways, _padded(other.ways, shape))[..., 0]
        own = _correlated(energy_and_mask, _padded(np.dstack([other.mask, np.zeros_like(other.mask)]), shape))
        strength = (other.ways**2).sum(axis=2)
        theirs = _correlated(mask, _padded(np.dstack([strength, np.zeros_like(strength)]), shape))[..., 0]
        count = own[..., 1]
        score = alike / np.sqrt(np.maximum(own[..., 0], 1e-3) * np.maximum(theirs, 1e-3))
        least = LEAST_OVERLAP * min(float(other.mask.sum()), float(self._mask.sum()))
        score = np.where(count > max(least, 1.0), score * np.sqrt(np.maximum(count, 0)), -1.0)
        x, y = (_shifts(total, side) for total, side in ((shape[1], width), (shape[0], height)))
        if allowed is not None:
            score[(y < allowed[1]) | (y > allowed[3])] = -1.0
            score[:, (x < allowed[0]) | (x > allowed[2])] = -1.0
        return list(_peaks(score, x, y))

    def _spectrum(self, shape: Size) -> tuple[NDArray[np.float32], ...]:
        if shape not in self._spectra:
            energy = (self._ways**2).sum(axis=2)
            planes = (self._ways, np.dstack([energy, self._mask]), np.dstack([self._mask, np.zeros_like(energy)]))
            self._spectra[shape] = tuple(np.asarray(cv2.dft(_padded(p, shape)), np.float32) for p in planes)
        return self._spectra[shape]


def _room(reference: int, other: int) -> int:
    """px, side of a transform that holds either picture, and all shifts but those that overlap by next to nothing."""
    return cv2.getOptimalDFTSize(reference + other - min(reference, other) // 4)


def _padded(plane: NDArray[np.float32], shape: Size) -> NDArray[np.float32]:
    whole = np.zeros((*shape, 2), np.float32)
    whole[: plane.shape[0], : plane.shape[1]] = plane
    return whole


def _correlated(spectrum: NDArray[np.float32], plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of reference(x + shift) conj(plane(x)) for each shift, (H, W, 2) as real and imaginary part."""
    product = cv2.mulSpectrums(spectrum, cv2.dft(plane), 0, conjB=True)
    return np.asarray(cv2.idft(product, flags=cv2.DFT_SCALE), np.float32)


def _shifts(total: int, side: int) -> NDArray[np.int64]:
    """The shift that each place of a circular correlation stands for."""
    places = np.arange(total)
    return np.where(places < side, places, places - total)


def _peaks(
    score: NDArray[np.float32], x: NDArray[np.int64], y: NDArray[np.int64]
) -> Iterator[tuple[tuple[int, int], float]]:
    near = np.arange(-CLEAR, CLEAR + 1)
    for _ in range(EACH):
        row, column = np.unravel_index(int(np.argmax(score)), score.shape)
        if score[row, column] <= 0:
            return
        yield (int(x[column]), int(y[row])), float(score[row, column])
        score[np.ix_((row + near) % score.shape[0], (column + near) % score.shape[1])] = -1.0


def _turned(size: Size, ratio: float, angle: float) -> tuple[Matrix, Size]:
    """A picture scaled and turned about its middle, and the (width, height) that hold it."""
    cos, sin = ratio * np.cos(angle), ratio * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    held = np.ceil(np.abs(turn) @ size).astype(int)
    shift = (held - 1) / 2 - turn @ (np.array(size) - 1) / 2
    return np.array([[*turn[0], shift[0]], [*turn[1], shift[1]], [0, 0, 1]]), (int(held[0]), int(held[1]))


def _allowed(tried: Range, small: Size, held: Size, ratio: float) -> Box | None:
    """Lowest and highest x and y of shifts near the start; ratio: px of the grid per px of the reference."""
    if tried.start is None:
        return None
    middle = (np.array(small) - np.array(held)) / 2 + ratio * np.array([tried.start.dx, tried.start.dy])
    reach = tried.reach * small[0]
    return (*(middle - reach), *(middle + reach))


def _different(found: list[Candidate], size: Size, apart: float, keep: int) -> list[Candidate]:
    """The first `keep` whose corners lie further apart than `apart` px from those of all before."""
    kept: list[tuple[Candidate, NDArray[np.float64]]] = []
    for candidate in found:
        places = moved(candidate.matrix, corners(size))
        if all(np.linalg.norm(places - others, axis=1).max() > apart for _, others in kept):
            kept.append((candidate, places))
        if len(kept) == keep:
            break
    return [candidate for candidate, _ in kept]
