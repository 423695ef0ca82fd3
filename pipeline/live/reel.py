"""The files of a recording, one after another: where one ends the next begins, with no frame lost or doubled."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.align import scale
from pipeline.encoding import SinkSettings, check_settings
from pipeline.frames import Frame, InputError, OutputError, StreamInfo
from pipeline.live.retention import Retention, segment_path
from pipeline.video_sink import VideoSink

log = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".mkv", ".ts")
"""What a recording can be: types that are playable when their writer was killed."""
MIN_FREE = 512 * 2**20
"""Bytes a recording leaves free by default: a system without any does worse things than not to record."""


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """Where and how to record. Checked by `Reel`, which raises InputError."""

    path: Path
    """The file; with `segment` the pattern of many, see `retention.segment_path`."""
    segment: float | None = None
    """s after which a new file begins; None: one file."""
    keep_age: float | None = None
    """s that a finished segment is kept; None: for ever."""
    keep_bytes: int | None = None
    """Of all segments together; None: no limit."""
    min_free: int = MIN_FREE
    """Bytes of the disk that are never used."""
    sink: SinkSettings = field(default_factory=SinkSettings)
    """Encoder; `is_live` is set by the reel."""


class Reel:
    """Writes frames into the file that is open, or into the next. One thread.

    A file closed in between, because the disk was full, is followed by another; it then has a name by the wall clock
    even without segments.
    """

    def __init__(
        self,
        info: StreamInfo,
        settings: RecordSettings,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """info: of the files; frames of another size are scaled to it. wall: s since 1970, for names only.

        Nothing is written before the first frame. Raises InputError for settings that cannot be used.
        """
        self._info = info
        self._settings = settings = replace(settings, sink=replace(settings.sink, is_live=True))
        self._wall = wall
        _check(settings)
        self._retention: Retention | None = None
        if settings.segment:
            age, size = settings.keep_age, settings.keep_bytes
            self._retention = Retention(settings.path, max_age=age, max_bytes=size, wall=wall, clock=clock)
        self._sink: VideoSink | None = None
        self._first = self._last = 0  # pts of the open file
        self._whole_bytes = 0  # of it, up to the end of its last whole fragment
        self._finished_bytes = 0
        self._finished_seconds = 0.0
        self._is_scaling_told = False
        self.path: Path | None = None
        """The file being written, or the last one."""
        self.frames = 0
        self.files = 0

    def write(self, frame: Frame) -> None:
        """Store one frame, later than the one before. Raises OutputError; call `cut` then."""
        length = (frame.pts - self._first) * self._info.time_base
        if self._sink is not None and self._settings.segment and length >= self._settings.segment:
            self.cut()
        if self._sink is None:
            self._open(frame)
        assert self._sink is not None
        self._sink.write(self._scaled(frame))
        self._whole_bytes = self._open_bytes()
        self._last = frame.pts
        self.frames += 1

    def cut(self) -> None:
        """Finish the open file, if any, and delete what has become too much. Raises OutputError; it is closed then."""
        sink, path = self._sink, self.path
        if sink is None or path is None:
            return
        self._finished_seconds, self._sink = self.seconds, None
        try:
            sink.close()
        finally:
            if sink.has_failed:
                self._trim(path)
            with suppress(OSError):
                self._finished_bytes += path.stat().st_size
            if self._retention is not None:
                self._retention.finished(path)
                self.sweep()

    def sweep(self) -> None:
        """Delete finished files that are too old or too much."""
        if self._retention is not None:
            for path in self._retention.sweep(growing=self._open_bytes()):
                log.info("deleted %s: no longer to be kept", path)

    @property
    def seconds(self) -> float:
        """s recorded, in all files."""
        length = float((self._last - self._first) * self._info.time_base) if self._sink is not None else 0.0
        return self._finished_seconds + length

    @property
    def size(self) -> int:
        """Bytes written, to all files."""
        return self._finished_bytes + self._open_bytes()

    def _open(self, frame: Frame) -> None:
        """Begin a file with this frame: an encoder of its own, so it begins with a key frame."""
        given = self._settings.path
        path = segment_path(given, self._wall()) if self._settings.segment or self.files else given
        try:
            self._sink = VideoSink(path, replace(self._info, start_pts=frame.pts), self._settings.sink)
        except InputError as error:
            raise OutputError(str(error)) from error
        self.path, self._first, self._last, self._whole_bytes = path, frame.pts, frame.pts, 0
        self.files += 1

    def _trim(self, path: Path) -> None:
        """Take the torn last piece off a file that could not be written on, so that readers end without an error."""
        with suppress(OSError):
            if 0 < self._whole_bytes < path.stat().st_size:
                os.truncate(path, self._whole_bytes)

    def _scaled(self, frame: Frame) -> Frame:
        """The frame at the output's size."""
        height, width = frame.luma.shape
        size = self._info.width, self._info.height
        if (width, height) != size and not self._is_scaling_told:
            self._is_scaling_told = True
            log.warning("the picture is now %dx%d: the recording keeps its %dx%d and scales it", width, height, *size)
        return scale(frame, size)

    def _open_bytes(self) -> int:
        with suppress(OSError):
            if self._sink is not None and self.path is not None:
                return self.path.stat().st_size
        return 0


def _check(settings: RecordSettings) -> None:
    """Raise InputError for settings that cannot be used."""
    path = settings.path
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a recording is {', '.join(SUFFIXES)}: these stay playable; name one of them")
    if not path.parent.is_dir():
        raise InputError(f"{path}: {path.parent} is no folder; create it or name another")
    if settings.segment is None and (settings.keep_age is not None or settings.keep_bytes is not None):
        raise InputError(f"{path}: one file cannot be kept in part; pass --segment, like 10m, or keep everything")
    if settings.segment is not None and not settings.segment >= 1:
        raise InputError(f"segment of {settings.segment} s: give 1 s or more")
    if settings.min_free < 0:
        raise InputError(f"min free {settings.min_free}: give bytes, 0 or more")
    if settings.segment is None and path.exists() and not settings.sink.overwrite:
        raise InputError(f"{path}: exists; pass --overwrite or name another output")
    check_settings(settings.sink, path)
