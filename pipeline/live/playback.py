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


class Playback:
    """A file as a camera. One thread; a context manager."""

    is_timed = True

    def __init__(
        self,
        address: Address,
        *,
        clock: Callable[[], float] = time.monotonic,
        epoch: float | None = None,
        wait: Callable[[float], bool] = lambda seconds: threading.Event().wait(seconds),
        on_odd: OnOdd = lambda kind, text: None,
    ) -> None:
        """Open a file. clock: s. epoch: when its first frame is due, on that clock; two files with one epoch stay
        together; None: at once. wait: sleeps some s, True to give up. Raises SourceRefusedError.
        """
        self._address, self._clock, self._wait = address, clock, wait
        self._epoch = epoch
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
        epoch = self._clock() if self._epoch is None else self._epoch
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
                last = at
                if self._address.realtime and self._wait_until(epoch + at):
                    return
                luma, chroma = self._planes.read(frame)
                yield Shot(luma, chroma, self._clock(), at, epoch + at, self._planes.colour)
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

    def _wait_until(self, due: float) -> bool:
        """False when the time has come; True to give up."""
        ahead = due - self._clock()
        return ahead > 0 and self._wait(ahead)
