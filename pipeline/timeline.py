"""When each picture of an output shows and for how long: the source's times, as exact as file type and codec allow."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from av.packet import Packet
from av.video.frame import VideoFrame

from pipeline.frames import InputError, StreamInfo

NOMINAL_RATE = Fraction(25)
"""Frames per second told to an encoder when the rate is unknown: steers its rate control, never a time stamp."""

_MPEG4_LIMIT = 65535
"""Largest denominator of a time base in MPEG-4 part 2 (ISO/IEC 14496-2: 16 bits)."""

_NOTICED = Fraction(1, 1000)
"""s a picture may be off before it is counted as moved: what MKV rounds to anyhow."""


class Timeline:
    """Stamps the pictures of one output, in order, and sets right the packets of an encoder that only counts."""

    def __init__(self, info: StreamInfo, *, on_grid: bool, counts_frames: bool) -> None:
        """on_grid: the file type knows whole frames only (AVI). counts_frames: as in `encoding.Encoder`.

        Raises InputError for a grid without a frame rate.
        """
        if on_grid and info.rate is None:
            raise InputError(f"rate of {info.name} unknown: .avi needs one; pass --rate or name the output .mkv")
        self._info = info
        self._on_grid = on_grid
        self.rate = info.rate or NOMINAL_RATE
        """Frames per second to tell the encoder."""
        self.time_base = 1 / self.rate if on_grid else info.time_base
        """s per unit of the times in the file."""
        self.encoder_base = (1 / self.rate).limit_denominator(_MPEG4_LIMIT) if counts_frames else self.time_base
        """s per unit of the times the encoder is given."""
        self._step = None if info.rate is None else max(1, round(1 / info.rate / self.time_base))
        self._waiting: deque[tuple[int, int]] | None = deque() if counts_frames else None
        self._last: int | None = None
        self._gap: int | None = None
        self.count = 0
        """Pictures stamped."""
        self.moved = 0
        """Pictures that do not show when the source said, because of the grid."""

    @property
    def end(self) -> Fraction:
        """s on the output's timeline, when the last picture stamped stops to show; 0 before the first."""
        return Fraction(0) if self._last is None else (self._last + self._duration()) * self.time_base

    def stamp(self, picture: VideoFrame, pts: int) -> None:
        """Set time and duration of the picture that the source dated `pts`, in its time base."""
        place = self._place(pts)
        if self._last is not None:
            self._gap = place - self._last
        self._last = place
        duration = self._duration()
        if self._waiting is not None:
            self._waiting.append((place, duration))
            place, duration = self.count, 1
        picture.pts, picture.duration, picture.time_base = place, duration, self.encoder_base
        self.count += 1

    def restore(self, packet: Packet) -> None:
        """Give a packet of an encoder that counts its picture's own time; others carry theirs already."""
        if self._waiting is not None:
            packet.pts, packet.duration = self._waiting.popleft()
            packet.dts, packet.time_base = packet.pts, self.time_base

    def _place(self, pts: int) -> int:
        """The time in `time_base`, 0 at the output's start, always later than the one before."""
        since_start = pts - self._info.start_pts
        if not self._on_grid:
            return since_start
        exact = since_start * self._info.time_base / self.time_base
        place = round(exact) if self._last is None else max(round(exact), self._last + 1)
        self.moved += abs(place - exact) * self.time_base > _NOTICED
        return place

    def _duration(self) -> int:
        """Units of `time_base` the latest picture shows: one frame of the rate, else as long as the one before."""
        return self._step or self._gap or 1
