"""A recorded file played as if it were a camera: paced by its own time stamps, in a loop if wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.frames import InputError
from pipeline.live.address import Address
from pipeline.live.shots import OnOdd, Shot, ShotPlanes, SourceRefusedError
from pipeline.video_decode import VideoFile
from pipeline.video_facts import nominal_rate

PERIOD = 0.04
"""s from one frame to the next where a file says nothing: the last of a loop needs one."""
LATE = 0.25
"""s that a file makes up for by itself. More and all files wait: where decoding is slower than the file, frames would
come ever later, and those of a second file be ever further away."""


class Epoch:
    """When files that play together begin: one for all of them, so that they wait for the slowest. Any thread."""

    def __init__(self, at: float) -> None:
        self.at = at
        """s, on the clock of the files."""
        self._lock = threading.Lock()

    def due(self, place: float, now: float) -> tuple[float, float]:
        """When a frame so many s into the play is due, and the s by which it was put off because that is long past."""
        with self._lock:
            behind = now - (self.at + place)
            if behind > LATE:
                self.at = now - place
            return self.at + place, behind if behind > LATE else 0.0


class Playback:
    """A file as a camera. One thread; a context manager."""

    is_timed = True

    def __init__(
        self,
        address: Address,
        *,
        clock: Callable[[], float] = time.monotonic,
        epoch: Epoch | None = None,
        wait: Callable[[float], bool] = lambda seconds: threading.Event().wait(seconds),
        on_odd: OnOdd = lambda kind, text: None,
    ) -> None:
        """Open a file. clock: s. epoch: when its first frame is due; two files with one epoch stay together; None: at
        once. wait: sleeps some s, True to give up. Raises SourceRefusedError.
        """
        self._address, self._clock, self._wait = address, clock, wait
        self._epoch, self._on_odd = epoch, on_odd
        self._planes = ShotPlanes(address, on_odd)
        self._file = self._opened()

    def __enter__(self) -> Playback:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def shots(self) -> Iterator[Shot]:
        """Its pictures, each when it is due (those too late for that at once), or all as fast as they are taken.

        Ends with the file unless it loops. Raises SourceRefusedError if not one picture can be decoded.
        """
        epoch = self._epoch or Epoch(self._clock())
        start, last = 0.0, None  # s from the epoch: of this lap, of the frame before
        while True:
            first: float | None = None
            period = self._period()
            for frame in self._file.frames():
                when = frame.time
                first = when if first is None else first
                at = start + (when - first) if when is not None and first is not None else (last or start) + period
                if last is not None and at <= last:
                    continue  # a file that goes back: as `fuse` leaves such frames out
                due = self._wait_for(epoch, at, is_first=last is None)
                last = at
                if due is None:
                    return
                luma, chroma = self._planes.read(frame)
                yield Shot(luma, chroma, self._clock(), at, due, self._planes.colour)
            if last is None:
                raise SourceRefusedError(f"{self._address.place}: not one picture can be decoded; copy the file again")
            if not self._address.loop:
                return
            start = last + period
            self._file.close()
            self._file = self._opened()  # not every file can be sought

    def _opened(self) -> VideoFile:
        try:
            return VideoFile(Path(self._address.url), threads=1)
        except InputError as error:
            raise SourceRefusedError(str(error)) from None

    def _period(self) -> float:
        rate = nominal_rate(self._file.stream, is_timed=True)
        return float(1 / rate) if rate else PERIOD

    def _wait_for(self, epoch: Epoch, at: float, *, is_first: bool) -> float | None:
        """When a frame is due, once that has come; None to give up."""
        while True:
            now = self._clock()
            if not self._address.realtime:
                return epoch.at + at
            due, behind = epoch.due(at, now)
            if behind and not is_first:  # opening may take its time
                self._on_odd("late", f"fell {behind:.1f} s behind, decoding is too slow here; plays on from there")
            if due <= now:
                return due
            if self._wait(due - now):  # and look again: another file may have put it off meanwhile
                return None
