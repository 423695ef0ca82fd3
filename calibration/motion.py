"""What moves in a recording and when: the motion of the whole picture, and how much is going on in each part of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.check import Plane, Size, Surface, vertex, work_size
from calibration.warp import Warp

SIDE = 160
"""px, longer side of the pictures looked at: 1 ms a frame, and noise is averaged away."""
COLUMNS, ROWS = 8, 6
"""Parts of the picture. Without a rig those of the two cameras are near each other, not the same: they are blurred."""
FINE, GROUND = 1.5, 8.0
"""px, sigmas of the band looked at: finer is noise, coarser is gain and light of the whole picture."""
LEAST_BASELINE = 0.12
"""s between the pictures compared, at least: in less, slow things do not leave their place."""
FARTHEST = 20
"""px that the whole picture moves in a baseline at most."""
SPIKE = 1.5
"""Times the larger neighbour that a part may have: a key frame of the codec or a shutter is over after one frame."""

Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Motion:
    """One recording's motion. Both recordings are compared over the same `baseline`."""

    times: Series
    """(N,) s on the recording's clock, increasing; each the middle of the two pictures compared."""
    parts: Series
    """(N, ROWS * COLUMNS) mean change of each part, levels."""
    whole: Series
    """(N, 2) motion of the whole picture right and down, px of `SIDE` in a baseline."""
    baseline: float
    """s between the pictures compared: what a slow camera cannot tell, a fast one must not either."""

    @property
    def span(self) -> tuple[float, float]:
        """First and last time, s."""
        return float(self.times[0]), float(self.times[-1])

    @property
    def period(self) -> float:
        """s between frames, median."""
        return float(np.median(np.diff(self.times)))


def baseline_of(*rates: float | None) -> float:
    """s between the pictures to compare: a period of the slowest stream, from rates in frames/s where known."""
    return max([1 / rate for rate in rates if rate] + [LEAST_BASELINE])


def motion_of(
    frames: Iterable[tuple[float, Plane]], baseline: float, *, warp: Warp | None = None, seen: Surface | None = None
) -> Motion:
    """The motion in frames of (time s, luma (H, W) uint8), in time order.

    warp: lays them onto the other camera's grid, made for pictures of `small_size`. seen: (H, W) of `small_size`, 0
    where the other camera does not look. Raises ValueError for fewer than 3 frames a baseline apart.
    """
    waiting: deque[tuple[float, NDArray[np.float32], NDArray[np.float32]]] = deque()
    times, parts, whole = [], [], []
    window = None
    for time, luma in frames:
        picture = _flattened(luma, warp)
        if seen is not None:
            picture *= seen
        if window is None:
            window = cv2.createHanningWindow((picture.shape[1], picture.shape[0]), cv2.CV_32F)
        waiting.append((time, picture, np.asarray(cv2.dft(_evened(picture) * window), np.float32)))
        while len(waiting) > 2 and abs(time - waiting[1][0] - baseline) <= abs(time - waiting[0][0] - baseline):
            waiting.popleft()
        before, old, spectrum = waiting[0]
        if not 0.5 * baseline < time - before < 2 * baseline:  # the first frames, and gaps
            continue
        times.append((time + before) / 2)
        parts.append(_shares(cv2.absdiff(picture, old)) * (baseline / (time - before)))
        whole.append(_shift(spectrum, waiting[-1][2]) * (baseline / (time - before)))
    kept = [0] + [k + 1 for k, (a, b) in enumerate(pairwise(times)) if b > a]
    if len(times) < 3 or len(kept) < 3:
        raise ValueError(f"{len(times)} pairs of frames {baseline:.3f} s apart; 3 are needed to speak of motion")
    motion = Motion(np.array(times)[kept], np.array(parts)[kept], np.array(whole)[kept], baseline)
    return Motion(motion.times, _despiked(motion), motion.whole, baseline)


def small_size(size: Size) -> Size:
    """Width and height of what is looked at of pictures of a size: what a warp has to be made for."""
    return work_size(size, SIDE)


def _flattened(luma: Plane, warp: Warp | None) -> NDArray[np.float32]:
    """The picture, small, laid as the warp has it, without its levels over large areas."""
    size = small_size((luma.shape[1], luma.shape[0]))
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), FINE) - cv2.GaussianBlur(small, (0, 0), GROUND)
    if warp is None:
        return np.asarray(small, np.float32)
    none: Any = None  # both coordinates are in the first map; the stubs want a second one
    return np.asarray(cv2.remap(small, warp.at, none, cv2.INTER_LINEAR, borderValue=0), np.float32)


def _evened(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without its heights: a hot walker must not outweigh the ground on which it walks."""
    level = max(float(np.median(np.abs(picture))), 1e-6)
    return np.clip(picture, -2 * level, 2 * level)


def _shares(change: NDArray[np.generic]) -> Series:
    """Mean change of each part, blurred over its neighbours."""
    parts = cv2.resize(np.asarray(change, np.float32), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(parts, (3, 3), 0.7), np.float64).ravel()


def _shift(before: NDArray[np.float32], after: NDArray[np.float32]) -> Series:
    """(2,) px by which all has moved right and down. Spectra are not whitened: in a band all there is is noise then."""
    product = cv2.mulSpectrums(after, before, 0, conjB=True)
    likeness = np.asarray(cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_REAL_OUTPUT))
    likeness = np.roll(likeness, (FARTHEST, FARTHEST), (0, 1))[: 2 * FARTHEST + 1, : 2 * FARTHEST + 1]
    row, column = (int(place) for place in np.unravel_index(int(likeness.argmax()), likeness.shape))
    x, y = column + vertex(likeness[row, :], column), row + vertex(likeness[:, column], row)
    return np.array([x - FARTHEST, y - FARTHEST])


def _despiked(motion: Motion) -> Series:
    """The parts without what lasts for one comparison only."""
    step = max(round(motion.baseline / motion.period), 1)
    padded = np.pad(motion.parts, ((step, step), (0, 0)), mode="edge")
    neighbours = np.maximum(padded[: -2 * step], padded[2 * step :])
    return np.asarray(np.minimum(motion.parts, SPIKE * neighbours))
