"""How often one live camera's frames are taken, and how late they come, read from its last frames."""

from __future__ import annotations

import math
import statistics
from collections import deque

WINDOW = 32
"""Frames of a side from which its rhythm is read: one or two seconds, so that a change of rate is followed."""
SURE = 8
"""Gaps from which the shortest one is believed."""
CAUTION = 0.5
"""How much further below the shortest gap seen the next may be, as a share of what that one is below the usual."""
SLACK = 0.005
"""s that a frame may be later than every one in the window."""


class Rhythm:
    """How often one camera's frames are taken, and how late they come."""

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=WINDOW)
        self._lags: deque[float] = deque(maxlen=WINDOW)
        self.last = -math.inf
        """s, time of the newest frame."""

    def note(self, time: float, now: float) -> None:
        """Count a frame taken at `time`, later than the one before, and seen at `now`."""
        if math.isfinite(self.last):
            self._gaps.append(time - self.last)
        self._lags.append(now - time)
        self.last = time

    @property
    def period(self) -> float | None:
        """s from frame to frame, the median: a lost frame or a pause changes nothing. None before the second."""
        return statistics.median(self._gaps) if self._gaps else None

    @property
    def shortest(self) -> float:
        """s that the next frame is after the last one at least; 0 while too little is known."""
        if len(self._gaps) < SURE or (period := self.period) is None:
            return 0.0
        least = min(self._gaps)
        return max(0.0, least - CAUTION * (period - least) - SLACK)

    @property
    def lag(self) -> float | None:
        """s after it was taken by which a frame is there, by experience; None before the first."""
        return max(self._lags) + SLACK if self._lags else None
