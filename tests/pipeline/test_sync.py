"""Pairing by time: every frame is paired, held, dropped or left over, and counted with its reason."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.frames import Frame, InputError, StreamInfo
from pipeline.sync import (
    AFTER,
    BEFORE,
    WITHIN,
    SyncPolicy,
    SyncReport,
    default_tolerance,
    match_names,
    pair_frames,
)


def frames(times):
    return [Frame(None, None, round(t * 1e6), t, k) for k, t in enumerate(times)]


def pair(ir, vis, tolerance=0.02, **policy):
    """((ir index, vis index) of each pair, report)."""
    report = SyncReport()
    pairs = pair_frames(iter(frames(ir)), iter(frames(vis)), SyncPolicy(**policy), tolerance, report)
    return [(p.ir.index, p.vis.index) for p in pairs], report


def test_equal_clocks_pair_one_to_one():
    times = [k / 25 for k in range(10)]
    pairs, report = pair(times, times)
    assert pairs == [(k, k) for k in range(10)]
    assert (report.pairs, report.unused, report.dropped.total(), report.largest_skew) == (10, 0, 0, 0)


def test_offset_is_added_to_ir_times():
    times = [k / 10 for k in range(10)]
    pairs, report = pair(times, times, offset=0.2)
    assert pairs == [(k - 2, k) for k in range(2, 10)]
    assert report.dropped == {BEFORE: 2}
    assert report.unused == 2


def test_a_vis_frame_between_two_ir_frames_takes_the_nearer():
    assert pair([0, 0.1], [0.04, 0.06], 0.05)[0] == [(0, 0), (1, 1)]


def test_of_two_equally_near_the_earlier_is_taken():
    assert pair([0, 0.5], [0.25], 0.25)[0] == [(0, 0)]


def test_a_slow_ir_camera_serves_several_vis_frames():
    ir, vis = [k / 9 for k in range(9)], [k / 25 for k in range(25)]
    pairs, report = pair(ir, vis, default_tolerance(info(9), info(25)))
    assert [b for _, b in pairs] == list(range(24))  # the last is 0.071 s after the last IR frame, half a period 0.056
    assert all(abs(ir[a] - vis[b]) <= 1 / 18 + 1e-6 for a, b in pairs)
    assert report.dropped == {AFTER: 1}


def test_a_fast_ir_camera_leaves_frames_over():
    ir, vis = [k / 60 for k in range(60)], [k / 30 for k in range(30)]
    pairs, report = pair(ir, vis)
    assert pairs == [(2 * k, k) for k in range(30)]
    assert report.unused == 30


def test_a_gap_drops_with_its_reason():
    times = [k / 10 for k in range(10)]
    pairs, report = pair(times[:3] + times[6:], times)
    assert [b for _, b in pairs] == [0, 1, 2, 6, 7, 8, 9]
    assert report.dropped == {WITHIN: 3}


def test_hold_repeats_the_last_ir_frame_and_counts_it():
    times = [k / 10 for k in range(10)]
    pairs, report = pair(times[1:3] + times[6:8], times, gap="hold")
    assert pairs == [(0, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 6), (3, 7), (3, 8), (3, 9)]
    assert report.held == {WITHIN: 3, AFTER: 2}
    assert report.dropped == {BEFORE: 1}  # there is nothing to hold yet


def test_streams_that_never_meet_say_by_how_much():
    with pytest.raises(InputError, match=r"ir covers 0\.000 to 0\.900 s, vis 12\.000 to 12\.900 s: .* by 11\.100 s"):
        pair([k / 10 for k in range(10)], [12 + k / 10 for k in range(10)])


def test_the_suggested_offset_works():
    ir, vis = [k / 10 for k in range(10)], [12 + k / 10 for k in range(10)]
    with pytest.raises(InputError) as caught:
        pair(ir, vis)
    assert pair(ir, vis, offset=float(str(caught.value).rsplit(" ", 1)[1]))[1].pairs == 10


def test_a_tolerance_that_nothing_meets_says_what_was_nearest():
    with pytest.raises(InputError, match=r"nearest are 0\.030 s apart; raise --tolerance"):
        pair([0, 1], [0.03, 1.04], 0.01)


@pytest.mark.parametrize(("ir", "vis", "which"), [([], [0], "ir"), ([0], [], "vis")])
def test_an_empty_stream_is_named(ir, vis, which):
    with pytest.raises(InputError, match=f"no frame in the {which} stream"):
        pair(ir, vis)


def info(rate):
    return StreamInfo("x", 2, 2, Fraction(1, 1000), rate=None if rate is None else Fraction(rate))


@pytest.mark.parametrize(
    ("ir", "vis", "expected"), [(9, 25, 1 / 18), (60, 30, 1 / 60), (None, 25, 0.02), (None, None, 0.05)]
)
def test_default_tolerance_is_half_a_period_of_the_slower(ir, vis, expected):
    assert default_tolerance(info(ir), info(vis)) == pytest.approx(expected)


TIMES = st.lists(st.integers(0, 400), min_size=1, max_size=40, unique=True).map(
    lambda ticks: sorted(t / 100 for t in ticks)
)


@given(TIMES, TIMES, st.integers(0, 30).map(lambda t: t / 100), st.sampled_from(["drop", "hold"]))
def test_pairing_is_optimal_and_the_account_is_whole(ir, vis, tolerance, gap):
    """Against the brute force: each VIS frame, the nearest of all IR frames."""
    try:
        pairs, report = pair(ir, vis, tolerance, gap=gap)
    except InputError:
        pairs, report = [], None
    nearest = [min(ir, key=lambda t, v=v: (round(abs(t - v), 9), t)) for v in vis]
    within = {b for b, v in enumerate(vis) if abs(nearest[b] - v) <= tolerance + 1e-9}
    if report is None:
        assert not within
        return
    assert {(ir[a], b) for a, b in pairs if b in within} == {(nearest[b], b) for b in within}
    assert report.pairs + report.dropped.total() == len(vis)
    assert report.unused == len(ir) - len({a for a, _ in pairs})
    assert report.held.total() == len([b for _, b in pairs if b not in within])


def test_names_match_with_and_without_suffix():
    pairs, lines = match_names(["a.png", "b.png", "x.png"], ["a.png", "b.jpg", "y.png"])
    assert pairs == [("a.png", "a.png"), ("b.png", "b.jpg")]
    assert lines == ["x.png: no partner in vis", "y.png: no partner in ir"]


def test_foreign_names_of_equal_count_go_in_order_and_say_so():
    pairs, lines = match_names(["ir1", "ir2"], ["v1", "v2"])
    assert pairs == [("ir1", "v1"), ("ir2", "v2")]
    assert "taken in order" in lines[0]


def test_foreign_names_of_unequal_count_are_refused():
    with pytest.raises(InputError, match="no file name in common"):
        match_names(["ir1", "ir2"], ["v1"])
