"""Pairing as frames come in: rates that differ, jitter, loss, delay, a slow line, a camera gone; time on paper."""

import math
from bisect import bisect
from itertools import pairwise
from operator import itemgetter

import pytest

from pipeline.live.pairing import AGE_LIMIT, MOST_WAITING, Pairer, Pairing
from pipeline.live.rhythm import SLACK
from tests.pipeline.live.clockwork import camera, live_frame, play

RATES = [(9, 25), (25, 30), (30, 60), (30, 25), (60, 25)]


def nearest(time, partners):
    place = bisect(partners, time, key=itemgetter(1))
    return min(abs(captured - time) for _, captured in partners[max(0, place - 1) : place + 1])


def balance(pairer, side, offered):
    """Frames of the pace side neither handed out, nor dropped, nor waiting: none."""
    dropped = sum(number for reason, number in pairer.tally.drops.items() if reason.startswith(side))
    return offered - pairer.tally.matches.total() - dropped - pairer.waiting(side)


@pytest.mark.parametrize(("ir_rate", "vis_rate"), RATES)
def test_every_master_frame_is_paired_with_the_nearest_partner(ir_rate, vis_rate):
    ir, vis = camera(ir_rate, 20.5, start=0.003), camera(vis_rate, 20)
    pairer = Pairer(Pairing(tolerance=0.5 / ir_rate + 0.003))
    matches = [match for _, match in play(pairer, ir, vis)]
    assert len(matches) >= len(vis) - 2  # the last may still wait for a partner that would be nearer
    assert {match.kind for match in matches} == {"paired"}
    for match in matches:
        assert abs(match.skew) == pytest.approx(nearest(match.vis.captured, ir), abs=1e-9)


@pytest.mark.parametrize(("ir_rate", "vis_rate"), RATES)
@pytest.mark.parametrize("seed", [1, 2])
def test_jitter_and_loss_cost_no_pair_that_the_tolerance_allows(ir_rate, vis_rate, seed):
    ir = camera(ir_rate, 60, jitter=0.01, loss=0.05, lag=0.02, seed=seed)
    vis = camera(vis_rate, 60, jitter=0.01, loss=0.05, lag=0.01, seed=seed + 100)
    pairer = Pairer(Pairing(tolerance=0.06))
    matches = [match for _, match in play(pairer, ir, vis)]
    settled = [captured for _, captured in vis][: len(matches) + sum(pairer.tally.drops[f"vis {why}"] for why in
               ("no partner", "too old", "superseded"))]  # fmt: skip
    expected = [time for time in settled if nearest(time, ir) <= 0.06]
    paired = [match for match in matches if match.kind == "paired"]
    assert [match.vis.captured for match in paired] == expected
    assert all(abs(match.skew) <= 0.06 + 1e-6 for match in paired)
    best = sum(abs(match.skew) <= nearest(match.vis.captured, ir) + 1e-9 for match in paired)
    assert best >= 0.98 * len(paired)  # the rhythm is a forecast: one in a hundred may be surprised
    assert balance(pairer, "vis", len(vis)) == 0


def test_decisions_are_the_same_for_the_same_frames():
    runs = []
    for _ in range(2):
        ir, vis = camera(9, 20, jitter=0.01, loss=0.05, seed=5), camera(25, 20, jitter=0.01, loss=0.05, seed=6)
        pairer = Pairer(Pairing())
        runs.append(([(now, m.kind, m.time, m.skew) for now, m in play(pairer, ir, vis)], dict(pairer.tally.drops)))
    assert runs[0] == runs[1]
    assert len(runs[0][0]) > 400


def test_a_frame_is_decided_as_soon_as_no_later_one_can_be_nearer():
    ir, vis = camera(9, 10), camera(25, 10)
    matches = play(Pairer(Pairing(tolerance=0.056)), ir, vis)
    for now, match in matches[50:]:
        if 0 <= -match.skew < 0.5 / 9 - SLACK:  # the next IR frame is sure to be farther off: not waited for
            assert now == match.vis.arrived
        elif match.skew > 0:
            assert now == match.ir.arrived
        else:  # so close to the middle that the next IR frame might have been nearer: waited for to that moment
            assert match.vis.arrived <= now <= match.vis.arrived - match.skew + SLACK + 1e-9


def test_equal_rates_wait_for_nothing():
    matches = play(Pairer(Pairing()), camera(25, 4), camera(25, 4, start=0.001))
    assert [now - match.vis.arrived for now, match in matches[10:]] == [0.0] * (len(matches) - 10)


def test_the_offset_pairs_a_camera_whose_delay_its_times_do_not_show():
    ir, vis = camera(25, 20, lag=0.3, start=0.0), camera(25, 20)
    late = [(arrival, arrival) for arrival, _ in ir]  # what the clock can know: when it came
    matches = play(Pairer(Pairing(offset=-0.3, tolerance=0.005)), late, vis)
    assert len(matches) >= len(vis) - 10
    for _, match in matches:
        assert match.ir.captured - 0.3 == pytest.approx(match.vis.captured)
        assert match.skew == pytest.approx(0, abs=1e-6)


def test_master_ir_gives_a_match_for_every_ir_frame():
    ir, vis = camera(9, 20), camera(25, 20)
    matches = [match for _, match in play(Pairer(Pairing(master="ir", tolerance=0.03)), ir, vis)]
    assert len(matches) >= len(ir) - 1
    assert {match.pace for match in matches} == {"ir"}
    assert len({match.ir.captured for match in matches}) == len(matches)


def test_a_short_gap_is_bridged_by_the_last_partner_and_counted():
    ir = [frame for frame in camera(25, 4) if not 1.99 < frame[1] < 2.35]
    pairer = Pairer(Pairing(tolerance=0.02))
    matches = [match for _, match in play(pairer, ir, camera(25, 4))]
    held = [match for match in matches if match.kind == "held"]
    assert [round(match.vis.captured, 2) for match in held] == [2.0, 2.04, 2.08, 2.12, 2.16, 2.2, 2.24, 2.28, 2.32]
    assert {match.ir.captured for match in held} == {1.96}
    assert pairer.tally.matches["held"] == 9


def test_a_held_frame_is_never_older_than_the_limit():
    ir = [frame for frame in camera(25, 8) if not 2 < frame[1] < 5]
    pairer = Pairer(Pairing(tolerance=0.02))
    matches = [match for _, match in play(pairer, ir, camera(25, 8))]
    assert max(-match.skew for match in matches) <= AGE_LIMIT
    assert pairer.tally.drops["vis too old"] == pytest.approx(75 - AGE_LIMIT * 25, abs=1)
    assert balance(pairer, "vis", 200) == 0


def test_frames_before_the_first_partner_have_none():
    pairer = Pairer(Pairing())
    play(pairer, camera(25, 2, start=2.0), camera(25, 4))
    assert pairer.tally.drops["vis no partner"] == pytest.approx(50, abs=2)


@pytest.mark.parametrize("rate", [25, 30])
def test_a_line_twice_too_slow_drops_every_second_frame_and_stays_in_time(rate):
    ir, vis = camera(rate, 40), camera(rate, 40)
    pairer = Pairer(Pairing())
    matches = play(pairer, ir, vis, busy=2 / rate)
    latencies = [(now - match.vis.captured + 2 / rate) * rate for now, match in matches]
    assert max(latencies) <= 3 + 1e-6
    assert len(matches) == pytest.approx(len(vis) / 2, abs=2)
    assert pairer.tally.drops["vis superseded"] == len(vis) - len(matches) - pairer.waiting("vis")


def test_partners_that_decide_several_frames_at_once_are_no_backlog():
    pairer = Pairer(Pairing(tolerance=0.06))
    matches = play(pairer, camera(9, 20), camera(60, 20), busy=0.012)
    assert pairer.tally.drops["vis superseded"] == 0
    assert len(matches) >= 20 * 60 - 5


def test_times_of_a_camera_that_go_back_are_dropped():
    pairer = Pairer(Pairing())
    for k, captured in enumerate([1.0, 1.04, 1.02, 1.04, 1.08]):
        pairer.offer("vis", live_frame(captured), 1.0 + 0.04 * k)
    assert pairer.tally.drops["vis not monotonic"] == 2


def test_a_time_in_the_future_does_not_outlaw_the_frames_after_it():
    pairer = Pairer(Pairing())
    pairer.offer("vis", live_frame(3600.0), 1.0)
    pairer.offer("vis", live_frame(1.04), 1.04)
    assert pairer.tally.drops["vis not monotonic"] == 0


def test_nobody_waits_for_a_lost_camera():
    pairer = Pairer(Pairing())
    pairer.lost = frozenset({"ir"})
    vis = camera(25, 4)
    matches = play(pairer, [], vis)
    assert [now for now, _ in matches] == [arrival for arrival, _ in vis]
    assert {(match.kind, match.ir) for _, match in matches} == {("alone", None)}


def test_the_other_camera_paces_while_the_master_is_lost_and_times_go_on():
    ir, vis = camera(9, 12), [frame for frame in camera(25, 12) if not 4 < frame[1] < 8]
    pairer = Pairer(Pairing())
    seen = {"vis": 0.0}
    arrivals = [arrival for arrival, _ in vis]

    def watch(now):
        seen["vis"] = max((arrival for arrival in arrivals if arrival <= now), default=0.0)
        pairer.lost = frozenset({"vis"}) if now - seen["vis"] > 0.5 else frozenset()

    matches = [match for _, match in play(pairer, ir, vis, on_time=watch)]
    assert all(one.time < next_.time for one, next_ in pairwise(matches))
    paced = [match for match in matches if match.pace == "ir"]
    assert len(paced) == pytest.approx(3.5 * 9, abs=2)
    assert all(match.vis.captured == pytest.approx(4.0) for match in paced)  # the last VIS frame, to hold
    assert matches[-1].pace == "vis"
    assert {match.kind for match in matches if 8.5 < match.time < 11.5} == {"paired"}
    assert balance(pairer, "vis", len(vis)) - balance_of_partners(matches, "vis") == 0


def test_frames_that_a_stalled_master_sends_late_come_too_late():
    vis = [(captured if not 4 < captured < 6 else 5.98 + captured / 1000, captured) for _, captured in camera(25, 9)]
    pairer = Pairer(Pairing())

    def watch(now):
        seen = max((arrival for arrival, _ in vis if arrival <= now), default=0.0)
        pairer.lost = frozenset({"vis"}) if now - seen > 0.5 else frozenset()

    matches = [match for _, match in play(pairer, camera(9, 9), vis, on_time=watch)]
    assert all(one.time < next_.time for one, next_ in pairwise(matches))
    assert {match.pace for match in matches if 4.6 < match.time < 5.9} == {"ir"}
    assert pairer.tally.drops["vis not monotonic"] == pytest.approx(49, abs=3)
    assert matches[-1].pace == "vis"


def balance_of_partners(matches, side):
    """How many matches another camera paced: they are no frames of this one."""
    return -sum(match.pace != side for match in matches)


@pytest.mark.parametrize(("drift", "hours"), [(50e-6, 8), (1 / 25 / 80, 0.5)])
def test_drift_of_the_clocks_is_followed_by_pairing_the_nearest(drift, hours):
    """The IR camera's own rate drifts; captured times are on one clock, so pairs stay within half an IR period."""
    pairer, worst, matches = Pairer(Pairing()), 0.0, 0
    rate, seconds = 9, hours * 3600 / 50  # the drift is taken fifty times as fast instead
    ir = ((k / (rate * (1 + 50 * drift)), "ir") for k in range(int(seconds * rate * (1 + 50 * drift))))
    vis = ((k / 25, "vis") for k in range(int(seconds * 25)))
    one, two = next(ir, None), next(vis, None)
    while one and two:
        now, side = min(one, two)
        one, two = (next(ir, None), two) if side == "ir" else (one, next(vis, None))
        pairer.offer(side, live_frame(now), now)
        while (match := pairer.poll(now)) is not None:
            matches += 1
            worst = max(worst, abs(match.skew)) if match.kind == "paired" else math.inf
        assert pairer.waiting("ir") + pairer.waiting("vis") < 10
    assert worst <= 0.5 / rate + 1e-3
    assert matches >= seconds * 25 - 10


def test_memory_is_bounded_when_nobody_asks():
    pairer = Pairer(Pairing())
    for k in range(5000):
        for side in ("vis", "ir"):
            pairer.offer(side, live_frame(k / 60), k / 60)
    assert pairer.waiting("vis") + pairer.waiting("ir") <= 4
    for k in range(5000, 10000):
        pairer.offer("ir", live_frame(k / 60), k / 60)
    assert pairer.waiting("ir") <= min(MOST_WAITING, 0.6 * 60)
