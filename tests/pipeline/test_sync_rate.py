"""Recorded clocks that run at different rates."""

from fractions import Fraction

import pytest

from calibration.rig import Plane, Rig
from pipeline.frames import InputError, StreamInfo
from pipeline.rigging import Rigging, clock_rate
from pipeline.sync import SyncPolicy, SyncReport, anchored, ir_range, pair_frames
from tests.pipeline.test_sync import frames


def test_a_slow_clock_is_followed_to_the_end():
    """200 ppm over 1000 s are 0.2 s: without the rate the last frames would be paired 5 frames off."""
    vis = [k * 0.04 for k in range(25_000)]
    ir = [time / (1 + 200e-6) for time in vis]
    report = SyncReport()
    pairs = list(pair_frames(iter(frames(ir)), iter(frames(vis)), SyncPolicy(rate=200.0), 0.02, report))
    assert all(pair.ir.index == pair.vis.index for pair in pairs)
    assert report.largest_skew < 1e-6
    assert report.pairs == 25_000


def test_the_rate_counts_from_the_first_infrared_frame():
    info = StreamInfo("ir.ts", 8, 8, Fraction(1, 90_000), start_pts=90_000 * 10_000)
    policy = anchored(SyncPolicy(offset=2.0, rate=100.0), info)
    assert policy.on_vis_clock(10_000.0) == 10_002.0
    assert policy.on_vis_clock(10_010.0) == pytest.approx(10_012.001)


def test_a_part_of_a_long_recording_is_read_with_room_for_the_rate():
    plain, drifting = (ir_range(SyncPolicy(rate=rate), 9_000.0, 9_010.0, 0.0, 0.0) for rate in (0.0, 1000.0))
    assert plain == (8_999.0, 9_011.0)
    assert drifting[0] < 8_991.0  # 9 s of drift by then
    assert drifting[1] > 9_019.0
    with pytest.raises(InputError, match="before ir begins"):
        ir_range(SyncPolicy(offset=50.0), None, 0.5, 0.0, 0.0)


def test_the_rate_of_the_rig_is_taken_with_its_offset():
    plane = Plane(ir_size=(8, 8), vis_size=(8, 8), H=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    rigging = Rigging(Rig(plane=plane, clock_offset=0.5, clock_rate=40.0))
    assert clock_rate(None, rigging) == 40.0
    assert clock_rate(0.2, rigging) == 0.0
    assert clock_rate(None, rigging, "ir/*.png", "vis/*.png") == 0.0  # images have no clock
    assert clock_rate(None, None) == 0.0
