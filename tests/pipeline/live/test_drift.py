"""A camera that is knocked is told of once it is sure; nothing else is, and nothing is ever moved."""

import threading

import numpy as np
import pytest

from calibration.rig import Plane, Rig
from engines.classical import open_classical
from pipeline.align import Geometry, align
from pipeline.frames import Frame, Pair
from pipeline.live.composer import Composer
from pipeline.live.drift import PERSISTENT, POOLED, REPEAT, Drift, watch
from pipeline.live.match import Match
from pipeline.live.run import LiveJob, LiveRun
from pipeline.live.status import Controls, Panel
from pipeline.rigging import Rigging
from pipeline.thermal import Agc
from tests.calibration.test_check import moved, scene
from tests.pipeline.live.clockwork import live_frame
from tests.pipeline.live.test_run import FakeCamera, until

UNIT = Plane(ir_size=(320, 240), vis_size=(320, 240), H=((1, 0, 0), (0, 1, 0), (0, 0, 1)))


class Watched:
    def __init__(self, geometry=None):
        self.said = []
        self.geometry = geometry or Geometry(rigging=Rigging(Rig(plane=UNIT)))
        self.drift = Drift(self.geometry, self.said.append)
        self.now = 0.0
        self.ir, self.vis = scene()

    def look(self, dx=0.0, dy=0.0, *, times=1, nudge=(0.0, 0.0), ir=None):
        """See infrared `dx`, `dy` px off, so many times, 3 s apart."""
        ir = moved(self.ir if ir is None else ir, dx, dy)
        pair = Pair(Frame(ir, None, 0, 0.0, 0), Frame(self.vis, None, 0, 0.0, 0), 0.0)
        for _ in range(times):
            self.drift.put(align(pair, self.geometry, Agc(), Agc()), nudge)
            self.drift.look(self.now)
            self.now += 3.0


def test_what_lies_right_is_measured_and_not_spoken_of():
    seen = Watched()
    seen.look(times=10)
    assert seen.said == []
    status = seen.drift.status()
    assert status["residual_px"] < 0.3
    assert status["confidence"] > 6
    assert status["patches"] >= 8


def test_a_drift_that_persists_is_told_once_with_its_way():
    seen = Watched()
    seen.look(times=5)
    seen.look(8, -5, times=POOLED + PERSISTENT)
    assert len(seen.said) == 1
    assert "infrared lies 8 px right and 5 px above of where it should" in seen.said[0]
    assert seen.said[0].endswith("calibrate again, or shift it by -8,5")
    assert seen.drift.status()["dx_px"] == pytest.approx(8, abs=0.3)
    seen.look(8, -5, times=10)
    assert len(seen.said) == 1
    seen.now += REPEAT
    seen.look(8, -5)
    assert len(seen.said) == 2


def test_a_single_look_that_is_off_is_no_drift():
    seen = Watched()
    seen.look(times=5)
    seen.look(8, -5)
    seen.look(times=5)
    assert seen.said == []


def test_nothing_is_told_of_the_first_look_alone():
    seen = Watched()
    seen.look(8, -5)
    seen.look(times=6)
    assert seen.said == []


def test_the_end_of_a_drift_is_told():
    seen = Watched()
    seen.look(8, 0, times=5)
    seen.look(times=POOLED + PERSISTENT + 1)
    assert seen.said[1:] == ["the pictures lie together again, within 4 px"]


def test_a_nudge_begins_the_measurement_anew():
    seen = Watched()
    seen.look(8, 0, times=2)
    seen.look(0, 0, nudge=(-8.0, 0.0))
    assert seen.drift.status()["residual_px"] < 0.3  # without what was before


def test_a_scene_that_does_not_tell_has_no_number_and_no_line():
    seen = Watched()
    seen.look(ir=np.full((240, 320), 80, np.uint8), times=6)
    assert seen.drift.status() is None
    assert seen.said == []


def test_without_a_rig_a_pair_that_never_lay_right_is_told_of_and_drift_is_not():
    seen = Watched(Geometry())
    seen.look(40, 0, times=8)
    assert [line.split(":")[0] for line in seen.said] == ["the pair looks unaligned"]
    seen = Watched(Geometry())
    seen.look(6, 0, times=12)
    assert seen.said == []
    assert seen.drift.status()["dx_px"] == pytest.approx(6, abs=0.3)


def test_no_look_without_a_new_pair():
    seen = Watched()
    seen.look()
    before = seen.drift.residual
    seen.drift.look(100.0)
    assert seen.drift.residual is before


def test_an_error_in_it_ends_the_looking_and_not_the_run(caplog, monkeypatch):
    monkeypatch.setattr("pipeline.live.drift.PERIOD", 0.001)
    seen = Watched()
    monkeypatch.setattr(seen.drift, "look", lambda now: 1 / 0)
    watch(seen.drift, threading.Event(), lambda: 0.0)
    assert "alignment is not checked any more: ZeroDivisionError" in caplog.text


def test_only_frames_of_one_time_are_measured():
    """A held partner is of another time: what moves between them is no drift."""
    seen = []
    composer = Composer(open_classical("mean"), Geometry(), on_aligned=lambda aligned, nudge: seen.append(nudge))
    ir, vis = (live_frame(1.0, luma=picture) for picture in scene())
    for kind in ("held", "paired", "alone"):
        composer.put(Match("vis", kind, ir, vis, 1.0, 0.0, 1.0), Controls(nudge=(2.0, 0.0)))
        composer.get()
    assert seen == [(2.0, 0.0)]


def test_a_run_measures_beside_its_work_and_tells(monkeypatch):
    monkeypatch.setattr("pipeline.live.drift.PERIOD", 0.02)
    ir, vis = scene()
    cameras = {side: FakeCamera(side) for side in ("ir", "vis")}
    cameras["ir"]._luma, cameras["vis"]._luma = moved(ir, 9, 0), vis
    said = []
    job = LiveJob(geometry=Geometry(rigging=Rigging(Rig(plane=UNIT))))
    run = LiveRun(job, cameras, open_classical("mean"), Panel(), say=said.append)
    run.start()
    until(lambda: any("9 px right" in line for line in said), run)
    status = run.status().to_json()["alignment"]
    run.close()
    assert status["dx_px"] == pytest.approx(9, abs=0.3)
    assert run.status().to_json()["pairs"] >= 2  # it went on meanwhile
    assert not any(thread.name == "alignment" for thread in threading.enumerate())
