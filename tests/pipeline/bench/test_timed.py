"""When the clock starts, when a run is cut off, and what counts as its end; on a clock by hand."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.bench import timed as module
from pipeline.bench.timed import timed
from pipeline.frames import InputError
from pipeline.job import Job
from pipeline.stats import Stats
from pipeline.sync import SyncReport

JOB = Job("ir.mp4", "vis.mp4", Path("out.mp4"))


class Clock:
    """Moves when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def play(monkeypatch):
    """Runs `timed` over pairs that take so many s each, and a file that is closed so late after the last one."""

    def run(pair_seconds, count, close=0.0, on_pair=lambda done: None, **options):
        clock = Clock()
        monkeypatch.setattr(module.time, "perf_counter", clock)
        monkeypatch.setattr(module.time, "process_time", lambda: 1.5 * min(clock.now, pair_seconds * count + close))

        def run_job(job, fuser, *, stop, on_open, on_frame):
            stats = Stats()
            stats.clock = clock
            on_open(SimpleNamespace(out=SimpleNamespace(width=64, height=48), notices=[]))
            done = 0
            while done < count and not stop.is_set():
                clock.now += pair_seconds
                stats.frame_done(clock.now)
                on_frame(stats, SyncReport())
                done += 1
                on_pair(done)
            clock.now += close
            stats.ended = clock.now
            clock.now += 100  # threads that are waited for: no part of it
            return SimpleNamespace(stats=stats, report=SimpleNamespace(pairs=done))

        monkeypatch.setattr(module, "run_job", run_job)
        return timed(JOB, None, **options)

    return run


def test_three_pairs_warm_up_and_the_clock_stops_when_the_file_is_closed(play):
    turn = play(0.5, 13, close=1.0)
    assert (turn.pairs, turn.seconds, turn.fps) == (10, 6.0, 10 / 6)
    assert turn.cpu_ms == 1e3 * 1.5 * 6.0 / 10
    assert (turn.width, turn.height, turn.stats.frames) == (64, 48, 11)


def test_a_run_ends_when_its_time_is_over(play):
    turn = play(0.125, 1000, seconds=1.0)
    assert turn.pairs == 9  # the one that passes 1 s is the last


def test_slow_pairs_warm_up_once_and_are_timed_twice_at_least(play):
    turn = play(60.0, 1000, seconds=1.0)
    assert (turn.pairs, turn.fps) == (2, 2 / 120)


def test_a_run_that_was_stopped_says_nothing(play):
    stop = threading.Event()
    assert play(0.5, 1000, stop=stop, on_pair=lambda done: done == 6 and stop.set()) is None


@pytest.mark.parametrize("count", [2, 3])
def test_too_few_pairs_are_refused(play, count):
    with pytest.raises(InputError, match=f"give {count} pairs; at least 4 are needed, 3 of them to warm up"):
        play(0.5, count)
