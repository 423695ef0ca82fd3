"""A video file as a source of frames: exact time, upright full-range luma, and an account of what was missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

from av.video.frame import VideoFrame

from pipeline.device_frames import Decoder, DeviceReader, why_on_host
from pipeline.frames import Frame, InputError, StreamInfo
from pipeline.video_decode import VideoFile, check_size
from pipeline.video_facts import carried_tags, has_clock, nominal_rate
from pipeline.video_planes import PlaneReader, layout_of
from pipeline.video_promise import Ledger, shortfall


class VideoSource:
    """Frames of a video file. One thread at a time: `close` only after the thread that reads has stopped reading."""

    def __init__(
        self,
        path: Path,
        *,
        start: float | None = None,
        end: float | None = None,
        rate: Fraction | None = None,
        threads: int = 0,
        decoder: Decoder | None = None,
    ) -> None:
        """Open a file and decode its first frame, which alone tells the true pixel format and rotation.

        start, end: s from the first frame, end excluded. rate: frames/s for files that do not tell theirs.
        threads: of the decoder, 0 for what suits it. decoder: of a device, whose memory frames are to stay in where
        that can be, see `why_on_host`. Raises InputError.
        """
        self.why_on_host = why_on_host(path, decoder) if decoder else None
        """Why frames come as arrays though a device's decoder was given."""
        self._decoder = None if self.why_on_host else decoder
        self._path, self._threads = path, threads
        self._iterated = False
        self._backward = 0
        self._missing: str | None = None
        self._holes = 0
        self._file = self._opened()
        try:
            self._decoded = self._file.frames()
            self._first = self._decode_first()
            self._has_clock = self._first.pts is not None and has_clock(self._file.container)
            self._is_timed = self._has_clock or (self._first.pts is not None and rate is None)
            self._reader = (
                DeviceReader(self._decoder, self._first, path.name)
                if self._decoder
                else PlaneReader(layout_of(self._first), path.name)
            )
            self._rate_given = rate
            self._info = self._describe()
        except BaseException:
            self.close()
            raise
        self._start_pts = self._pts_at(start)
        self._end_pts = self._pts_at(end)

    @property
    def info(self) -> StreamInfo:
        return self._info

    @property
    def is_on_device(self) -> bool:
        """Frames are `DevicePicture`s, save those that differ from the first."""
        return self._decoder is not None

    @property
    def is_timed(self) -> bool:
        """Frames have the times that are in the file; else their number and the rate make them."""
        return self._is_timed

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; frames handed out stay valid. May be called twice."""
        self._file.close()

    def narrow(self, begin: int | None, end: int | None) -> None:
        """Read only frames from pts begin on and before pts end, None for no bound. Call before `frames`."""
        self._start_pts, self._end_pts = begin, end

    def frames(self) -> Iterator[Frame]:
        """Frames with strictly increasing pts; planes are read-only views where the file's format allows.

        Raises InputError if there is none between start and end, or a time stamp is missing and cannot be made up.
        """
        if self._iterated:
            raise RuntimeError("frames() of a source can be iterated once; open it again")
        self._iterated = True
        ledger, to_end = Ledger(self._info.rate), True
        above, below = self._info.time_base.as_integer_ratio()  # quotients round as fractions do, ten times as fast
        for frame, pts in self._timed(self._from_start()):
            if self._start_pts is not None and pts < self._start_pts:
                continue
            if self._end_pts is not None and pts >= self._end_pts:
                to_end = False
                break
            luma, chroma = self._reader.read(frame)
            time = pts * above / below
            ledger.add(time, (frame.duration or 0) * above / below if self._is_timed else 0.0)
            yield Frame(luma, chroma, pts, time, ledger.count - 1)
        if self._file.is_closed:
            return
        if not ledger.count:
            raise InputError(f"{self._info.name}: no frame between --start and --end; choose a part inside the video")
        from_start = self._start_pts is None
        self._missing = shortfall(self._file, ledger, from_start=from_start, to_end=to_end, is_timed=self._is_timed)
        self._holes = ledger.holes if self._is_timed and not self._missing else 0

    def complaints(self) -> list[str]:
        """One line each for what was not as the file promised: frames missing, damaged, out of order."""
        file = self._file
        return self._lines_that_apply(
            (self._missing, self._missing),
            (file.broken, f"packets that could not be read or decoded, skipped: {file.broken}"),
            (file.corrupt, f"damaged frames: {file.corrupt}"),
            (self._backward, f"frames whose time stamp repeats or goes back, left out: {self._backward}"),
        )

    def remarks(self) -> list[str]:
        """One line each for what is odd: holes in its time, frames of another size, no time stamps, more streams."""
        layout, rate, changed = self._reader.layout, self._info.rate, self._reader.changed
        shape = f"{layout.width}x{layout.height} {layout.format}"
        return self._lines_that_apply(
            (self._holes, f"holes in its time, as if {self._holes} frames at {rate} frames/s had not been recorded"),
            (changed, f"frames of another size or pixel format, brought to {shape}: {changed}"),
            (layout.turn is None, "it asks for a rotation that is not a multiple of 90 degrees; not rotated"),
            (len(self._file.streams) > 1, f"it holds {len(self._file.streams)} video streams; only the first is used"),
            (not (self._has_clock or self._rate_given), f"it has no time stamps; timed at {rate} frames/s"),
        )

    def _lines_that_apply(self, *lines: tuple[object, str | None]) -> list[str]:
        return [f"{self._info.name}: {line}" for applies, line in lines if applies]

    def _decode_first(self) -> VideoFrame:
        """The first frame of the file. Raises InputError if there is none, or it is too large."""
        name = self._path.name
        try:
            frame = next(self._decoded, None)
        except ValueError as error:
            raise InputError(f"{name}: its video cannot be decoded ({error}); convert it, e.g. to H.264") from error
        if frame is None:
            raise InputError(f"{name}: not one frame can be decoded; the file is damaged or cut short, copy it again")
        check_size(frame.width, frame.height, name)
        return frame

    def _describe(self) -> StreamInfo:
        stream, layout = self._file.stream, self._reader.layout
        nominal = nominal_rate(stream, is_timed=self._is_timed)
        rate = (nominal or self._rate_given) if self._is_timed else (self._rate_given or nominal)
        time_base = stream.time_base if self._is_timed else rate and 1 / rate
        if not time_base:
            raise InputError(f"{self._path.name}: no timestamps and no frame rate; pass --rate")
        width, height = layout.width, layout.height
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if layout.turn and layout.turn.transposed:
            width, height, aspect = height, width, 1 / aspect
        return StreamInfo(
            name=self._path.name,
            width=width,
            height=height,
            time_base=time_base,
            rate=rate,
            bits=layout.bits,
            frames=stream.frames or None,
            colour=layout.colour,
            sample_aspect=aspect,
            metadata=carried_tags(self._file.container, stream),
            start_pts=(self._first.pts or 0) if self._is_timed else 0,
        )

    def _pts_at(self, seconds: float | None) -> int | None:
        """The first pts at or after a time, s from the first frame."""
        if seconds is None:
            return None
        exact = Fraction(seconds).limit_denominator(1_000_000)  # 0.1 is meant as 1/10, not as the float next to it
        return self._info.start_pts + math.ceil(exact / self._info.time_base)

    def _from_start(self) -> Iterator[VideoFrame]:
        """Decoded frames from the key frame before start on, or from the first one where seeking does not work."""
        target = self._start_pts
        if target is None or target <= self._info.start_pts or not self._is_timed:
            return chain([self._first], self._decoded)
        if self._file.seek(min(target, 2**62)):
            frames = self._file.frames()
            head = next(frames, None)
            if head is not None and head.pts is not None and head.pts <= target:
                return chain([head], frames)
        self._file.close()  # some files are sought to a wrong place, some not at all: read from the beginning
        self._file = self._opened()
        return self._file.frames()

    def _opened(self) -> VideoFile:
        return VideoFile(self._path, threads=self._threads, decoder=self._decoder)

    def _timed(self, frames: Iterator[VideoFrame]) -> Iterator[tuple[VideoFrame, int]]:
        """Frames with their pts, strictly increasing; a missing one follows from the one before and the rate."""
        last: int | None = None
        for position, frame in enumerate(frames):
            pts = frame.pts if self._is_timed else position
            if pts is None:
                pts = self._info.start_pts if last is None else last + self._step()
            if last is not None and pts <= last:
                self._backward += 1
                continue
            last = pts
            yield frame, pts

    def _step(self) -> int:
        """Units of pts from one frame to the next at the nominal rate."""
        if self._info.rate is None:
            raise InputError(f"{self._info.name}: no timestamps and no frame rate; pass --rate")
        return max(round(1 / (self._info.rate * self._info.time_base)), 1)
