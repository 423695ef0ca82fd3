"""Rates and percentiles."""

import math

import numpy as np
import pytest

from pipeline.stats import Durations, Stats


def test_n_frames_span_n_minus_one_gaps():
    stats = Stats()
    for now in (10.0, 10.5, 11.0):
        stats.frame_done(now)
    assert stats.fps == pytest.approx(2.0)


@pytest.mark.parametrize("count", [0, 1])
def test_below_two_frames_there_is_no_rate(count):
    stats = Stats()
    for k in range(count):
        stats.frame_done(float(k))
    assert math.isnan(stats.fps)
    assert stats.to_json()["fps"] is None


def test_after_a_restart_the_last_frame_starts_the_first_gap():
    stats = Stats()
    for now in (0.0, 9.0, 10.0):
        stats.frame_done(now)
    stats.restart()
    stats.frame_done(10.25)
    stats.frame_done(10.5)
    assert stats.fps == pytest.approx(4.0)


def test_percentiles_agree_with_numpy_within_one_percent():
    values = np.random.default_rng(0).lognormal(1, 2, 5000)
    durations = Durations()
    for value in values:
        durations.add(float(value))
    for share in (0.01, 0.5, 0.95, 0.99, 1.0):
        wanted = np.percentile(values, 100 * share, method="inverted_cdf")
        assert durations.percentile_ms(share) == pytest.approx(wanted, rel=0.0101)


def test_memory_does_not_grow_with_the_number_of_frames():
    durations = Durations()
    for value in np.random.default_rng(0).uniform(1, 100, 100_000):
        durations.add(float(value))
    assert len(durations._buckets) < 250  # ln(100) / ln(1.02) = 233


def test_a_stage_is_charged_for_its_own_time():
    stats, ticks = Stats(), iter([0.0, 0.25, 1.0, 1.5])
    stats.clock = lambda: next(ticks)
    for _ in range(2):
        with stats.timed("fuse"):
            pass
    summary = stats.to_json()["stages_ms"]["fuse"]
    assert summary["count"] == 2
    assert summary["mean"] == pytest.approx(375)
    assert summary["p50"] == pytest.approx(250, rel=0.01)
