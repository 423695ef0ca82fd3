"""By how much one camera's clock is behind the other's, and how fast it runs away, from what both saw move.

Both recordings are compared window by window at every offset and rate; what all windows together agree on is the
clock. How much that depends on single windows says how sure it is (Efron's bootstrap, over windows).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.likeness import MOST_RATE, Kind, Likeness, compare, moved, second_peak
from calibration.motion import Motion, Series
from engines.base import CrotalusError

LEAST_SECONDS = 2.0
"""s that both must have in common: less is one movement at best."""
DRAWS = 200
"""Of the bootstrap."""
STILL, NOISE = 0.08, 0.6
"""Levels between the quiet and the lively times of the liveliest part: nothing moves below the first, and below the
second what changes from picture to picture as much as ever is noise."""
OF_NOISE = 7.0
"""Times its change from picture to picture that a part of a noisy still scene spreads at most: 5, and chance."""
EVENT = 1.0
"""s that something moves at least, be it once in an hour."""
LIKE = 0.3
"""Least likeness of both motions, unless it is `PLAINLY` above chance."""
PLAINLY = 4.0
"""Times the likeness by chance: in a long recording a little of it is proof."""
DISTINCT = 0.8
"""A second offset with this share of the likeness makes the first one a guess."""
ABOVE_CHANCE = 1.8
"""Times the likeness that motion without a common event has."""
RATE_SIGMAS = 3.0
"""From which on a rate is told from none."""


class ClockError(CrotalusError, ValueError):
    """Two recordings that do not tell their offset; the text says why and what to record."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How infrared times become visible ones: t + offset + rate (t - start)."""

    offset: float
    """s to add to infrared times, at `start`."""
    sigma: float
    """s, of the offset in the middle of the recording."""
    rate: float
    """ppm by which the infrared clock is slow; 0 where the recording is too short, or it cannot be told from none."""
    rate_found: float | None
    """ppm, as it was found; None where the recording is too short to say."""
    rate_sigma: float | None
    """ppm"""
    start: float
    """s, infrared time of the first frame."""
    middle_offset: float
    """s to add to infrared times in the middle of the recording."""
    likeness: float
    """Correlation of both motions there, 0..1."""
    chance: float
    """The most that motion without a common event would have had."""
    seconds: float
    """Of both recordings in common."""
    kind: Kind
    """`parts` of the picture or the `whole`: whose motion told."""


def find_clock(ir: Motion, vis: Motion, *, about: float = 0.0, most: float = 2.0) -> Clock:
    """The clock of two recordings, searched within `most` s of the offset `about`. Raises ClockError."""
    seconds = _in_common(ir, vis, about)
    if seconds < LEAST_SECONDS:
        raise ClockError(
            f"both recordings have {max(seconds, 0.0):.1f} s in common; record {LEAST_SECONDS:g} s or more at the same "
            "time, or give the rough --offset"
        )
    for name, motion in (("ir", ir), ("vis", vis)):
        if is_still(motion):
            raise ClockError(f"{name}: nothing moves in it; record something that moves, or move both cameras")
    found = [compare(kind, ir, vis, about=about, most=most) for kind in ("parts", "whole")]
    found.sort(key=lambda each: each.peak / max(each.chance, 0.01), reverse=True)
    doubts: list[ClockError] = []
    for each in found:
        try:
            _judge(each, ir, vis)
            return _measured(each, ir, vis)
        except ClockError as error:
            doubts.append(error)
    raise doubts[0]


def is_still(motion: Motion) -> bool:
    """Whether no part of the picture changes more at its lively than at its quiet times."""
    ordered = np.sort(motion.parts, axis=0)
    event = min(max(round(EVENT / motion.period), 3), len(ordered))
    spread = ordered[-event:].mean(axis=0) - ordered[len(ordered) // 5]
    step = max(round(motion.baseline / motion.period), 1)  # pictures of one baseline on are others
    noise = np.diff(motion.parts[::step], axis=0).std(axis=0) / np.sqrt(2)
    is_moving = (spread > STILL) & ((spread > NOISE) | (spread > OF_NOISE * noise))
    return not bool(is_moving.any())


def _in_common(ir: Motion, vis: Motion, offset: float) -> float:
    return min(ir.span[1] + offset, vis.span[1]) - max(ir.span[0] + offset, vis.span[0])


def _second(found: Likeness, ir: Motion) -> float:
    rate, lag = found.best
    return second_peak(found.sums[rate], lag, round(ir.baseline / found.step))


def _judge(found: Likeness, ir: Motion, vis: Motion) -> None:
    """Raises ClockError for what could as well be another offset, or none."""
    rate, lag = found.best
    seconds = _in_common(ir, vis, float(found.lags[lag]))
    numbers = f"likeness {found.peak:.2f}, by chance {found.chance:.2f}"
    if not _stands_out(found.peak, found.chance, PLAINLY if found.peak < LIKE else ABOVE_CHANCE):
        if _is_periodic(found, ir, vis):
            raise ClockError(f"what moves comes round again and again ({numbers}); record a movement that does not")
        if found.peak >= LIKE:
            raise ClockError(
                f"too little happens to tell ({numbers}) in the {seconds:.0f} s in common; record more motion, "
                "or longer"
            )
        raise ClockError(
            f"the two do not move alike at any offset tried ({numbers}); is it one scene, seen at one time? "
            "record more motion, or give the rough --offset and --within"
        )
    if lag in (0, len(found.lags) - 1) or (rate in (0, len(found.rates) - 1) and len(found.rates) > 1):
        raise ClockError(
            f"the likeness still rises at {found.lags[lag]:+.2f} s and {1e6 * found.rates[rate]:+.0f} ppm, the end of "
            f"what is tried; give the rough --offset and a larger --within (rates are tried up to "
            f"{1e6 * MOST_RATE:.0f} ppm)"
        )
    second = _second(found, ir)
    if not _stands_out(found.peak, second, 1 / DISTINCT):
        raise ClockError(
            f"two offsets fit nearly alike (likeness {found.peak:.2f} and {second:.2f}): what moves comes round again; "
            f"record a movement that does not repeat, longer than the {seconds:.0f} s in common"
        )


def _stands_out(likeness: float, other: float, times: float) -> bool:
    """Whether a likeness is so many times another one, or leaves a small part of what the other leaves unexplained."""
    return likeness >= times * other or 1 - likeness < (1 - other) / PLAINLY


def _is_periodic(found: Likeness, ir: Motion, vis: Motion) -> bool:
    """Whether visible is as like itself some time later as it can be."""
    most = float(found.lags[-1] - found.lags[0]) / 2
    own = compare(found.kind, vis, vis, about=0.0, most=most)
    rate, lag = own.best
    return second_peak(own.sums[rate], lag, round(ir.baseline / own.step)) > DISTINCT * own.peak


def _measured(found: Likeness, ir: Motion, vis: Motion) -> Clock:
    """The place of the peak, finely, and how far it moves when windows are drawn again."""
    rate = rate_sigma = None
    if len(found.rates) > 1:
        _, rate, _, rate_sigma = _drawn(found, ir, _finer(found))
    is_told = rate is not None and rate_sigma is not None and abs(rate) > RATE_SIGMAS * rate_sigma
    used = rate if is_told and rate is not None else 0.0
    middle_offset, _, sigma, _ = _drawn(found, ir, np.array([used]))
    if sigma > ir.period / 2:
        raise ClockError(
            f"about {middle_offset:+.2f} s, but only to {1000 * sigma:.0f} ms, which is more than half an infrared "
            "frame; record more motion: longer, or nearer"
        )
    start = ir.span[0] - ir.baseline / 2
    offset = middle_offset - used * (float(found.middles.mean()) - start)
    return Clock(
        offset, sigma, 1e6 * used, None if rate is None else 1e6 * rate,
        None if rate_sigma is None else 1e6 * rate_sigma, start, middle_offset, found.peak, found.chance,
        _in_common(ir, vis, middle_offset), found.kind,
    )  # fmt: skip


def _drawn(found: Likeness, ir: Motion, rates: Series) -> tuple[float, float, float, float]:
    """Offset in the middle and rate of the peak, and their sigmas over draws of windows. All s, or s per s."""
    away = (found.middles - found.middles.mean()) / found.step
    _, lag = found.best
    reach = max(round(2 * ir.baseline / found.step), 3)
    near = slice(max(lag - reach, 0), lag + reach + 1)
    stack = np.stack([moved(found.curves, rate * away)[:, near] for rate in rates])  # rates, windows, lags
    count = stack.shape[1]
    rng = np.random.default_rng(0)
    draws = np.vstack([np.ones(count), rng.multinomial(count, np.full(count, 1 / count), DRAWS)])
    places = np.array([_place(np.tensordot(draw, stack, (0, 1)), rates, found.lags[near]) for draw in draws])
    (offset, rate), (offset_sigma, rate_sigma) = places[0], places[1:].std(axis=0)
    return float(offset), float(rate), float(offset_sigma), float(rate_sigma)


def _finer(found: Likeness) -> Series:
    """All rates tried, four times as near each other."""
    return np.asarray(np.linspace(found.rates[0], found.rates[-1], 4 * len(found.rates) - 3), np.float64)


def _place(sums: Series, rates: Series, lags: Series) -> tuple[float, float]:
    """Offset and rate of the highest place, between the samples."""
    rate, lag = np.unravel_index(int(sums.argmax()), sums.shape)
    return _between(lags, sums[rate], int(lag)), _between(rates, sums[:, lag], int(rate))


def _between(places: Series, values: Series, at: int) -> float:
    """Where the parabola through a highest value and its neighbours is highest."""
    if not 0 < at < len(values) - 1:
        return float(places[at])
    before, here, after = values[at - 1 : at + 2]
    bend = before - 2 * here + after
    part = 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))
    return float(places[at] + part * (places[1] - places[0]))
