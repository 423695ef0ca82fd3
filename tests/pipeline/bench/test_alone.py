"""What each stage alone costs, on a clock that only the stage itself moves."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.align import Aligned
from pipeline.bench import alone
from pipeline.bench.alone import Pictures, copying, decoding, encoding, fusing, multiplying, pictures_of
from pipeline.frames import Frame, Pair
from pipeline.job import Job
from pipeline.synthetic import Scene, write_pair
from tests.pipeline.fakes import FakeSink, FakeSource, VisFuser

JOB = Job("ir.mp4", "vis.mp4", Path("out.mp4"))


@pytest.fixture
def clock(monkeypatch):
    """s on the wall; three cores work all the while."""
    now = [0.0]
    monkeypatch.setattr(alone.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(alone.time, "process_time", lambda: 3 * now[0])

    def moving(work, seconds):
        def run(*given):
            now[0] += seconds
            return work(*given)

        return run

    return moving


def pictures(count):
    """Pairs whose VIS luma is their number."""
    source = FakeSource("vis")
    frames = [Frame(np.full((6, 8), k, np.uint8), None, k, k / 25, k) for k in range(count)]
    return Pictures(tuple(Aligned(f.luma, f.luma, None, Pair(f, f, 0.0)) for f in frames), source.info, None)


class Sources:
    """Two sources whose frames take 1 s each."""

    def __init__(self, clock, monkeypatch, counts):
        self.ticks = 0
        self.made = [FakeSource(name, count) for name, count in zip(("ir", "vis"), counts, strict=True)]
        for source in self.made:
            source.frames = lambda source=source: self.slow(source, clock(lambda: None, 1.0))
        monkeypatch.setattr(alone, "open_pair", lambda job: (*self.made, []))

    def slow(self, source, tick):
        for k in range(source.info.frames):
            tick()
            self.ticks += 1
            yield Frame(np.zeros((6, 8), np.uint8), None, k, k / 25, k)


def test_decoding_counts_both_inputs_and_closes_them(clock, monkeypatch):
    sources = Sources(clock, monkeypatch, (10, 10))
    assert decoding(JOB, 10, 1e9) == (2000, 6000)  # 20 s of both for 10 pairs
    assert all(source.closed for source in sources.made)


def test_decoding_ends_when_its_time_is_over(clock, monkeypatch):
    sources = Sources(clock, monkeypatch, (1000, 1000))
    decoding(JOB, 1000, 8.0)
    assert 8 < sources.ticks < 14  # each ends at its first frame after 8 s, or at its second


def test_fusing_is_timed_after_a_pair_to_warm_up(clock):
    fuser = VisFuser()
    fuser.fuse = clock(fuser.fuse, 0.5)
    cost, fused = fusing(fuser, pictures(3), 4, 1e9)
    assert cost == (500, 1500)
    assert [luma[0, 0] for luma in fused] == [1, 2, 0, 1]  # 0 warmed up; pictures come again
    assert fuser.calls == 5


def test_slow_fusing_ends_after_a_pair(clock):
    fuser = VisFuser()
    fuser.fuse = clock(fuser.fuse, 60.0)
    cost, fused = fusing(fuser, pictures(3), 100, 1.0)
    assert (cost[0], len(fused)) == (60_000, 1)


def test_encoding_is_timed_until_the_file_is_closed_and_goes_there_and_back(clock, monkeypatch):
    sink = FakeSink()
    sink.write, sink.close = clock(sink.write, 0.5), clock(sink.close, 2.0)
    monkeypatch.setattr(alone, "open_sink", lambda *given: sink)
    lumas = [np.full((6, 8), 10 * k, np.uint8) for k in range(3)]
    assert encoding(JOB, pictures(3), lumas, 8, 1e9) == (1e3 * (8 * 0.5 + 2) / 8, 3e3 * (8 * 0.5 + 2) / 8)
    assert [frame.luma[0, 0] for frame in sink.frames] == [0, 10, 20, 10, 0, 10, 20, 10]
    assert [frame.pts for frame in sink.frames] == list(range(8))


def test_what_was_encoded_alone_is_not_left_behind(tmp_path):
    made = write_pair(tmp_path, Scene(width=32, height=24, frames=5, offset=0.0))
    job = Job(str(made.ir), str(made.vis), tmp_path / "out.mp4")
    held = pictures_of(job)
    assert len(held.aligned) == 5
    encoding(job, held, [aligned.vis for aligned in held.aligned], 5, 1e9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ir.mp4", "vis.mp4"]


def test_rates_of_memory_and_arithmetic_are_those_of_the_clock(clock, monkeypatch):
    monkeypatch.setattr(alone, "_seconds", lambda work, times: 0.25 * times)
    assert copying() == 2 * (32 << 20) / 0.25 / 1e9  # read once, written once
    assert multiplying(100) == 2 * 100**3 / 0.25 / 1e9
