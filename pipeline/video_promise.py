"""Whether a video file kept what it promised, by count and by duration; and the holes in its time."""

from __future__ import annotations

from fractions import Fraction

from pipeline.video_decode import VideoFile
from pipeline.video_facts import indexed_frames, is_cut, is_mp4, promised_end

REGULAR = 0.25
"""An interval within this part of the nominal one is a regular one; Matroska rounds 33.37 ms to 33 or 34."""

MOSTLY = 0.8
"""Share of regular intervals from which a stream counts as one of constant rate."""


class Ledger:
    """Keeps the times of the frames that came, to tell afterwards how many should have come."""

    def __init__(self, rate: Fraction | None) -> None:
        self.count = 0
        """Frames entered."""
        self._period = float(1 / rate) if rate else 0.0  # s
        self._first = self._last = self._last_end = 0.0  # s
        self._longest = 0.0  # s, between two frames
        self._regular = self._lost = 0

    def add(self, time: float, duration: float) -> None:
        """Enter a frame. time: s, greater than the one before; duration: s as the file says, 0 for unknown."""
        if self.count:
            self._add_interval(time - self._last)
        else:
            self._first = time
        self.count += 1
        self._last = time
        self._last_end = time + max(duration, self._period)

    @property
    def holes(self) -> int:
        """Frames that would fill the gaps of a stream of constant rate; 0 if its rate is not constant."""
        return self._lost if self._is_constant else 0

    @property
    def _is_constant(self) -> bool:
        return bool(self._period) and self._regular >= MOSTLY * (self.count - 1)

    def expected(self, *, start: float | None, end: float | None) -> int:
        """How many frames should have come, by what is missing before the first and after the last.

        start, end: s, None for not known. Gaps inside are no broken promise: a camera may have dropped frames.
        """
        constant = self._is_constant
        period = self._period if constant else (self._last_end - self._first) / max(self.count, 1)
        slack = period / 2 if constant else 1.5 * self._longest  # where frames are irregular, the last may be long
        lost = 0
        before = 0.0 if start is None else self._first - start
        after = 0.0 if end is None else end - self._last_end
        for missing in (before, after):
            if period and missing > slack:
                lost += max(round(missing / period), 1)
        return self.count + lost

    def _add_interval(self, interval: float) -> None:
        """interval: s, between a frame and the one before."""
        self._longest = max(self._longest, interval)
        if self._period:
            self._lost += max(round(interval / self._period), 1) - 1
            self._regular += abs(interval / self._period - 1) <= REGULAR


def shortfall(file: VideoFile, ledger: Ledger, *, from_start: bool, to_end: bool, is_timed: bool) -> str | None:
    """What is missing in a file that has been read, as half a line; None if it kept its promise.

    from_start, to_end: whether reading began at the first frame, and ended because the file did: nothing is asked
    of what was not read. is_timed: whether the times in the ledger are the file's own.
    """
    stream = file.stream
    counted = stream.frames if from_start and to_end else 0
    promised = counted
    if is_mp4(file.container) and from_start and to_end and counted != file.decoded:
        promised = indexed_frames(stream) or counted
    if promised > file.decoded:
        return _missing(promised, file.decoded)
    if is_timed and stream.time_base:
        start = stream.start_time if from_start else None
        end = promised_end(file.container, stream) if to_end else None
        expected = ledger.expected(
            start=None if start is None else float(start * stream.time_base),
            end=None if end is None else float(end),
        )
        if expected > ledger.count:
            return _missing(expected, ledger.count)
    if to_end and not counted and is_cut(file.path, file.container):
        return f"ends amid its structure after {ledger.count} frames; the file is cut short or damaged"
    return None


def _missing(promised: int, decoded: int) -> str:
    return f"promised {promised} frames, decoded {decoded}; the file is cut short or damaged"
