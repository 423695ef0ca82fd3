"""Counts of how long things took, in the buckets a histogram of Prometheus has. No library: the line fills it."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from dataclasses import dataclass, field

TIMES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""s, upper bounds of buckets: from one plane copied to a camera that hangs."""
SKEWS = (-0.1, -0.05, -0.02, -0.01, -0.005, -0.002, 0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""s, upper bounds for the distance within a pair, which has a sign."""


@dataclass(slots=True)
class Tally:
    """How many values fell into each bucket. Any thread may add and read."""

    bounds: tuple[float, ...] = TIMES
    counts: list[int] = field(default_factory=list)
    """One more than bounds: the last is for what is above all of them."""
    total: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value; one that is not a number is left out."""
        if not math.isfinite(value):
            return
        with self._lock:
            self.counts[bisect_left(self.bounds, value)] += 1
            self.total += value

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by upper bound as text, `+Inf` last, and the sum of all values."""
        with self._lock:
            counts, total = list(self.counts), self.total
        rows, reached = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), counts, strict=True):
            reached += count
            rows.append((bound, float(reached)))
        return rows, total
