"""A live run with its threads: how it ends, what is left when it does, and a real server behind a bad network."""

import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from engines.base import SerialFlight
from engines.classical import open_classical
from pipeline.align import Geometry
from pipeline.frames import InputError
from pipeline.live.address import parse_address
from pipeline.live.camera import Camera
from pipeline.live.loss import CameraLostError
from pipeline.live.recorder import RecordSettings
from pipeline.live.run import LiveJob, LiveRun
from pipeline.live.status import CameraStatus, Controls, LiveStatus, Panel
from pipeline.source import open_source
from pipeline.synthetic import Scene, write_pair
from tests.pipeline.live.clockwork import live_frame
from tests.pipeline.live.proxy import Proxy
from tests.pipeline.live.rtsp_server import RtspServer, why_not

RATE = 25


class FakeCamera:
    """Sends a frame every period of the real clock while it is told to; may fail."""

    def __init__(self, name, *, frames=10**9, level=100, size=(48, 64), fails_at=None, reason=""):
        self.name, self.count, self.closed, self.sends = name, 0, 0, True
        self._frames, self._luma, self._fails_at, self._reason = (
            frames,
            np.full(size, level, np.uint8),
            fails_at,
            reason,
        )
        self._due = 0.0

    def start(self):
        self._due = time.monotonic()

    def take(self, timeout):
        now = time.monotonic()
        if self.count == self._fails_at:
            raise RuntimeError(f"{self.name} broke")
        if self.count >= self._frames or not self.sends or self._due - now > timeout:
            time.sleep(min(timeout, 0.01))
            self._due = max(self._due, now)
            return None
        time.sleep(max(self._due - now, 0))
        self.count += 1
        at, self._due = self._due, self._due + 1 / RATE
        luma = self._luma.copy()
        luma[0, 0] = self.count % 256  # no two alike
        return live_frame(at, max(time.monotonic(), at), self.count, luma)

    def status(self):
        state = "stopped" if self.count >= self._frames else "running"
        return CameraStatus(self.name, f"fake:{self.name}", state, self._reason, frames=self.count)

    def close(self):
        self.closed += 1


class Viewer:
    """Keeps what is published."""

    def __init__(self):
        self.frames, self.times, self.observed = [], [], 0
        self.status, self.colour = lambda: LiveStatus({}), None

    def publish(self, frame, at, sides=None):
        self.frames.append(frame)
        self.times.append(at)

    def observe(self, *, latency, skew, stages):
        self.observed += 1


def cameras(**options):
    return {"ir": FakeCamera("ir", level=60, **options), "vis": FakeCamera("vis", level=180, **options)}


def started(job=None, sources=None, fuser=None, controls=None, **options):
    viewer = Viewer()
    fuser = fuser or open_classical("mean")
    run = LiveRun(job or LiveJob(), sources or cameras(), fuser, Panel(controls), viewers=viewer, **options)
    run.start()
    return run, viewer


def until(condition, run, timeout=20.0):
    """Tick until a condition holds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, run.status()
        assert run.tick(0.02)


def test_a_run_fuses_until_it_is_closed_and_ends_every_thread():
    before = threading.active_count()
    sources = cameras()
    run, viewer = started(sources=sources)
    until(lambda: len(viewer.frames) >= 10, run)
    assert viewer.frames[-1].luma[5, 5] == 120
    assert all(one.pts < two.pts for one, two in pairwise(viewer.frames))
    assert viewer.status().pairs >= 10
    run.close()
    assert threading.active_count() == before
    assert all(camera.closed for camera in sources.values())
    assert not run.is_left_behind


def test_every_picture_shown_before_the_end_is_in_the_recording(tmp_path):
    path = tmp_path / "out.mkv"
    job = LiveJob(record=RecordSettings(path, min_free=0))
    run, viewer = started(job, controls=Controls(recording=True))
    until(lambda: len(viewer.frames) >= 20, run)
    run.close()
    with open_source(path) as source:
        written = list(source.frames())
    assert len(written) == len(viewer.frames)
    gaps = np.diff([frame.time for frame in written]) - np.diff([frame.time for frame in viewer.frames])
    assert np.abs(gaps).max() < 0.0011  # mkv rounds to 1 ms
    assert run.status().recording["frames"] == len(written)


def test_recording_is_switched_off_and_on_into_files_of_their_own(tmp_path):
    said = []
    job = LiveJob(record=RecordSettings(tmp_path / "out.mp4", min_free=0))
    run, viewer = started(job, controls=Controls(recording=True), say=said.append)
    panel = run._panel
    until(lambda: len(viewer.frames) >= 5, run)
    panel.change(recording=False)
    until(lambda: run.status().recording is None, run)
    panel.change(recording=True)
    count = len(viewer.frames)
    until(lambda: len(viewer.frames) >= count + 5, run)
    run.close()
    files = sorted(tmp_path.glob("*.mp4"))
    assert len(files) == 2
    for file in files:
        with open_source(file) as source:
            assert len(list(source.frames())) >= 3
    assert sum(line.startswith("recorded") for line in said) == 2


def test_recording_without_a_place_for_it_is_said_once():
    said = []
    run, viewer = started(say=said.append)
    run._panel.change(recording=True)
    until(lambda: len(viewer.frames) >= 5, run)
    run.close()
    assert said == ["nothing is recorded: this run has no --record OUT"]


def test_the_run_ends_when_both_sources_have_and_their_last_pairs_are_out():
    run, viewer = started(sources=cameras(frames=12))
    while run.tick(0.02):
        pass
    run.close()
    assert len(viewer.frames) == 12


def test_the_run_ends_after_its_duration():
    run, _ = started(LiveJob(duration=0.3))
    while run.tick(0.02):
        pass
    run.close()
    assert 0.3 <= run.status().uptime < 10


def test_a_source_that_is_refused_ends_the_run_with_its_reason():
    sources = cameras()
    sources["ir"] = FakeCamera("ir", frames=0, reason="sends gray of 8 bits where 16 were asked for")
    run, _ = started(sources=sources)
    with pytest.raises(InputError, match="ir fake:ir: sends gray of 8 bits where 16 were asked for; nothing to fuse"):
        until(lambda: False, run)
    run.close()


@pytest.mark.parametrize("broken", ["camera", "network"])
def test_an_error_anywhere_ends_the_run_and_the_file_is_whole(tmp_path, broken):
    class Breaks:
        name, info, calls = "breaks", None, 0

        def fuse_next(self, ir, vis, state):
            self.calls += 1
            if broken == "network" and self.calls == 10:
                raise RuntimeError("device lost")
            return vis.copy(), None

        def start(self, *, follows):
            return SerialFlight(self, follows=follows)

    path = tmp_path / "out.mp4"
    sources = cameras()
    if broken == "camera":
        sources["ir"] = FakeCamera("ir", fails_at=15)
    job = LiveJob(record=RecordSettings(path, min_free=0))
    run, viewer = started(job, sources, Breaks(), Controls(recording=True))
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="device lost" if broken == "network" else "ir broke"):
        until(lambda: False, run)
    run.close()
    assert time.monotonic() - began < 15
    with open_source(path) as source:
        assert len(list(source.frames())) == len(viewer.frames) >= 9
        assert source.complaints() == []


def test_a_network_that_hangs_is_left_behind_and_the_file_is_whole(tmp_path):
    gate, entered = threading.Event(), threading.Event()

    class Hangs:
        name, info, calls = "hangs", None, 0

        def fuse_next(self, ir, vis, state):
            self.calls += 1
            if self.calls > 5:
                entered.set()
                gate.wait(60)
            return vis.copy(), None

        def start(self, *, follows):
            return SerialFlight(self, follows=follows)

    path = tmp_path / "out.mp4"
    job = LiveJob(record=RecordSettings(path, min_free=0))
    run, viewer = started(job, fuser=Hangs(), controls=Controls(recording=True))
    until(entered.is_set, run)
    beat = run.line.beat
    until(lambda: run.status().cameras["vis"].frames > 40, run)  # the cameras go on, nothing piles up
    assert run.line.beat == beat
    assert run.status().drops["vis superseded"] > 10
    run.close()
    assert run.is_left_behind
    with open_source(path) as source:
        assert len(list(source.frames())) == len(viewer.frames) == 5
    gate.set()
    run._worker.join(10)
    assert len(viewer.frames) == 5  # a picture that comes too late goes nowhere


def test_stop_on_loss_ends_the_run():
    sources = cameras()
    run, viewer = started(LiveJob(on_loss="stop"), sources)
    until(lambda: len(viewer.frames) >= 5, run)
    sources["ir"].sends = False
    with pytest.raises(CameraLostError, match="ir lost"):
        until(lambda: False, run)
    run.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if reason := why_not():
        pytest.skip(reason)
    pair = write_pair(tmp_path_factory.mktemp("pair"), Scene(width=64, height=48, frames=50, shift=(0, 0), offset=0.0))
    with RtspServer({"ir": pair.ir, "vis": pair.vis}) as running:
        yield running


def test_a_real_camera_that_falls_silent_is_done_without_and_heals(server):
    said = []
    with Proxy(server.port) as proxy:
        addresses = {"ir": f"rtsp://127.0.0.1:{proxy.port}/ir#read_timeout=1", "vis": server.url("vis")}
        sources = {side: Camera(side, parse_address(text), on_note=said.append) for side, text in addresses.items()}
        job = LiveJob(geometry=Geometry(size=(64, 48)), on_loss="passthrough")
        run, viewer = started(job, sources, say=said.append)
        until(lambda: run.status().pairs > 25, run)
        proxy.fault = "stall"
        until(lambda: run.status().state == "ir lost", run)
        count = len(viewer.frames)
        until(lambda: len(viewer.frames) > count + 25, run)  # VIS alone goes on
        pairs = run.status().pairs
        proxy.fault = "none"
        until(lambda: run.status().pairs > pairs + 25, run)
        status = run.status()
        run.close()
    assert status.state == "fusing"
    assert all(one.pts < two.pts for one, two in pairwise(viewer.frames))
    assert any(line.startswith("ir lost: no frame for 0.5 s; vis is shown alone") for line in said)
    assert any(line.startswith("ir is back after") for line in said)
    assert status.cameras["ir"].reconnects >= 1
    assert status.cameras["ir"].label.startswith("rtsp://127.0.0.1")
