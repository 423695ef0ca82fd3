"""What each part alone costs, and all of them at once, on a clock that only the parts themselves move."""

import threading
from pathlib import Path

import numpy as np
import pytest

from pipeline import stream
from pipeline.align import Geometry
from pipeline.bench import alone
from pipeline.bench.alone import Pictures, at_once, decoding, encoding, fusing, pictures_of
from pipeline.bench.timed import WARM_UP
from pipeline.frames import Frame, Pair
from pipeline.job import Job
from pipeline.synthetic import Scene, write_pair
from tests.pipeline.fakes import FakeSink, FakeSource, VisFuser

JOB = Job("ir.mp4", "vis.mp4", Path("out.mp4"))


@pytest.fixture
def clock(monkeypatch):
    """s on the wall; three cores work all the while."""
    now, lock = [0.0], threading.Lock()
    monkeypatch.setattr(alone.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(alone.time, "process_time", lambda: 3 * now[0])

    def moving(work, seconds):
        def run(*given):
            with lock:
                now[0] += seconds
            return work(*given)

        return run

    return moving


@pytest.fixture
def stop():
    return threading.Event()


def pictures(count):
    """Pairs whose VIS luma is their number."""
    source = FakeSource("vis")
    frames = [Frame(np.full((6, 8), k, np.uint8), None, k, k / 25, k) for k in range(count)]
    return Pictures(tuple(Pair(f, f, 0.0) for f in frames), source.info, Geometry(size=(8, 6)))


class Sources:
    """Two sources whose frames take 1 s each."""

    def __init__(self, clock, monkeypatch, count):
        self.ticks = 0
        self.made = [FakeSource(name, count) for name in ("ir", "vis")]
        for source in self.made:
            source.frames = lambda source=source: self.slow(source, clock(lambda: None, 1.0))
        monkeypatch.setattr(alone, "open_pair", lambda job: (*self.made, []))

    def slow(self, source, tick):
        for k in range(source.info.frames):
            tick()
            self.ticks += 1
            yield Frame(np.zeros((6, 8), np.uint8), None, k, k / 25, k)


@pytest.fixture
def sink(clock, monkeypatch):
    """Takes 0.5 s a frame, and 2 s to be closed, once."""
    made = FakeSink()
    close = clock(made.close, 2.0)
    made.write = clock(made.write, 0.5)
    made.close = lambda: None if made.closed else close()
    monkeypatch.setattr(alone, "open_sink", lambda *given: made)
    return made


def test_decoding_counts_both_inputs_and_closes_them(clock, monkeypatch, stop):
    sources = Sources(clock, monkeypatch, 12)
    assert decoding(JOB, 10, stop) == (2000, 6000)  # 20 s of both for 10 pairs
    assert all(source.closed for source in sources.made)


def test_a_stop_ends_every_part_soon(clock, monkeypatch, stop, sink):
    sources = Sources(clock, monkeypatch, 1000)
    stop.set()
    fuser = VisFuser()
    at_once(JOB, fuser, pictures(3), [pair.vis for pair in pictures(3).pairs], 500, stop)
    assert (sources.ticks, fuser.calls) == (2, 2)  # of the fuser, one to warm up
    assert len(sink.frames) == 2
    assert sink.closed


def test_the_middle_of_the_line_is_timed_after_a_pair_to_warm_up(clock):
    fuser = VisFuser()
    fuser.fuse = clock(fuser.fuse, 0.5)
    cost, frames = fusing(JOB, fuser, pictures(3), 4, 1e9, wanted=3)
    assert cost == (500, 1500)
    assert [frame.luma[0, 0] for frame in frames] == [0, 1, 2]
    assert fuser.calls == 5


def test_aligning_and_composing_count_too(clock, monkeypatch):
    for name in ("align", "compose"):
        monkeypatch.setattr(stream, name, clock(getattr(stream, name), 0.25))
    cost, _ = fusing(JOB, VisFuser(), pictures(3), 4, 1e9)
    assert cost == (500, 1500)


def test_slow_fusing_ends_after_a_pair_and_makes_the_rest_of_what_is_wanted_untimed(clock):
    fuser = VisFuser()
    fuser.fuse = clock(fuser.fuse, 60.0)
    cost, frames = fusing(JOB, fuser, pictures(5), 100, 1.0, wanted=4)
    assert (cost[0], [frame.luma[0, 0] for frame in frames]) == (60_000, [0, 1, 2, 3])
    assert fuser.calls == 4


def test_encoding_is_timed_after_the_warm_up_until_the_file_is_closed_and_goes_there_and_back(clock, stop, sink):
    frames = [pair.vis for pair in pictures(3).pairs]
    assert encoding(JOB, pictures(3), frames, 8, stop) == (1e3 * (8 * 0.5 + 2) / 8, 3e3 * (8 * 0.5 + 2) / 8)
    assert WARM_UP == 3
    assert [frame.luma[0, 0] for frame in sink.frames] == [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    assert [frame.pts for frame in sink.frames] == list(range(11))


def test_at_once_is_the_work_of_all_parts(clock, monkeypatch, stop, sink):
    """On this clock one part moves at a time, so all adds up: 2 s to decode a pair, 0.25 to fuse, 0.5 to encode."""
    Sources(clock, monkeypatch, 12)
    fuser = VisFuser()
    fuser.fuse = clock(fuser.fuse, 0.25)
    frames = [pair.vis for pair in pictures(3).pairs]
    wall, cpu = at_once(JOB, fuser, pictures(3), frames, 10, stop)
    assert (wall, cpu) == (1e3 * (2.75 + 2 / 10), 3e3 * (2.75 + 2 / 10))


def test_pictures_are_held_as_far_as_memory_goes(tmp_path, monkeypatch):
    made = write_pair(tmp_path, Scene(width=32, height=24, frames=30, offset=0.0))
    job = Job(str(made.ir), str(made.vis), tmp_path / "out.mp4")
    assert len(pictures_of(job).pairs) == 16
    assert len(pictures_of(job, 25).pairs) == 25
    monkeypatch.setattr(alone, "HELD_BYTES", 20 * 32 * 24 * 3)  # 4:2:0 in both: 3 bytes a pixel
    assert len(pictures_of(job, 25).pairs) == 21
    monkeypatch.setattr(alone, "HELD_BYTES", 0)
    assert len(pictures_of(job, 25).pairs) == 16  # what other measurements need


def test_what_was_encoded_alone_is_not_left_behind(tmp_path, stop):
    made = write_pair(tmp_path, Scene(width=32, height=24, frames=5, offset=0.0))
    job = Job(str(made.ir), str(made.vis), tmp_path / "out.mp4")
    held = pictures_of(job)
    assert len(held.aligned) == 5
    encoding(job, held, [pair.vis for pair in held.pairs], 5, stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ir.mp4", "vis.mp4"]
