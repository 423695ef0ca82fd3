"""A camera on the network or on this machine, opened by PyAV: deadlines, low delay, errors without passwords."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import av.logging
from av.codec.context import Flags
from av.container import InputContainer
from av.error import (
    FFmpegError,
    HTTPForbiddenError,
    HTTPNotFoundError,
    HTTPUnauthorizedError,
    InvalidDataError,
)
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.live.address import Address
from pipeline.live.capture_options import ffmpeg_options
from pipeline.live.login import Login
from pipeline.live.shots import OnOdd, Shot, ShotPlanes, SourceLostError
from pipeline.video_facts import has_clock

LAST_WORDS = 3
"""Lines of FFmpeg kept to explain a failure."""

_CUT_OFF = re.compile("immediate exit requested", re.IGNORECASE)  # FFmpeg's words for our deadline


class Deadline:
    """A number of seconds that runs down. PyAV asks for its time-out anew before each step of opening, so that
    connecting and probing together keep to it; a plain number would be granted to each.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock, self._end = clock, clock() + seconds

    def __float__(self) -> float:
        return max(self._end - self._clock(), 0.001)

    @property
    def is_over(self) -> bool:
        """Whether nothing, or as good as nothing, is left."""
        return self._clock() >= self._end - 0.02


class Capture:
    """An opened camera. All of it, opening included, belongs to one thread; a context manager."""

    def __init__(
        self,
        address: Address,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_odd: OnOdd = lambda kind, text: None,
        opener: Callable[..., Any] = av.open,
    ) -> None:
        """Open an address. clock: s. opener: as av.open. Raises SourceLostError within its open_timeout."""
        self._address, self._clock = address, clock
        self._planes = ShotPlanes(address, on_odd)
        self._on_odd = on_odd
        _listen_to_ffmpeg()
        self._words = av.logging.Capture()  # of this thread
        self._log = self._words.__enter__()
        try:
            self._container, self._stream = self._open(opener)
        except BaseException:
            self._words.__exit__(None, None, None)
            raise

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        self._words.__exit__(None, None, None)

    @property
    def is_timed(self) -> bool:
        """Whether its time stamps are its own: FFmpeg makes them up for MJPEG over HTTP."""
        return has_clock(self._container)

    def shots(self) -> Iterator[Shot]:
        """Pictures as they come. Raises SourceLostError at the end of the stream too: a camera has none."""
        seen = self._clock()
        for packet in self._packets():
            try:
                frames = self._stream.decode(packet)
            except FFmpegError:
                self._on_odd("undecodable", "packets that cannot be decoded; skipped")
                frames = []
            for frame in frames:
                seen = self._clock()
                if frame.is_corrupt:
                    self._on_odd("damaged", "damaged pictures; shown as they are")
                luma, chroma = self._planes.read(frame)
                yield Shot(luma, chroma, seen, frame.time, colour=self._planes.colour)
            if self._clock() - seen > self._address.read_timeout:
                limit = f"{self._address.read_timeout:g} s"
                raise SourceLostError(self._said(f"packets arrive, but no picture came out of them for {limit}"))
        raise SourceLostError(self._said("the camera ended the stream"))

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Packets of the stream up to its end. Raises SourceLostError."""
        packets = self._container.demux(self._stream)
        while True:
            del self._log[:-LAST_WORDS]
            deadline, problem, packet = Deadline(self._address.read_timeout, self._clock), "", None
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                problem = _reason(error, self._address.login)
            except IndexError:  # PyAV 18.1: a stream that appears halfway breaks the end of demux()
                pass
            if deadline.is_over:  # of which FFmpeg may make the half of a packet, or the end of the stream
                problem = f"nothing came for {self._address.read_timeout:g} s"
            if problem:  # raised here, for an exception would carry FFmpeg's along, and that the address
                raise SourceLostError(self._said(problem))
            if packet is None or packet.size == 0:
                return
            yield packet

    def _open(self, opener: Callable[..., Any]) -> tuple[InputContainer, VideoStream]:
        address, problem = self._address, ""
        file, form, options = ffmpeg_options(address)
        deadline = Deadline(address.open_timeout, self._clock)
        try:
            container = opener(
                file, format=form, options=options, timeout=(deadline, address.read_timeout), metadata_errors="replace"
            )
        except (FFmpegError, OSError, ValueError) as error:
            late = f"no answer within {address.open_timeout:g} s"  # which FFmpeg may call invalid data
            problem = late if deadline.is_over else _reason(error, self._address.login)
        if problem:
            raise SourceLostError(self._said(problem))
        streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
        if not streams or streams[0].codec_context is None:
            container.close()
            raise SourceLostError(self._said("sends no video that can be decoded; check the path of its address"))
        stream: VideoStream = streams[0]
        stream.thread_type = "SLICE"  # threads by frame would each hold one back
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.low_delay
        return container, stream

    def _said(self, problem: str) -> str:
        """One line: who, what is wrong, and what FFmpeg said last if it says more."""
        words = [" ".join(message.split()) for _, _, message in self._log[-LAST_WORDS:]]
        self._log.clear()
        last = next((word for word in reversed(words) if word and not _CUT_OFF.search(word)), "")
        last = self._address.login.clean(last)
        return f"{self._address.place}: {problem}" + (f" (FFmpeg: {last})" if last else "")


def _listen_to_ffmpeg() -> None:
    """Have FFmpeg's errors handed to whoever captures them in the thread they come from; the others go unheard, as
    they do without this: they may quote an address.
    """
    if av.logging.get_level() is not None:
        return
    log = logging.getLogger("libav")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    av.logging.set_skip_repeated(False)  # the second failure of a camera would have no words
    av.logging.set_level(av.logging.ERROR)


def _reason(error: Exception, login: Login) -> str:
    """What an error of FFmpeg means to someone with a camera. Never its text, which quotes the address."""
    match error:
        case ConnectionRefusedError():  # av's errors are also the builtin ones
            return "connection refused; is the camera on, and the port right?"
        case HTTPUnauthorizedError() | HTTPForbiddenError():
            return "user or password refused; check both in the address"
        case HTTPNotFoundError():
            return "it knows no such path (404); check the path of the address"
        case PermissionError():
            return "may not be opened; check its permissions, for a camera the group `video`"
        case FileNotFoundError():
            return "no such device; is the camera plugged in?"
        case InvalidDataError():
            return "it closed without an answer, or what it sends is no video; is the camera on, and the address right?"
        case EOFError():
            return "it closed the connection"
    return login.clean(str(getattr(error, "strerror", None) or "")) or type(error).__name__
