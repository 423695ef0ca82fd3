"""Captured times from time stamps and arrivals, on paper clocks: no test here waits."""

import ast
import math
import pickle
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.live
from pipeline.live.clock import TICK, WRAPS, Envelope, SourceClock

BOOT = 1e5
"""s on the monotonic clock when the simulations begin: a machine up for a day."""
LAG = 0.03
"""s that every frame needs at least; no receiver can see it."""
SOURCES = ("address", "camera", "capture", "clock", "newest", "playback", "reader", "retry", "shots", "sources")


def arrivals(rate, seconds, *, jitter=0.01, drift=0.0, seed=0, stamp=77.0):
    """(true s, time stamp s, arrival s): up to 2 jitter s late, in order; the camera's clock gains drift s per s."""
    chance, before = random.Random(seed), 0.0
    for number in range(round(rate * seconds)):
        true = BOOT + number / rate
        before = max(true + LAG + chance.uniform(0, 2 * jitter), before)
        yield true, stamp + (true - BOOT) * (1 + drift), before


def worst_error(rate, seconds, **how):
    """Largest |captured - true - LAG| after the first second, s."""
    clock, worst = SourceClock(), 0.0
    for true, stamp, arrival in arrivals(rate, seconds, **how):
        captured = clock.captured(stamp, arrival)
        assert captured <= arrival + TICK
        if true > BOOT + 1:
            worst = max(worst, abs(captured - true - LAG))
    return worst


@pytest.mark.parametrize("rate", [9, 25, 30, 60])
@pytest.mark.parametrize("drift", [50e-6, -50e-6, 1 / 2400, -1 / 2400])  # 1 / 2400: a frame in 80 s at 30 a second
def test_drift_is_followed_within_half_a_frame_under_jitter(rate, drift):
    assert worst_error(rate, 400, drift=drift, seed=rate) < 0.5 / rate


def test_drift_is_followed_within_half_a_frame_over_eight_hours_in_flat_memory():
    clock, worst, sizes = SourceClock(), 0.0, []
    for number, (true, stamp, arrival) in enumerate(arrivals(4, 8 * 3600, drift=1 / 2400, seed=1)):
        error = abs(clock.captured(stamp, arrival) - true - LAG)
        worst = max(worst, error if number > 4 else 0.0)
        if number % 4000 == 3999:
            sizes.append(len(pickle.dumps(clock._envelope)))
    assert worst < 0.5 / 60  # whatever the rate of a camera; few frames a second are the harder case
    assert max(sizes) - min(sizes) < 256


def test_a_rate_told_wrong_by_one_per_cent_is_followed_too():
    assert worst_error(30, 300, drift=0.01) < 0.5 / 30


def test_the_first_frames_sent_in_one_go_are_placed_before_their_arrival():
    clock = SourceClock()
    burst = [clock.captured(number / 30, BOOT + 0.001 * number) for number in range(60)]  # two seconds at once
    steady = [clock.captured(2 + number / 30, BOOT + 0.06 + number / 30) for number in range(90)]
    assert all(late > early for early, late in pairwise(burst + steady))
    assert steady[-1] == pytest.approx(BOOT + 0.06 + 89 / 30, abs=0.002)


def test_a_stall_of_the_network_delays_no_captured_time():
    clock = SourceClock()
    for _, stamp, arrival in arrivals(30, 20):
        clock.captured(stamp, arrival)
    due = BOOT + LAG + 20
    late = [clock.captured(77 + 20 + number / 30, due + 3 + 0.001 * number) for number in range(60)]
    assert late == pytest.approx([due + number / 30 for number in range(60)], abs=0.003)


def test_a_delay_that_shrinks_is_believed_at_once_and_one_that_grows_after_half_a_minute():
    clock = SourceClock()
    for lag, first in ((0.3, 0), (0.1, 600), (0.3, 1200)):
        for number in range(first, first + 600):
            arrival = BOOT + number / 4 + lag  # 4 a second: no frame may overtake the one before
            captured = clock.captured(number / 4, arrival)
            if lag == 0.1:
                assert captured == pytest.approx(arrival, abs=1e-6)
            if number == 1200:
                assert captured == pytest.approx(arrival - 0.2, abs=0.01)
            if number >= 1200 + 4 * 33:
                assert captured == pytest.approx(arrival, abs=0.05)


def play(*steps, mode="pts"):
    """Captured times of (time stamp, arrival) one after the other, and the kinds of what was odd."""
    odd = []
    clock = SourceClock(mode, lambda kind, text: odd.append(kind))
    return [clock.captured(stamp, arrival) for stamp, arrival in steps], odd


@pytest.mark.parametrize("jump", [3600.0, -10.0, -3600.0, 1e6, 2.0])
def test_a_jump_of_the_time_stamps_moves_no_captured_time(jump):
    before = [(number / 25, BOOT + number / 25) for number in range(100)]
    after = [(stamp + 4 + jump, arrival + 4) for stamp, arrival in before]
    captured, odd = play(*before, *after)
    assert captured == pytest.approx([BOOT + number / 25 for number in range(200)], abs=1e-5)
    assert odd == ["jump"]


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_counter_that_begins_again_is_followed(wrap):
    steps = [((wrap - 2 + number / 25) % wrap, BOOT + number / 25) for number in range(200)]
    captured, odd = play(*steps)
    assert captured == pytest.approx([BOOT + number / 25 for number in range(200)], abs=1e-5)
    assert odd == ["wrap"]


def test_a_counter_may_begin_again_twice():
    odd, wrap = [], WRAPS[0]
    clock = SourceClock("pts", lambda kind, text: odd.append(kind))
    for number in range(0, round(2.2 * wrap), 50):
        captured = clock.captured((wrap - 2 + number) % wrap, BOOT + number)
        assert captured == pytest.approx(BOOT + number, abs=1e-4)
    assert odd == ["wrap"] * 3


def test_frames_without_a_time_stamp_stand_a_period_after_the_last():
    steps = [(None if number in (0, 50, 51) else number / 25, BOOT + number / 25) for number in range(100)]
    captured, odd = play(*steps)
    assert captured == pytest.approx([BOOT + number / 25 for number in range(100)], abs=1e-3)
    assert odd == ["missing"] * 2  # that the first one has none is RTSP's way


@pytest.mark.parametrize("stamp", [None, math.nan, math.inf, 5.0])
def test_time_stamps_that_stand_still_end_in_arrivals(stamp):
    good = [(number / 25, BOOT + number / 25) for number in range(126)]
    bad = [(stamp, BOOT + 5 + number / 20) for number in range(1, 200)]
    captured, odd = play(*good, *bad)
    assert all(late > early for early, late in pairwise(captured))
    assert max(arrival - when for (_, arrival), when in zip(good + bad, captured, strict=True)) < 0.6
    assert set(odd) == {"duplicate" if stamp == 5.0 else "missing"}


def test_a_frame_out_of_order_is_left_out():
    stamps = [0.0, 0.04, 0.12, 0.08, 0.16]
    captured, odd = play(*((stamp, BOOT + 0.04 * number) for number, stamp in enumerate(stamps)))
    assert captured[3] is None
    assert odd == ["order"]
    assert captured[4] > captured[2]


def test_by_arrival_the_time_stamps_do_not_matter():
    captured, odd = play((5.0, BOOT), (4000.0, BOOT + 1), (None, BOOT + 2), (4000.0, BOOT + 2), mode="arrival")
    assert captured == [BOOT, BOOT + 1, BOOT + 2, BOOT + 2 + TICK]
    assert odd == []


def test_a_new_connection_starts_its_time_stamps_anew_and_goes_on_rising():
    clock = SourceClock(on_odd=lambda kind, text: pytest.fail(text))
    first = [clock.captured(90_000 + number / 25, BOOT + number / 25) for number in range(50)]
    clock.restart()
    second = [clock.captured(number / 25, BOOT + 10 + number / 25) for number in range(50)]
    assert second == pytest.approx([BOOT + 10 + number / 25 for number in range(50)], abs=1e-5)
    assert second[0] > first[-1]


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, 0.0, 2**33 / 90_000]),
            st.floats(0, 5),
        ),
        max_size=60,
    )
)
def test_captured_times_rise_and_never_pass_the_arrival_whatever_comes(steps):
    clock, now, last = SourceClock(), BOOT, -math.inf
    for stamp, gap in steps:
        now += gap
        captured = clock.captured(stamp, now)
        if captured is not None:
            assert captured > last
            assert captured <= now + TICK * len(steps)
            last = captured


def test_the_line_never_lies_above_a_point():
    envelope, chance = Envelope(), random.Random(3)
    for number in range(5000):
        offset = 5 + 1e-4 * number / 30 + chance.expovariate(100)
        assert envelope.add(BOOT + number / 30, offset) <= offset
    assert envelope.slope == pytest.approx(1e-4, abs=2e-5)


def test_nothing_here_looks_at_the_wall_clock():
    """So no source sees it jump; recordings, which are named by it, are no concern of theirs."""
    for path in (Path(pipeline.live.__file__).with_name(f"{name}.py") for name in SOURCES):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("time", "time"), ("datetime", "now"), ("time", "localtime")}
