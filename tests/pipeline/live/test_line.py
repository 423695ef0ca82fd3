"""The line under a clock on paper: what comes out, when, of what, and that every frame is accounted for."""

import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from calibration.rig import Plane, Rig, RigError
from pipeline.align import Geometry
from pipeline.frames import Colour
from pipeline.live.loss import CameraLostError
from pipeline.live.status import Controls
from pipeline.rigging import Rigging
from tests.pipeline.live.clockwork import Stage, camera, live_frame

FUSED, IR, VIS = 120, 60, 180
"""Luma of the stage's pictures."""


def levels(stage):
    """The level of each output picture: they are even."""
    return [int(made.frame.luma[0, 0]) for _, made in stage.made]


def without(frames, start, end):
    return [frame for frame in frames if not start <= frame[1] < end]


def test_pictures_are_the_fused_pairs_in_order():
    stage = Stage(camera(25, 4), camera(25, 4))
    stage.play(4.2)
    assert set(levels(stage)) == {FUSED}
    assert len(stage.made) == 100
    assert stage.times == [round(k * 40_000) for k in range(100)]
    assert [made.frame.index for _, made in stage.made] == list(range(100))


@pytest.mark.parametrize("rate", [25, 30])
def test_a_fuser_twice_too_slow_costs_frames_and_no_latency(rate):
    vis = camera(rate, 40)
    stage = Stage(camera(rate, 40), vis, busy=2 / rate)
    stage.play(40.5)
    latencies = [now - made.match.vis.captured for now, made in stage.made]
    assert max(latencies) <= 3 / rate + 1e-6
    assert len(stage.made) == pytest.approx(len(vis) / 2, abs=2)
    assert stage.line.status().drops["vis superseded"] == len(vis) - len(stage.made)
    assert stage.line.status().latency_ms["p95"] <= 3000 / rate + 1e-3


def test_a_line_stuck_for_a_minute_holds_few_frames_and_shows_the_newest_next():
    stage = Stage(camera(25, 80), camera(25, 80))
    stage.play(5)
    stage.busy = 60.0
    stage.play(5.1)
    stage.busy = 0.0
    stage.play(70)
    assert stage.pairer.waiting("vis") + stage.pairer.waiting("ir") <= 4
    at, made = next((now, made) for now, made in stage.made if made.match.time > 6)
    assert at - made.match.time <= 0.08 + 1e-6


@pytest.mark.parametrize(
    ("policy", "shown_early", "shown_late"),
    [("hold", FUSED, VIS), ("passthrough", VIS, VIS), ("blank", 0, 0)],
)
def test_when_ir_dies_the_output_goes_on_by_policy_and_heals(policy, shown_early, shown_late):
    vis = camera(25, 40)
    stage = Stage(without(camera(9, 40), 5, 30), vis, on_loss=policy)
    stage.play(39)
    by_time = {round(made.match.time, 2): made for _, made in stage.made}
    level = {time: int(made.frame.luma[0, 0]) for time, made in by_time.items()}
    assert level[6.0] == shown_early
    assert level[20.0] == shown_late
    assert level[35.0] == FUSED
    assert all(one < two for one, two in pairwise(stage.times))
    assert set(by_time) >= {round(captured, 2) for _, captured in vis if captured < 38.5}  # at the master's pace
    assert stage.line.status().state == "fusing"
    assert [line.split(";")[0] for line in stage.said if line.startswith("ir")] == [
        "ir lost: no frame for 0.5 s", "ir is back after 25.1 s"]  # fmt: skip


@pytest.mark.parametrize(("policy", "shown_late"), [("hold", IR), ("passthrough", IR), ("blank", 0)])
def test_when_the_master_dies_the_other_camera_paces(policy, shown_late):
    ir = camera(9, 40)
    stage = Stage(ir, without(camera(25, 40), 5, 30), on_loss=policy)
    stage.play(29)
    assert stage.line.status().state == "vis lost"
    stage.play(39)
    paced = [made for _, made in stage.made if made.match.pace == "ir"]
    assert len(paced) == pytest.approx(24.5 * 9, abs=2)
    assert int(paced[150].frame.luma[0, 0]) == shown_late
    assert stage.made[-1][1].match.pace == "vis"
    assert levels(stage)[-1] == FUSED
    assert all(one < two for one, two in pairwise(stage.times))


def test_stop_ends_the_run_and_says_which_camera():
    stage = Stage(without(camera(9, 40), 5, 40), camera(25, 40), on_loss="stop")
    with pytest.raises(CameraLostError, match=r"ir lost: no frame for 0\.5 s; check the camera, or choose another"):
        stage.play(10)
    assert stage.now == pytest.approx(4.89 + 0.5, abs=0.12)


def test_both_dead_gives_nothing_and_says_so_until_one_is_back():
    stage = Stage(without(camera(25, 40), 5, 30), without(camera(25, 40), 5, 30))
    stage.play(20)
    assert stage.line.status().state == "both lost"
    assert stage.said[1].endswith("nothing to show until one of the two is back")
    assert not [made for _, made in stage.made if made.match.time > 5]
    stage.play(39)
    assert stage.line.status().state == "fusing"


def test_a_camera_that_never_comes_is_done_without_after_its_grace():
    stage = Stage([], camera(25, 10))
    stage.play(10)
    first = stage.made[0][0]
    assert 5.0 <= first <= 5.6
    assert set(levels(stage)) == {VIS}
    assert stage.said[0].startswith("no pair for 2.0 s: ir has sent no frame yet (running)")
    assert stage.said[1] == "ir: no frame at all yet; vis is shown alone"


def test_silence_is_explained_after_two_seconds_and_once_a_minute():
    stage = Stage(without(camera(9, 200), 5, 190), camera(25, 200))
    stage.play(189)
    lines = [line for line in stage.said if line.startswith("no pair")]
    assert lines[0].startswith("no pair for 2.0 s: ir sent its last frame 2.")
    assert len(lines) == 4  # at 2, 62, 122 and 182 s


def test_the_status_names_a_lost_camera_as_soon_as_it_is_lost():
    stage = Stage(without(camera(9, 9), 3, 9), camera(25, 9))
    stage.play(2.9)
    assert stage.line.status().message == ""
    stage.play(3.7)  # before the two seconds after which it is said aloud
    assert stage.line.status().state == "ir lost"
    assert stage.line.status().message.startswith("no pair for 0.")
    assert "ir sent its last frame 0." in stage.line.status().message
    assert not [line for line in stage.said if line.startswith("no pair")]


def test_a_network_at_work_for_seconds_on_one_picture_is_told_in_the_status_meanwhile():
    stage = Stage(camera(25, 9), camera(25, 9))
    messages = []
    stage.fuser.fuse_next = lambda ir, vis, state: (
        stage.pass_time(1.9), messages.append(stage.line.status().message),
        stage.pass_time(3.1), messages.append(stage.line.status().message), (ir, None))[-1]  # fmt: skip
    stage.play(4)
    assert messages[0] == ""
    assert messages[1].startswith("at work on one picture for 5.0 s: too slow to be live; choose a smaller --work")


def test_a_tolerance_too_small_is_named_with_what_would_do():
    stage = Stage(camera(25, 8, start=0.013), camera(25, 8), tolerance=0.002)
    stage.play(8)
    assert "the nearest frames are 0.013 s apart, the tolerance is 0.002 s; raise --tolerance" in stage.said[0]
    assert stage.line.status().state == "waiting"
    assert stage.line.status().pairs == 0
    assert set(levels(stage)) == {FUSED}  # held frames: the output goes on


def test_views_change_from_one_picture_to_the_next_and_spare_the_network():
    stage = Stage(camera(25, 6), camera(25, 6))
    stage.play(2)
    calls = stage.fuser.calls
    stage.panel.change(view="ir")
    stage.play(4)
    assert stage.fuser.calls == calls
    assert levels(stage)[-1] == IR
    stage.panel.change(view="vis")
    stage.play(5)
    assert levels(stage)[-1] == VIS


def test_nudge_moves_ir_of_the_next_picture():
    stage = Stage([], [])
    row = np.tile(np.arange(0, 80, 10, dtype=np.uint8), (6, 1))
    for k in range(4):
        for side in ("ir", "vis"):
            stage.add(side, [(k / 25, k / 25)])
    for event in stage._events:
        if event[2] == "ir":
            object.__setattr__(event[3].frame, "luma", row)
    stage.panel.change(view="ir", nudge=(2, 0))
    stage.play(0.2)
    assert stage.made[0][1].frame.luma[0].tolist() == [0, 0, 0, 10, 20, 30, 40, 50]


def test_a_divider_gives_both_sides_for_the_page_and_stays_out_of_the_picture():
    stage = Stage(camera(25, 2), camera(25, 2), controls=Controls(divider=0.5))
    stage.play(2)
    made = stage.made[-1][1]
    assert set(np.unique(made.frame.luma)) == {FUSED}
    assert [set(np.unique(side.luma)) for side in made.sides] == [{IR}, {VIS}]


def test_the_output_keeps_its_size_when_a_camera_changes_its_own():
    stage = Stage(camera(25, 2), camera(25, 2))
    stage.add("vis", camera(25, 2, start=2.0), size=(12, 16), chroma=True)
    stage.add("ir", camera(25, 2, start=2.0), size=(3, 5))
    stage.play(4)
    assert {made.frame.luma.shape for _, made in stage.made} == {(6, 8)}
    assert stage.made[-1][1].frame.chroma[0].shape == (3, 4)
    assert set(levels(stage)) == {FUSED}


def rigged(H=((1, 0, 2), (0, 1, 1), (0, 0, 1))):
    """IR sees the VIS picture of 8 x 6 from (2, 1) on."""
    return Geometry(rigging=Rigging(Rig(plane=Plane(ir_size=(8, 6), vis_size=(8, 6), H=H))))


def test_with_a_rig_infrared_is_fused_where_it_looks_and_visible_is_shown_elsewhere():
    stage = Stage(camera(25, 2), camera(25, 2), geometry=rigged())
    stage.play(2)
    luma = stage.made[-1][1].frame.luma
    assert (luma[0] == VIS).all()
    assert (luma[:, 0] == VIS).all()
    assert luma[5, 7] == FUSED


def test_a_rig_follows_a_camera_that_changes_its_size():
    stage = Stage(camera(25, 2), camera(25, 2), geometry=rigged())
    stage.add("ir", camera(25, 2, start=2.0), size=(12, 16))
    stage.add("vis", camera(25, 2, start=2.0), size=(3, 4))
    stage.play(4)
    luma = stage.made[-1][1].frame.luma
    assert luma.shape == (6, 8)
    assert (luma[0, 0], luma[5, 7]) == (VIS, FUSED)


def test_a_camera_that_turns_to_another_aspect_ratio_is_left_out_and_comes_back(caplog):
    stage = Stage(camera(25, 2), camera(25, 6), geometry=rigged())
    stage.add("ir", camera(25, 2, start=2.0), size=(6, 6))
    stage.add("ir", camera(25, 2, start=4.0))
    stage.play(6)
    last = {second: made.frame.luma[5, 7] for _, made in stage.made for second in [int(made.match.time)]}
    assert [last[second] for second in (1, 3, 5)] == [FUSED, VIS, FUSED]
    assert [record.message for record in caplog.records if "aspect" in record.message] == [
        "rig: ir was calibrated at 8x6, the stream has 6x6: another aspect ratio; calibrate at the stream's size, or "
        "crop the stream as it was calibrated; showing vis alone"]  # fmt: skip


def test_a_rig_that_never_fits_ends_the_run():
    stage = Stage(geometry=rigged())
    stage.add("ir", camera(25, 1), size=(6, 6))
    stage.add("vis", camera(25, 1))
    with pytest.raises(RigError, match="another aspect ratio"):
        stage.play(1)


def test_infrared_alone_is_shown_where_it_lies():
    stage = Stage(camera(25, 20), camera(25, 2), geometry=rigged(), on_loss="passthrough")
    stage.play(12)
    luma = stage.made[-1][1].frame.luma
    assert (luma[0] == 0).all()
    assert luma[5, 7] == IR


def test_the_reference_sets_the_size_and_a_size_overrules_it():
    stage = Stage([], [], geometry=Geometry(reference="ir"))
    stage.add("ir", camera(25, 1), size=(10, 14))
    stage.add("vis", camera(25, 1))
    stage.play(1)
    assert stage.made[0][1].frame.luma.shape == (10, 14)
    stage = Stage(camera(25, 1), camera(25, 1), geometry=Geometry(size=(4, 2)))
    stage.play(1)
    assert stage.made[0][1].frame.luma.shape == (2, 4)


def test_the_output_means_its_colours_as_vis_does():
    stage = Stage(camera(25, 1), camera(25, 1))
    colour = Colour(full_range=True, matrix=1)
    stage._events = [(at, n, side, replace(frame, colour=colour if side == "vis" else Colour()))
                     for at, n, side, frame in stage._events]  # fmt: skip
    stage.play(1)
    assert stage.composer.info.colour == colour


def test_thermal_counts_pass_the_gain_once_for_each_frame_however_often_it_is_shown():
    stage = Stage([], camera(25, 4))
    stage.add("ir", camera(5, 4), dtype=np.uint16)
    for event in stage._events:
        if event[2] == "ir":
            event[3].frame.luma[:3] = 8000 - 300 * event[3].frame.index  # the gain follows slowly, frame by frame
    stage.panel.change(view="ir")
    stage.play(4)
    shown = {}
    for _, made in stage.made:
        shown.setdefault(made.match.ir.frame.index, []).append(int(made.frame.luma[0, 0]))
    assert len(shown) >= 19
    assert max(map(len, shown.values())) >= 5
    assert all(len(set(levels)) == 1 for levels in shown.values())


def test_times_that_round_to_one_microsecond_are_told_apart():
    stage = Stage([], [(1.0, 1.0), (1.0000002, 1.0000002), (1.1, 1.1)])
    stage.line._watch.lost = stage.pairer.lost = frozenset({"ir"})
    stage.line._watch.last["ir"] = 0.0
    stage.play(1.2)
    assert stage.times == [1_000_000, 1_000_001, 1_100_000]


def test_every_frame_of_the_master_is_accounted_for():
    vis = camera(25, 60, jitter=0.01, loss=0.05, seed=3)
    stage = Stage(camera(9, 60, jitter=0.01, loss=0.3, seed=4), vis, busy=0.05)
    stage.play(62)
    status = stage.line.status()
    dropped = sum(number for reason, number in status.drops.items() if reason.startswith("vis"))
    assert len(stage.made) + dropped + stage.pairer.waiting("vis") == len(vis)
    assert stage.pairer.tally.matches.total() == len(stage.made)
    assert status.drops["vis superseded"] > 100


def test_wall_clock_jumps_change_nothing(monkeypatch):
    import time

    monkeypatch.setattr(time, "time", lambda: 1e9 if len(stage.made) % 2 else 2e9)
    stage = Stage(camera(25, 4), camera(25, 4))
    stage.play(4.2)
    assert stage.times == [round(k * 40_000) for k in range(100)]


def test_an_error_of_the_network_ends_the_line():
    stage = Stage(camera(25, 4), camera(25, 4))
    stage.fuser.fails_at = 10
    with pytest.raises(RuntimeError, match="device lost"):
        stage.play(4)
    assert len(stage.made) == 10


def test_the_status_is_plain_json():
    import json

    stage = Stage(camera(25, 4), camera(25, 4, start=0.004))
    stage.play(4)
    told = json.loads(json.dumps(stage.line.status().to_json(), allow_nan=False))
    assert told["state"] == "fusing"
    assert told["fps"] == pytest.approx(25, abs=0.3)
    assert told["skew_ms"]["p95"] == pytest.approx(4, abs=0.01)
    assert told["pairs"] == len(stage.made)


def test_a_slow_network_is_not_taken_for_missing_pairs():
    stage = Stage(camera(25, 30), camera(25, 30), busy=3.0)
    stage.play(30)
    assert stage.said == []


def test_a_network_with_two_pairs_under_way_gives_each_picture_as_soon_as_nothing_else_waits():
    class Deep:
        depth = 2

        def __init__(self):
            self.waiting = []
            self.most = 0

        def put(self, ir, vis):
            self.waiting.append(vis.copy())
            self.most = max(self.most, len(self.waiting))

        def get(self):
            return self.waiting.pop(0)

    deep = Deep()
    stage = Stage(camera(25, 4), camera(25, 4))
    stage.composer._flight, stage.composer.depth = deep, 2
    stage.play(4.2)
    assert stage.times == [round(k * 40_000) for k in range(100)]
    assert all(now == made.match.vis.arrived for now, made in stage.made[10:])
    assert deep.most <= 2
    assert not deep.waiting


def test_a_frame_that_comes_while_the_line_turns_to_sleep_is_not_slept_over(monkeypatch):
    stage, over, waits, steps = Stage([], []), threading.Event(), [], []
    monkeypatch.setattr(stage.line._changed, "wait", waits.append)

    def step():
        steps.append(len(waits))
        if len(steps) == 1:
            stage.line.offer("vis", live_frame(0.0))  # after the look, before the sleep
        if len(steps) == 3:
            over.set()
        return False

    monkeypatch.setattr(stage.line, "step", step)
    stage.line.run(over)
    assert steps == [0, 0, 1]
