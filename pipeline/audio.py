"""Audio carried from an input into the output: packets copied as they are, in step with the pictures."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from math import inf
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard

from pipeline.encoding import FORMATS, holds_audio

_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
"""Errors of writing that are not the packet's fault."""

_RUN_UP = Fraction(2)
"""s before the start of a cut from where audio is looked for: seeking is exact to a packet or so."""

END_TOLERANCE = Fraction(1, 2)
"""s of pictures that may be missing at the end (no partner, damaged) while the input still counts as fused whole."""


class AudioCopy:
    """All audio streams of the first file that has any. Nothing here ever stops the pictures; see `notes`.

    Memory is constant: packets are read when the pictures reach their time. One thread, that of the sink.
    """

    def __init__(
        self, paths: Sequence[Path], *, origin: Fraction, shift: float, cuts_start: bool, length: float | None
    ) -> None:
        """Find the file.

        origin: s on the clock of the first file, zero of the output. shift: s, added to the times of every other
        file to bring them to that clock. cuts_start: leave out what ends before zero, which is kept otherwise.
        length: s, leave out what starts later; None: what starts after the pictures, if the input has more of them.
        """
        self._origin, self._cuts_start = origin, cuts_start
        self._length: Fraction | float = inf if length is None else length
        self._notes: list[str] = []
        self._skipped = 0
        self._input: InputContainer | None = None
        for index, path in enumerate(paths):
            self._input = self._open(path)
            if self._input is not None:
                self._path = path
                self._origin -= Fraction(shift) if index else 0
                break
        self._outputs: dict[int, AudioStream] = {}
        self._filters: dict[int, BitStreamFilterContext] = {}
        self._last: dict[int, int] = {}
        self._packets: Iterator[Packet] = iter(())
        self._next: Packet | None = None

    def join(self, output: OutputContainer, options: Mapping[str, str]) -> None:
        """Add the streams to an output whose header is not written yet. options: its muxer's, for a rehearsal."""
        if self._input is None:
            return
        self._output = output
        for stream in self._input.streams.audio:
            if self._fits(stream, output, options):
                self._outputs[stream.index] = output.add_stream_from_template(stream)
                if _is_adts(stream) and output.format.name != "mpegts":
                    self._filters[stream.index] = BitStreamFilterContext("aac_adtstoasc", stream)
        if self._cuts_start and self._origin > _RUN_UP:
            with suppress(FFmpegError):  # then the file is read from its start
                self._input.seek(int((self._origin - _RUN_UP) * av.time_base))
        for other in self._input.streams:
            other.discard = Discard.default if other.index in self._outputs else Discard.all
        self._packets = self._demux(self._input)
        self._next = next(self._packets, None)

    def copy_until(self, time: Fraction | float) -> None:
        """Copy what starts at or before `time`, s of the output. Raises FFmpegError if the file cannot be written."""
        while self._next is not None and self._time(self._next) <= time:
            self._copy(self._next)
            self._next = next(self._packets, None)

    def finish(self, end: Fraction) -> None:
        """Copy the rest after the last picture, which stops to show at `end`, s of the output."""
        if self._next is None:
            return
        if self._length == inf and self._has_pictures_after(end):
            self._length = end
            if self._time(self._next) >= end:  # it was wanted when it was read
                self._next = next(self._packets, None)
        self.copy_until(inf)

    def notes(self) -> list[str]:
        """One line each for what was left out, and why."""
        skipped = f"{self._skipped} audio packets without a usable time left out"
        return self._notes + ([skipped] if self._skipped else [])

    def close(self) -> None:
        """Close the input. May be called twice."""
        self._next = None
        if self._input is not None:
            self._input.close()
            self._input = None

    def _open(self, path: Path) -> InputContainer | None:
        """The file opened a second time, if it has audio; an image folder or a broken file is simply without."""
        if not path.is_file():
            return None
        try:
            container = av.open(f"file:{path}")
        except (FFmpegError, OSError, ValueError):
            return None  # whoever reads the pictures reports it
        if container.streams.audio:
            return container
        container.close()
        return None

    def _fits(self, stream: AudioStream, output: OutputContainer, options: Mapping[str, str]) -> bool:
        """True if the output's file type takes the stream: by its list, and by writing a header into memory."""
        context = stream.codec_context
        codec, reason = context.codec.canonical_name if context else "unknown codec", "is not possible"
        if context is not None and holds_audio(output, codec):
            try:
                with av.open(io.BytesIO(), "w", format=output.format.name, container_options=dict(options)) as trial:
                    trial.add_stream_from_template(stream)
                    trial.start_encoding()
                return True
            except (FFmpegError, ValueError) as error:
                reason = f"fails ({getattr(error, 'strerror', None) or error})"
        kind = output.format.name
        others = " or ".join(suffix for suffix in (".mkv", ".mov") if FORMATS[suffix] != kind)
        self._notes.append(f"audio of {self._path.name} left out: {codec} in {kind} {reason}; try {others}")
        return False

    def _demux(self, source: InputContainer) -> Iterator[Packet]:
        """Packets of the joined streams that fall into the output, in the file's order, up to damage or the end."""
        streams = [stream for stream in source.streams.audio if stream.index in self._outputs]
        running = {stream.index for stream in streams}
        if not streams:
            return
        try:
            for packet in source.demux(streams):
                if packet.size and self._is_wanted(packet):
                    yield packet
                elif packet.pts is not None and self._time(packet) >= self._length:
                    running.discard(packet.stream_index)
                    if not running:  # so that the end of a long file is not read in vain
                        return
        except (FFmpegError, OSError) as error:
            self._notes.append(f"audio of {self._path.name} ends early: damaged ({error}); repair the file")

    def _is_wanted(self, packet: Packet) -> bool:
        """False outside the cut, and for packets without a time or that run backwards (no file type takes them)."""
        if packet.pts is None and packet.dts is None:
            self._skipped += 1
            return False
        start = self._time(packet)
        if start >= self._length:
            return False
        if self._cuts_start and start + (packet.duration or 0) * packet.time_base <= 0:
            return False
        ticks, index = packet.dts if packet.dts is not None else packet.pts, packet.stream_index
        if ticks <= self._last.get(index, ticks - 1):  # type: ignore[operator]
            self._skipped += 1
            return False
        self._last[index] = ticks  # type: ignore[assignment]
        return True

    def _time(self, packet: Packet) -> Fraction:
        """When the packet starts, s of the output."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        return ticks * packet.time_base - self._origin  # type: ignore[operator]

    def _copy(self, packet: Packet) -> None:
        """Write one packet, moved by a whole number of its ticks."""
        base, index = packet.time_base, packet.stream_index
        ticks = round(self._origin / base)
        try:
            for part in self._filters[index].filter(packet) if index in self._filters else (packet,):
                part.pts = None if part.pts is None else part.pts - ticks
                part.dts = None if part.dts is None else part.dts - ticks
                part.time_base, part.stream = base, self._outputs[index]
                self._output.mux(part)
        except FFmpegError as error:
            if error.errno in _OF_THE_DISK:
                raise
            self._packets = iter(())
            self._notes.append(f"audio of {self._path.name} ends early: {error.strerror}; try an .mkv output")

    def _has_pictures_after(self, end: Fraction) -> bool:
        """True if the input's pictures go on well after `end`, s of the output: the run was stopped before."""
        stop = end + self._origin
        with suppress(FFmpegError, OSError), av.open(f"file:{self._path}") as source:
            if source.streams.video:
                source.seek(int(stop * av.time_base))
                for packet in source.demux(source.streams.video[0]):
                    if packet.pts is not None and packet.pts * packet.time_base > stop + END_TOLERANCE:
                        return True
        return False


def _is_adts(stream: AudioStream) -> bool:
    """True for AAC as in transport streams, each packet with a header of its own (ISO/IEC 13818-7, 6.2).

    FFmpeg 8.1 strips it for MP4 by itself, but not together with delay_moov: then it refuses the first packet.
    """
    context = stream.codec_context
    return context.codec.canonical_name == "aac" and not context.extradata
