"""An opened video file, decoded packet by packet: what is broken is counted, and decoding goes on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.error import EOFError as EndOfStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from engines.cores import decoder_threads
from pipeline.frames import MAX_SIDE, InputError

if TYPE_CHECKING:
    from pipeline.device_frames import Decoder

READ_ATTEMPTS = 20
"""Read errors in a row after which the rest of the file is given up; a bad disk sector costs one."""

_log = logging.getLogger(__name__)
_NO_VIDEO = ("tty",)  # FFmpeg plays text files as the film of a terminal
_LOCAL_ONLY = {"protocol_whitelist": "file,crypto,data"}  # a playlist must not reach for the network


class VideoFile:
    """The first video stream of a file. One thread at a time; `close` may be called twice."""

    def __init__(self, path: Path, *, threads: int = 0, decoder: Decoder | None = None) -> None:
        """Open a file. Raises InputError if it holds no video, or none for this decoder.

        threads: of FFmpeg's own decoder, 0 for what suits the cores. decoder: of a device, in its place.
        """
        self.path = path
        self.broken = 0
        """Packets so far that could not be read or decoded."""
        self.corrupt = 0
        """Frames so far that the decoder marked as damaged."""
        self.decoded = 0
        """Frames so far."""
        self.is_closed = False
        """Whether `close` was called; frames() ends then."""
        self.container = _opened(path, decoder)
        try:
            self.streams = _video_streams(self.container, path.name)
            self.stream = self.streams[0]
            self.stream.thread_type = "AUTO"  # both before the first decode
            self.stream.codec_context.thread_count = 1 if decoder else decoder_threads(threads)
        except BaseException:
            self.container.close()
            raise

    def frames(self) -> Iterator[VideoFrame]:
        """Decoded frames from the current position to the end, in display order."""
        for packet in self.packets():
            try:
                frames = self.stream.decode(packet)
            except EndOfStream:
                return
            except FFmpegError as error:
                self._count_broken(error)
                continue
            for frame in frames:
                if self.is_closed:
                    return
                self.decoded += 1
                self.corrupt += frame.is_corrupt
                yield frame

    def seek(self, pts: int) -> bool:
        """Go to the key frame at or before a pts of the stream; False if the file cannot be sought."""
        try:
            self.container.seek(pts, stream=self.stream, backward=True)
        except FFmpegError as error:
            _log.debug("%s: no seeking: %s", self.path.name, error)
            return False
        return True

    def close(self) -> None:
        """Close the file; frames handed out stay valid."""
        self.is_closed = True
        self.container.close()

    def packets(self) -> Iterator[Packet[VideoStream] | None]:
        """Packets as stored, from the current position on, at last None (or an empty packet): flush the decoder."""
        failures = 0
        while failures < READ_ATTEMPTS:
            try:
                for packet in self.container.demux(self.stream):
                    failures = 0
                    yield packet
                    if self.is_closed:  # reading on would crash: demux() does not look
                        return
                return
            except FFmpegError as error:  # demux() ends with an error, but reading can go on
                failures += 1
                self._count_broken(error)
            except IndexError:  # PyAV 18.1: a stream that appears halfway (damaged TS) breaks the end of demux()
                break
        yield None

    def _count_broken(self, error: FFmpegError) -> None:
        self.broken += 1
        _log.debug("%s: packet %d: %s", self.path.name, self.broken, error)


def _opened(path: Path, decoder: Decoder | None) -> av.container.InputContainer:
    """The container of a file, opened by its exact name. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path}: no such file; check the name")
    if not path.is_file():
        raise InputError(f"{path}: not a file; give a video file, an image, or a folder of images")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: empty file (0 bytes), not a video; copy it again")
        # "file:" and an absolute name: no colon, no leading dash is taken for a protocol or an option.
        name = "file:" + os.path.abspath(path)
        opener = decoder.open if decoder else av.open
        return opener(name, container_options=_LOCAL_ONLY, metadata_errors="replace")
    except (FFmpegError, OSError, ValueError, NotImplementedError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {_why_not(path, error)}") from error


def _why_not(path: Path, error: Exception) -> str:
    """The reason and the remedy for a file that FFmpeg does not open."""
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    with path.open("rb") as file:
        is_mp4 = file.read(8)[4:] == b"ftyp"
    if is_mp4:
        return f"MP4 without its index, cut short while recorded or copied ({reason}); copy it again or repair it"
    return f"not a video that FFmpeg can read ({reason}); give a video file, an image, or a folder of images"


def _video_streams(container: av.container.InputContainer, name: str) -> list[VideoStream]:
    """The streams that are moving pictures: no cover art. Raises InputError if there is none that can be decoded."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams or container.format.name in _NO_VIDEO:
        raise InputError(f"{name}: holds no video stream; give a file with video")
    if streams[0].codec_context is None:
        raise InputError(f"{name}: no decoder for its video; convert it, e.g. to H.264")
    check_size(streams[0].width, streams[0].height, name)
    return streams


def check_size(width: int, height: int, name: str) -> None:
    """Raise InputError for a frame size, px, past `MAX_SIDE`. 0 is allowed here: not known before decoding."""
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{name}: frames of {width}x{height}, at most {MAX_SIDE} a side; scale the file down first")
