"""How fast and how late a live run is, over its last frames: memory does not grow with the days."""

from __future__ import annotations

import math
import threading
from collections import deque

WINDOW = 512
"""Frames that percentiles are taken over: 20 s at 25 frames/s."""
RECENT = 5.0
"""s that the frames per second are counted over."""


class Meter:
    """Output frames, their latency, skew and stages. One thread counts, any thread reads."""

    def __init__(self) -> None:
        self.frames = 0
        """Put out so far."""
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=WINDOW)
        self._values: dict[str, deque[float]] = {}

    def count(self, now: float, values: dict[str, float]) -> None:
        """One frame came out at `now` s; values in ms by name, those not known (nan) left out."""
        with self._lock:
            self.frames += 1
            self._times.append(now)
            for name, value in values.items():
                if math.isfinite(value):
                    self._values.setdefault(name, deque(maxlen=WINDOW)).append(value)

    def fps(self, now: float) -> float:
        """Frames per second over the last seconds: n frames span n - 1 gaps. nan below two."""
        with self._lock:
            times = [time for time in self._times if now - time <= RECENT]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else math.nan

    def summary(self, name: str) -> dict[str, float]:
        """Percentiles 50 and 95 of the sizes, and the last value; empty before the first."""
        with self._lock:
            values = list(self._values.get(name, ()))
        if not values:
            return {}
        sizes = sorted(map(abs, values))
        return {"p50": _percentile(sizes, 0.5), "p95": _percentile(sizes, 0.95), "last": values[-1]}


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
