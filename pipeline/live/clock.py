"""When a frame was taken: a source's own time stamps laid on `time.monotonic`, whose wall clock nobody may touch.

A frame arrives late by the network's and the decoder's delay, never early. So of arrival minus time stamp the lower
envelope is the true offset plus the least delay (which no receiver can see), and its slope is the drift of the two
clocks: the line under all points whose edge of the lower hull lies over their middle (Moon, Skelly, Towsley:
"Estimation and Removal of Clock Skew from Network Delay Measurements", INFOCOM 1999, state the problem; the hull
solves it).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

ClockMode = Literal["pts", "arrival"]

BUCKET = 1.0
"""s of arrivals of which only the least delayed is kept."""
BUCKETS = 120
"""How many are kept for the slope: two minutes bound the memory and the time to forget."""
FLOOR_BUCKETS = 30
"""How many of the newest hold the line down; a delay that grew for good is believed after so many."""
SLOPE_SPAN = 10.0
"""s of arrivals before a slope is believed: at 1 frame in 80 s the error until then is 4 ms."""
MAX_SLOPE = 0.05
"""Largest drift followed, s per s: cameras that count 30 frames a second where they take 29.5."""
STEP = 0.05
"""s by which a frame must undercut the line to show that the delay shrank at once: what came before says no more."""
JUMP = 1.0
"""s that time stamps must leap, against arrivals, to be taken for another clock rather than a delay."""
WRAPS = (2**33 / 90_000, 2**32 / 90_000)
"""s after which 33 bits (MPEG-TS) and 32 bits (RTP) of a 90 kHz clock begin again."""
PATIENCE = 0.5
"""s that times guessed from the period may trail the arrivals."""
TICK = 1e-6
"""s between captured times at least: they are told in microseconds and always rise."""


class Envelope:
    """The line under arrival minus time stamp. Bounded memory; one thread."""

    def __init__(self) -> None:
        self.slope = 0.0
        """s of offset gained per s."""
        self._points: deque[tuple[float, float]] = deque(maxlen=BUCKETS)
        self._newest: tuple[float, float] | None = None
        self._floor = math.inf  # of the finished buckets, at arrival 0 along the slope

    def add(self, arrival: float, offset: float) -> float:
        """Take one frame in and return the line at its arrival, s; never above its offset."""
        if self._newest is not None and offset < self.at(arrival) - STEP:
            self._points.clear()
            self._newest, self._floor = None, math.inf
        newest = self._newest
        if newest is None:
            self._newest = (arrival, offset)
        elif math.floor(newest[0] / BUCKET) != math.floor(arrival / BUCKET):
            self._finish(newest)
            self._newest = (arrival, offset)
        elif offset - self.slope * arrival < newest[1] - self.slope * newest[0]:
            self._newest = (arrival, offset)
        return min(self.at(arrival), offset)

    def restart(self) -> None:
        """Forget the offset and keep the drift: the same clocks, set anew."""
        self._points.clear()
        self._newest, self._floor = None, math.inf

    def at(self, arrival: float) -> float:
        """The line at an arrival, s; inf before the first frame."""
        floor = self._floor
        if self._newest is not None:
            floor = min(floor, self._newest[1] - self.slope * self._newest[0])
        return floor + self.slope * arrival

    def _finish(self, point: tuple[float, float]) -> None:
        self._points.append(point)
        if point[0] - self._points[0][0] >= SLOPE_SPAN:
            self.slope = min(max(_middle_slope(self._points), -MAX_SLOPE), MAX_SLOPE)
        recent = list(self._points)[-FLOOR_BUCKETS:]
        self._floor = min(offset - self.slope * arrival for arrival, offset in recent)


class SourceClock:
    """Captured times of one source's frames, strictly rising whatever its time stamps do. One thread."""

    def __init__(self, mode: ClockMode = "pts", on_odd: Callable[[str, str], None] = lambda kind, text: None) -> None:
        """mode: `pts`, or `arrival` for sources whose time stamps lie. on_odd: told a kind and a line, each time."""
        self.mode = mode
        self._on_odd = on_odd
        self._envelope = Envelope()
        self._captured = -math.inf
        self._period = 0.0
        self._last: tuple[float, float] | None = None  # time stamp and arrival, s
        self._shift = 0.0  # s added to time stamps: wraps so far

    def restart(self) -> None:
        """A new connection: its time stamps have nothing to do with those before, captured times still rise."""
        self._last, self._shift = None, 0.0
        self._envelope.restart()

    def captured(self, pts: float | None, arrival: float) -> float | None:
        """When the frame was taken, s of time.monotonic, at most its arrival; None if it must be left out.

        pts: its time stamp, s, None if it has none. Left out are frames out of order, which belong before one gone.
        """
        if self.mode == "arrival":
            return self._rising(arrival)
        if pts is None or not math.isfinite(pts):
            if self._last is not None:  # the first frame of RTSP never has one
                self._on_odd("missing", "frames without a time stamp; placed by their neighbours")
            return self._rising(self._guess(arrival))
        pts += self._shift
        if self._last is not None:
            pts = self._unwrapped(pts, arrival)
            step = pts - self._last[0]
            if step == 0:
                self._on_odd("duplicate", "frames that repeat a time stamp; placed by their neighbours")
                return self._rising(self._guess(arrival))
            if -JUMP <= step < 0:
                self._on_odd("order", "frames out of order; left out")
                return None
            self._follow(step, pts, arrival)
        self._last = (pts, arrival)
        return self._rising(pts + self._envelope.add(arrival, arrival - pts))

    def _unwrapped(self, pts: float, arrival: float) -> float:
        """The time stamp with the period of a counter added that has just begun again."""
        last, then = self._last or (pts, arrival)
        for wrap in WRAPS if pts < last - JUMP else ():
            if abs(pts + wrap - last - (arrival - then)) < JUMP:
                self._on_odd("wrap", "its counter of time began again; followed")
                self._shift += wrap
                return pts + wrap
        return pts

    def _follow(self, step: float, pts: float, arrival: float) -> None:
        """See whether this step still belongs to the clock so far, and learn the period from it."""
        early = (self._last or (pts, arrival))[1] + step - arrival
        if step < 0 or (early > JUMP and step > JUMP and self._undercuts(pts, arrival)):
            self._on_odd("jump", f"its time stamps jumped by {step:+.1f} s; followed")
            self._envelope.restart()
        elif step < JUMP:
            self._period = step if not self._period else self._period + (step - self._period) / 8

    def _undercuts(self, pts: float, arrival: float) -> bool:
        """Whether a frame comes from further ahead than any delay explains."""
        return arrival - pts < self._envelope.at(arrival) - JUMP

    def _guess(self, arrival: float) -> float:
        """Where a frame without a usable time stamp belongs: a period after the last if that is near its arrival."""
        guess = self._captured + self._period
        return guess if self._period and arrival - PATIENCE < guess < arrival else arrival

    def _rising(self, captured: float) -> float:
        """The time, or the least later than the last one given out."""
        self._captured = max(captured, self._captured + TICK)
        return self._captured


def _middle_slope(points: deque[tuple[float, float]]) -> float:
    """Slope of that edge of the lower convex hull that lies over the points' middle. Points rise in x; at least 2."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1 and _turns_right(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    middle = (points[0][0] + points[-1][0]) / 2
    for (x0, y0), (x1, y1) in pairwise(hull):
        if x1 >= middle:
            return (y1 - y0) / (x1 - x0)
    return 0.0


def _turns_right(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies on or above the line from a to c: not a corner of the lower hull."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0
