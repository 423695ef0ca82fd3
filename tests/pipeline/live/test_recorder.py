"""A recording: whole files whatever ends them, no frame lost or doubled, names that stay unique, the line untouched."""

from __future__ import annotations

import errno
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.encoding import FRAGMENT, SinkSettings
from pipeline.frames import Colour, Frame, InputError, StreamInfo
from pipeline.live import recorder as module
from pipeline.live.recorder import Recorder, RecordSettings

TICKS = 1_000_000
FAST = SinkSettings(preset="ultrafast", threads=1)
ROOT = Path(__file__).parents[3]
NOON = 1_800_000_000.0
"""s since 1970: 2027-01-15 08:00:00 UTC."""


class Clock:
    """Fake times that only go on when told to."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


def info_of(width=64, height=48, **more):
    colour = Colour(False, 6, 6, 6)
    return StreamInfo("live", width, height, Fraction(1, TICKS), rate=Fraction(25), colour=colour, **more)


def frame_at(k, *, period=40_000, level=None, size=(48, 64), start=7_000_000):
    """Frame k: its number is its brightness."""
    pts = start + k * period
    return Frame(np.full(size, 20 + 2 * k % 200 if level is None else level, np.uint8), None, pts, pts / TICKS, k)


def settings_of(path, **more):
    return RecordSettings(path, **{"min_free": 0, "sink": FAST, **more})


def record(recorder, frames):
    """Put frames as fast as the recorder takes them: none may be dropped."""
    for frame in frames:
        wait_for(lambda: recorder._queue.qsize() < module.DEPTH - 1)
        recorder.put(frame)


def wait_for(condition, limit=20.0):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit, "waited in vain"
        time.sleep(0.002)


def times_and_levels(path):
    """s and mean luma of every picture, and whether the first packet is a key frame."""
    with av.open(str(path)) as file:
        pictures = [(p.pts * p.time_base, float(p.to_ndarray(format="gray").mean())) for p in file.decode(video=0)]
    with av.open(str(path)) as file:
        assert next(iter(file.demux(video=0))).is_keyframe
    return pictures


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_every_frame_put_is_in_the_file_at_its_time(tmp_path, suffix):
    recorder = Recorder(info_of(), settings_of(tmp_path / f"out{suffix}"))
    record(recorder, [frame_at(k) for k in range(60)])
    recorder.close()
    pictures = times_and_levels(tmp_path / f"out{suffix}")
    times = [time - pictures[0][0] for time, _ in pictures]
    assert [round(1000 * time) for time in times] == [40 * k for k in range(60)]
    levels = [level for _, level in pictures]
    steps = np.diff(levels)
    assert (steps >= 1).all()  # each brighter than the one before: none lost, none doubled, none out of order
    status = recorder.status()
    assert (status["frames"], status["files"], status["error"], status["drops"]) == (60, 1, "", {})
    assert status["bytes"] == (tmp_path / f"out{suffix}").stat().st_size
    assert status["seconds"] == pytest.approx(59 * 0.04)


def test_irregular_times_are_kept_and_frames_that_go_back_are_counted(tmp_path):
    pts = [0, 40_000, 45_000, 300_000, 300_000, 299_999, 2_000_001]
    recorder = Recorder(info_of(), settings_of(tmp_path / "out.mp4"))
    record(recorder, [frame_at(k, period=0, start=p + 5) for k, p in enumerate(pts)])
    recorder.close()
    times = [time * TICKS for time, _ in times_and_levels(tmp_path / "out.mp4")]
    assert times == [0, 40_000, 45_000, 300_000, 2_000_001]
    assert recorder.status()["drops"] == {"not later than the frame before": 2}


def test_segments_follow_each_other_without_a_frame_lost_or_doubled(tmp_path):
    wall = Clock(NOON)
    recorder = Recorder(info_of(), settings_of(tmp_path / "cam.mp4", segment=1.0), wall=wall)
    record(recorder, [frame_at(k) for k in range(110)])  # 25 frames/s: four whole seconds and ten frames
    recorder.close()
    files = sorted(tmp_path.iterdir(), key=lambda path: (len(path.name), path.name))
    assert [path.name for path in files] == [
        "cam_20270115T080000Z.mp4", *(f"cam_20270115T080000Z-{n}.mp4" for n in range(1, 5)),
    ]  # fmt: skip
    parts = [times_and_levels(path) for path in files]
    assert [len(part) for part in parts] == [25, 25, 25, 25, 10]
    assert all(part[0][0] == 0 for part in parts)
    levels = [round((level - 20) / 2) for part in parts for _, level in part]
    assert np.abs(np.array(levels[:99]) - np.arange(99)).max() <= 1  # the level wraps at 100
    assert recorder.status()["files"] == 5


def test_names_stay_unique_when_the_wall_clock_is_set_back(tmp_path):
    wall = Clock(NOON)
    recorder = Recorder(info_of(), settings_of(tmp_path / "cam.mkv", segment=1.0), wall=wall)
    for k, hour in enumerate((0, 1, 0, -1, 0)):  # a file each
        wall.now = NOON + 3600 * hour
        record(recorder, [frame_at(25 * k)])
        wait_for(lambda wanted=k + 1: recorder._reel.frames == wanted)
    recorder.close()
    stamps = ["070000Z", "080000Z", "080000Z-1", "080000Z-2", "090000Z"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"cam_20270115T{s}.mkv" for s in stamps)
    assert all(len(times_and_levels(path)) == 1 for path in tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_killed_recorder_leaves_a_file_that_lacks_less_than_a_second(tmp_path, suffix):
    """A real process that records 20 times real time, killed at random places: in steps of one key interval."""
    rng = random.Random(suffix)
    for trial in range(4):
        path, wanted = tmp_path / f"{trial}.{suffix}", rng.randint(1, 90)
        put = _record_and_die(path, wanted)
        with av.open(str(path)) as file:
            count = 0
            try:
                for _ in file.decode(video=0):
                    count += 1
            except av.error.FFmpegError:
                pass  # the piece it was writing
        assert put - count <= (FRAGMENT + 0.1) * 25, f"{put} written, {count} readable"
        assert count <= put + 1  # the last word may be lost on its way


def _record_and_die(path, wanted):
    """Frames that the process had handed to its encoder when it was killed."""
    code = f"""
        import sys; sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from tests.pipeline.live.test_recorder import *
        rng = np.random.default_rng(0)
        recorder = Recorder(info_of(), settings_of(Path({str(path)!r})))
        for k in range(2000):
            frame = frame_at(k)
            frame.luma[8:40] += rng.integers(0, 20, (32, 64), np.uint8)
            record(recorder, [frame])
            wait_for(lambda: recorder._reel.frames == k + 1)
            print(k + 1, flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    last = 0
    for line in process.stdout:
        last = int(line)
        if last == wanted:
            process.send_signal(signal.SIGKILL)
    process.wait()
    return last


def test_too_little_room_ends_the_file_and_recording_goes_on_when_there_is_room(tmp_path, caplog):
    clock, room, wall = Clock(), Clock(10**9), Clock(NOON)
    settings = settings_of(tmp_path / "out.mp4", min_free=5 * 10**8)
    recorder = Recorder(info_of(), settings, clock=clock, free=lambda folder: room.now, wall=wall)
    record(recorder, [frame_at(k) for k in range(10)])
    wait_for(lambda: recorder.status()["free_bytes"] == 10**9 and recorder._reel.frames == 10)
    room.now, clock.now = 499_000_000, 2.0
    recorder.put(frame_at(10))
    wait_for(lambda: recorder.status()["drops"] == {"no room on the disk": 1})
    status = recorder.status()
    assert "499 MB free, less than the 500 MB to be left; recording goes on when 567 MB are free" in status["error"]
    assert len(times_and_levels(tmp_path / "out.mp4")) == 10  # finished, not only cut off
    room.now, clock.now = 560_000_000, 4.0  # above the floor, but hardly
    recorder.put(frame_at(11))
    wait_for(lambda: recorder.status()["drops"] == {"no room on the disk": 2})
    room.now, clock.now = 570_000_000, 6.0
    record(recorder, [frame_at(k) for k in range(12, 20)])
    recorder.close()
    assert recorder.status()["error"] == ""
    assert len(times_and_levels(tmp_path / "out_20270115T080000Z.mp4")) == 8
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]  # once each, not once a frame


LIMITED = """
    import sys, resource; sys.path.insert(0, {root!r})
    from pathlib import Path
    from tests.pipeline.live.test_recorder import *
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    rng = np.random.default_rng(0)
    recorder = Recorder(info_of(), settings_of(Path({path!r})))
    for k in range({count}):
        record(recorder, [Frame(rng.integers(0, 255, (48, 64), np.uint8), None, 40000 * k, k / 25, k)])
    recorder.close()
    recorder.put(frame_at(1000))  # never raises
    print(recorder.status())
"""


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("limit", [60_000, 150_000])
def test_a_file_that_may_not_grow_stops_the_recording_and_stays_playable(tmp_path, suffix, limit):
    path = tmp_path / f"out.{suffix}"
    code = textwrap.dedent(LIMITED.format(root=str(ROOT), path=str(path), limit=limit, count=120))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    status = eval(done.stdout)
    assert "recording stopped: disk full after" in status["error"]
    assert status["drops"]["recording failed"] > 10
    with av.open(str(path)) as file:
        count = sum(1 for _ in file.decode(video=0))
    assert count >= 0.7 * limit / 3600  # a frame of noise takes about 3.6 kB
    assert path.stat().st_size <= limit


def test_an_error_of_the_sink_stops_the_recording_and_never_the_line(tmp_path, monkeypatch):
    def fail(self, frame):
        raise RuntimeError("a bug")

    monkeypatch.setattr(module.Reel, "write", fail)
    recorder = Recorder(info_of(), settings_of(tmp_path / "out.mp4"))
    recorder.put(frame_at(0))
    wait_for(lambda: "a bug" in recorder.status()["error"])
    for k in range(100):
        recorder.put(frame_at(k))
    recorder.close()
    assert recorder.status()["drops"]["encoder too slow"] > 0


def test_a_full_disk_is_waited_for_and_other_failures_are_not(tmp_path, monkeypatch):
    clock, errors = Clock(), [errno.ENOSPC, errno.EIO]
    genuine = module.Reel.write

    def write(self, frame):
        if frame.index in (3, 7):
            cause = OSError(errors.pop(0), "no")
            raise module.OutputError(f"failed at {frame.index}") from cause
        genuine(self, frame)

    monkeypatch.setattr(module.Reel, "write", write)
    recorder = Recorder(info_of(), settings_of(tmp_path / "out.mp4"), clock=clock, free=lambda folder: 10**9)
    record(recorder, [frame_at(k) for k in range(5)])
    wait_for(lambda: recorder.status()["drops"] == {"no room on the disk": 2})
    clock.now = 2.0  # a look at the disk finds room again
    record(recorder, [frame_at(k) for k in range(5, 10)])
    wait_for(lambda: recorder.status()["drops"].get("recording failed") == 3)
    clock.now = 4.0
    record(recorder, [frame_at(10)])
    recorder.close()
    status = recorder.status()
    assert status["error"] == "recording stopped: failed at 7"
    assert (status["frames"], status["files"]) == (3 + 2, 2)
    assert status["drops"] == {"no room on the disk": 2, "recording failed": 4}


def test_frames_of_another_size_are_scaled_and_said_once(tmp_path, caplog):
    recorder = Recorder(info_of(), settings_of(tmp_path / "out.mp4"))
    record(recorder, [frame_at(k, size=(48, 64) if k < 5 else (96, 100)) for k in range(10)])
    recorder.close()
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert [(p.width, p.height) for p in file.decode(video=0)] == [(64, 48)] * 10
    assert [r.getMessage() for r in caplog.records] == [
        "the picture is now 100x96: the recording keeps its 64x48 and scales it"
    ]


def test_an_encoder_too_slow_drops_and_counts_exactly_and_never_holds_the_line(tmp_path, monkeypatch):
    gate, taken = threading.Event(), []
    genuine = module.Reel.write

    def slow(self, frame):
        taken.append(frame.index)
        gate.wait(20)
        genuine(self, frame)

    monkeypatch.setattr(module.Reel, "write", slow)
    recorder = Recorder(info_of(), settings_of(tmp_path / "out.mp4"))
    recorder.put(frame_at(0))
    wait_for(lambda: taken == [0])
    for k in range(1, 100):
        recorder.put(frame_at(k))  # returns, though nothing is written
    assert recorder.status()["drops"] == {"encoder too slow": 99 - module.DEPTH}
    gate.set()
    recorder.close()
    assert len(times_and_levels(tmp_path / "out.mp4")) == 1 + module.DEPTH


def test_closing_gives_up_on_a_disk_that_hangs(tmp_path, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(module.Reel, "write", lambda self, frame: release.wait(30))
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    recorder = Recorder(info_of(), settings_of(tmp_path / "out.mp4"))
    recorder.put(frame_at(0))
    recorder.close()
    assert recorder._thread.is_alive()  # left behind, not waited for
    release.set()
    recorder._thread.join(10)
    assert module.DRAIN < 2.8 <= 3.0


def test_what_waits_longer_than_the_deadline_is_counted_on_closing(tmp_path, monkeypatch):
    gate, clock = threading.Event(), Clock()
    genuine = module.Reel.write

    def slow(self, frame):
        gate.wait(20)
        clock.now += 1.0
        genuine(self, frame)

    monkeypatch.setattr(module.Reel, "write", slow)
    recorder = Recorder(info_of(), settings_of(tmp_path / "out.mp4"), clock=clock)
    for k in range(6):
        recorder.put(frame_at(k))
    threading.Timer(0.05, gate.set).start()
    recorder.close()
    status = recorder.status()
    assert status["frames"] + status["drops"]["recording closed"] == 6
    assert status["frames"] == 2  # at 1 s each, 1.5 s let two begin
    recorder.put(frame_at(9))
    assert recorder.status()["drops"]["recording closed"] == 5


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("out.avi", {}, r"out.avi: a recording is .mp4, .mkv, .ts"),
        ("none/out.mp4", {}, "is no folder"),
        ("out.mp4", {"keep_age": 3600.0}, "pass --segment"),
        ("out.mp4", {"segment": 0.5}, "give 1 s or more"),
        ("out.mp4", {"segment": 10.0, "keep_bytes": 0}, "give more than 0"),
        ("out.mp4", {"min_free": -1}, "give bytes"),
        ("there.mp4", {}, "exists; pass --overwrite"),
        ("out.mp4", {"sink": SinkSettings(codec="libsvtav1")}, "holds frames back"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(tmp_path, name, more, message):
    (tmp_path / "there.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match=message):
        Recorder(info_of(), settings_of(tmp_path / name, **more))
    assert [path.name for path in tmp_path.iterdir()] == ["there.mp4"]


def test_a_recorder_that_was_given_nothing_writes_nothing(tmp_path):
    recorder = Recorder(info_of(), settings_of(tmp_path / "out.mp4"))
    recorder.close()
    recorder.close()
    assert list(tmp_path.iterdir()) == []
    assert re.fullmatch("", recorder.status()["path"])
