"""The pipeline run once against the clock: warmed up, cut off after a time, its output file closed at the end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from engines.base import Fuser
from pipeline.align import Size
from pipeline.bench.row import Turn
from pipeline.frames import InputError
from pipeline.job import Job, Opened, run_job
from pipeline.stats import Stats

WARM_UP = 3
"""Pairs fused before the clock runs: first calls allocate buffers and choose code paths."""
LEAST = 2
"""Pairs timed at least, where the inputs have them."""


def timed(
    job: Job,
    fuser: Fuser,
    *,
    seconds: float = math.inf,
    stop: threading.Event | None = None,
    on_open: Callable[[Opened], None] = lambda opened: None,
) -> Turn | None:
    """How fast a job runs; None if `stop` was set meanwhile.

    seconds: after which it ends early, with `LEAST` pairs done; the warm-up ends after half of it, with one pair done.
    Raises InputError for inputs of fewer pairs than the warm-up and one more.
    """
    cut = _Cut(seconds, stop or threading.Event())
    sizes: list[Size] = []

    def opened(told: Opened) -> None:
        sizes.append((told.out.width, told.out.height))
        on_open(told)

    result = run_job(job, fuser, stop=cut.over, on_open=opened, on_frame=lambda stats, _: cut.see(stats))
    if cut.stop.is_set():
        return None
    if cut.warm_at is None or cut.pairs < 1:
        least = f"at least {WARM_UP + 1} are needed, {WARM_UP} of them to warm up"
        raise InputError(f"{job.ir} and {job.vis} give {result.report.pairs} pairs; {least}; give longer inputs")
    seconds, worked = max(result.stats.ended - cut.warm_at, 1e-9), time.process_time() - cut.worked
    return Turn(*sizes[0], cut.pairs, seconds, result.stats, 1e3 * worked / cut.pairs)


class _Cut:
    """Forgets what was timed during the warm-up, and ends the run when its time is over."""

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self.stop, self.over = stop, threading.Event()
        self.pairs = 0
        self.warm_at: float | None = None
        self.worked = 0.0
        """CPU s of this process when the clock was started."""
        self._seconds, self._began = seconds, time.perf_counter()  # the clock of `Stats`

    def see(self, stats: Stats) -> None:
        """After each frame."""
        now = stats.clock()
        if self.stop.is_set():
            self.over.set()
        if self.warm_at is None:
            if stats.frames >= WARM_UP or now - self._began > self._seconds / 2:
                stats.restart()
                self.warm_at, self.worked = now, time.process_time()
            return
        self.pairs += 1
        if self.pairs >= LEAST and now - self.warm_at > self._seconds:
            self.over.set()
