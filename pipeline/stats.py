"""How long each stage takes and how many frames a second come out, in memory that does not grow with the video."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

GROWTH = 1.02
"""Ratio of neighbouring bucket edges: percentiles are within 1 %."""
SMALLEST_MS = 1e-4


class Durations:
    """Counts of durations in logarithmic buckets: about 1200 at most, from 0.1 us to an hour. One writing thread."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total_ms = 0.0

    def add(self, ms: float) -> None:
        """Count one duration."""
        self._buckets[round(math.log(max(ms, SMALLEST_MS), GROWTH))] += 1
        self.count += 1
        self.total_ms += ms

    def percentile_ms(self, share: float) -> float:
        """The duration that `share` (0..1) of all do not exceed, within 1 %; nan if there is none."""
        if not self.count:
            return math.nan
        rank, seen = max(1, math.ceil(share * self.count)), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return GROWTH**bucket
        raise AssertionError("unreachable: the buckets hold every duration")


class Stats:
    """Durations by stage and the rate of output frames. Each stage is timed by one thread."""

    STAGES = ("decode ir", "decode vis", "sync", "align", "fuse", "compose", "write")

    def __init__(self) -> None:
        self.stages = {name: Durations() for name in self.STAGES}
        self.clock = time.perf_counter
        self.frames = 0
        self.ended = math.nan  # on the clock, once the output is closed
        self._first = self._last = 0.0

    def restart(self) -> None:
        """Forget everything so far, after a warm-up; the last frame becomes the start of the first gap."""
        self.stages = {name: Durations() for name in self.STAGES}
        self.frames, self._first = 1, self._last

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Time the body as one call of a stage."""
        began = self.clock()
        yield
        self.stages[stage].add(1000 * (self.clock() - began))

    def timed_items(self, stage: str, items: Iterator[T]) -> Iterator[T]:
        """The same items, the time to make each counted."""
        while True:
            began = self.clock()
            try:
                item = next(items)
            except StopIteration:
                return
            self.stages[stage].add(1000 * (self.clock() - began))
            yield item

    def frame_done(self, now: float | None = None) -> None:
        """A frame came out. now: s on any steady clock."""
        self._last = self.clock() if now is None else now
        if not self.frames:
            self._first = self._last
        self.frames += 1

    @property
    def fps(self) -> float:
        """Frames per second: n frames span n - 1 gaps. nan below two frames."""
        if self.frames < 2 or self._last <= self._first:
            return math.nan
        return (self.frames - 1) / (self._last - self._first)

    def to_json(self) -> dict[str, object]:
        """Plain values: frames, fps (None below two frames), and per stage count, p50, p95, p99, mean in ms."""
        return {
            "frames": self.frames,
            "fps": None if math.isnan(self.fps) else round(self.fps, 3),
            "stages_ms": {name: _summary(durations) for name, durations in self.stages.items() if durations.count},
        }


def _summary(durations: Durations) -> dict[str, float]:
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    percentiles = {name: round(durations.percentile_ms(share), 4) for name, share in shares.items()}
    return {"count": durations.count, **percentiles, "mean": round(durations.total_ms / durations.count, 4)}
