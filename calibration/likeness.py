"""At which offset and rate the motion in two recordings is alike, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.motion import Motion, Series

WINDOW = 2.0
"""s, shortest window: something must have happened in it."""
MOST_WINDOWS = 40
RATE_SECONDS = 60.0
"""Shorter recordings say nothing of the rate: the largest one moves their ends by 45 ms."""
TREND = 1.0
"""s, slower changes are left out: they say little of when. On films of walking blobs this halved the error of 4 s."""
MOST_RATE = 1500e-6
"""Largest difference of rates: past 29.97 frames/s in a file that says 30."""
HABITS = 6
"""Times that visible is moved round by a part of its length, forwards and backwards, to see what likeness there is by
chance: it keeps its habits and has no common event any more."""
LEAST_OVERLAP = 0.3
"""Share of the most that both have in common at any offset: where less is in common, less is proved."""

NO_RATE = 0.97
"""Share of the highest likeness that a rate of 0 may have to be taken: in short recordings all rates fit alike."""

Kind = Literal["parts", "whole"]
Curves = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Likeness:
    """What one kind of motion says: that of the picture's parts, or of the whole."""

    kind: Kind
    step: float
    """s between offsets."""
    lags: Series
    """s, the offsets tried: added to infrared times."""
    curves: Curves
    """(windows, lags); the sum over the windows is a likeness, at most 1."""
    middles: Series
    """s, infrared time of each window's middle."""
    rates: Series
    """Differences of the clocks' rates that were tried, s per s; only 0 in short recordings."""
    sums: Curves
    """(rates, lags) likeness of all windows together."""
    chance: float
    """The highest likeness that was found without common events, see `HABITS`."""

    @property
    def best(self) -> tuple[int, int]:
        """Place of the highest likeness: rate, lag. A rate is taken for 0 where it does not matter."""
        rate, lag = np.unravel_index(int(self.sums.argmax()), self.sums.shape)
        none = len(self.rates) // 2
        if self.sums[none].max() > NO_RATE * self.sums.max():
            return none, int(self.sums[none].argmax())
        return int(rate), int(lag)

    @property
    def peak(self) -> float:
        """The highest likeness."""
        return float(self.sums.max())


def compare(kind: Kind, ir: Motion, vis: Motion, *, about: float, most: float) -> Likeness:
    """Compare one kind of motion at all offsets within `most` s of `about`."""
    step = min(max(min(ir.period, vis.period) / 2, 0.004), 0.025)
    theirs, ours = _sampled(kind, ir, step), _sampled(kind, vis, step)
    apart = ir.span[0] + about - vis.span[0]
    shift, half = round(apart / step), round(most / step)
    lags: Series = np.arange(-half, half + 1, dtype=np.float64) * step + (shift * step - apart + about)
    count = int(np.clip((ir.span[1] - ir.span[0]) / WINDOW, 1, MOST_WINDOWS))
    cuts = np.linspace(0, len(theirs), count + 1).round().astype(int)
    middles: Series = np.array([ir.span[0] + (first + last) / 2 * step for first, last in pairwise(cuts)])
    rates: Series = _rates(ir) if ir.span[1] - ir.span[0] >= RATE_SECONDS else np.zeros(1)
    curves = _curves(theirs, ours, cuts, shift, half)
    sums = _summed(curves, middles, rates, step)
    whole = (cuts, middles) if len(rates) > 1 else (cuts[[0, -1]], np.zeros(1))  # one window has the same sum
    chance = max(float(_summed(_curves(theirs, other, whole[0], shift, half), whole[1], rates, step).max())
                 for other in _without_events(ours, 2 * half))  # fmt: skip
    return Likeness(kind, step, lags, curves, middles, rates, sums, chance)


def moved(curves: Curves, by: Series) -> Curves:
    """Each row read `by` samples further on; beyond the ends there is nothing."""
    places = np.arange(curves.shape[1])
    return np.stack([np.interp(places + d, places, row, 0.0, 0.0) for d, row in zip(by, curves, strict=True)])


def second_peak(row: Series, at: int, width: int) -> float:
    """The highest place outside the hill on which `at` stands; a hill reaches `width` either way at least."""
    low = high = at
    while low > 0 and (row[low - 1] < row[low] or at - low < width):
        low -= 1
    while high < len(row) - 1 and (row[high + 1] < row[high] or high - at < width):
        high += 1
    others = np.concatenate([row[:low], row[high + 1 :]])
    return float(others.max()) if len(others) else 0.0


def _summed(curves: Curves, middles: Series, rates: Series, step: float) -> Curves:
    """(rates, lags) all windows together, each moved by what a rate makes of its distance from the middle."""
    away = (middles - middles.mean()) / step
    return np.stack([moved(curves, rate * away).sum(axis=0) for rate in rates])


def _without_events(series: Curves, reach: int) -> Iterator[Curves]:
    """The series moved round and turned, so that nothing of it is within `reach` of where it was."""
    for part in range(HABITS):
        by = part * len(series) // HABITS
        yield np.roll(series[::-1], by, axis=0)
        if min(by, len(series) - by) >= reach:
            yield np.roll(series, by, axis=0)


def _sampled(kind: Kind, motion: Motion, step: float) -> Curves:
    """(samples, channels) at even steps from the first time on, without trend, no event far above all others."""
    values = motion.parts if kind == "parts" else motion.whole
    grid = np.arange(motion.span[0], motion.span[1], step)
    even = np.stack([np.interp(grid, motion.times, channel) for channel in values.T], axis=1)
    kernel = np.ones(min(round(TREND / step), len(even)))
    weight = np.convolve(np.ones(len(even)), kernel, mode="same")
    trend = np.stack([np.convolve(channel, kernel, mode="same") for channel in even.T], axis=1) / weight[:, None]
    level = even - trend
    return np.asarray(np.tanh(level / max(4 * float(level.std()), 1e-9)))


def _curves(theirs: Curves, ours: Curves, cuts: NDArray[np.int64], shift: int, half: int) -> Curves:
    """(windows, lags): products of infrared's window and visible at each lag, over the root of both powers."""
    products = np.zeros((len(cuts) - 1, 2 * half + 1))
    powers = np.zeros((2, *products.shape))
    for number, (first, last) in enumerate(pairwise(cuts)):
        window = theirs[first:last]
        ground, is_there = _cut(ours, first + shift - half, last + shift + half)
        products[number] = _correlated(window, ground)
        powers[0, number] = _correlated((window**2).sum(axis=1, keepdims=True), is_there)
        powers[1, number] = _correlated(np.ones((len(window), 1)), (ground**2).sum(axis=1, keepdims=True))
    ir, vis = np.maximum(powers.sum(axis=1), 0.0)
    power = np.sqrt(ir * vis)
    return np.asarray(products / max(float(power.max()), 1e-12) / np.maximum(power / max(power.max(), 1e-12),
                                                                             LEAST_OVERLAP))  # fmt: skip


def _cut(series: Curves, first: int, last: int) -> tuple[Curves, Curves]:
    """The samples from first to last, zeros where there are none, and (n, 1) where there are some."""
    ground, is_there = np.zeros((last - first, series.shape[1])), np.zeros((last - first, 1))
    low, high = max(first, 0), min(last, len(series))
    if high > low:
        ground[low - first : high - first] = series[low:high]
        is_there[low - first : high - first] = 1.0
    return ground, is_there


def _correlated(window: Curves, ground: Curves) -> Series:
    """Sum over samples and channels of window times ground, at each place of the window in the ground."""
    length = 1 << int(np.ceil(np.log2(len(ground) + len(window))))
    spectrum = np.conj(np.fft.rfft(window, length, axis=0)) * np.fft.rfft(ground, length, axis=0)
    return np.asarray(np.fft.irfft(spectrum.sum(axis=1), length)[: len(ground) - len(window) + 1])


def _rates(ir: Motion) -> Series:
    """The rates tried: from one to the next, the ends move by half a baseline against the middle."""
    length = ir.span[1] - ir.span[0]
    count = int(np.ceil(MOST_RATE * length / ir.baseline)) + 1
    return np.asarray(np.linspace(-MOST_RATE, MOST_RATE, 2 * count + 1), np.float64)
