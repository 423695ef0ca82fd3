"""Frames into a video file: times exact, colour tagged, audio alongside, playable whatever ends the run."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import av
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.audio import AudioCopy
from pipeline.claim import claim, release
from pipeline.device_frames import LAYOUT, as_video_frame, on_device, on_host
from pipeline.encoding import (
    FORMATS,
    NVENC_CODECS,
    Encoder,
    SinkSettings,
    check_settings,
    container_options,
    encoder_options,
    stored_range,
    untold,
)
from pipeline.frames import Frame, InputError, OutputError, StreamInfo
from pipeline.picture import Painter
from pipeline.timeline import Timeline

KEY_INTERVAL = 2
"""s between key frames: what a killed process may lose of an MP4, and how finely a player can seek."""
LIVE_KEY_INTERVAL = 1
"""s, the same of a live recording."""
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space, quota used up, file size limit: one and the same to the user."""


def write_failure(path: Path, error: Exception, written: int, unit: str = "frames") -> OutputError:
    """The error to raise when writing `path` failed after so many frames or images."""
    kept = "what was written is kept" if written else "nothing was written"
    if getattr(error, "errno", None) in DISK_FULL:
        return OutputError(f"disk full after {written} {unit}: {path}: {kept}; free some space or write elsewhere")
    reason = getattr(error, "strerror", None) or str(error)
    is_of_the_disk = isinstance(error, OSError)
    advice = "check the disk and its permissions" if is_of_the_disk else "choose another --codec or --size"
    return OutputError(f"{path}: failed after {written} {unit}: {reason}: {kept}; {advice}")


class VideoSink:
    """A video file being written, see `frames.Sink`. The file appears with the first frame.

    Frames show at `pts - info.start_pts`: exactly in MP4 and MOV, to 1/90000 s in TS (all of it later by the depth of
    reordering, 1/15 s at 30 frames/s), to 1 ms in MKV and WebM, on the frame grid in AVI. One thread.
    """

    def __init__(
        self,
        path: Path,
        info: StreamInfo,
        settings: SinkSettings,
        *,
        audio_from: Sequence[Path] = (),
        audio_shift: float = 0.0,
        start: float = 0.0,
        end: float | None = None,
    ) -> None:
        """Parameters as in `sink.open_sink`. Raises InputError; nothing has been written then."""
        encoder = check_settings(settings, path)
        self._path, self._info = path, info
        self._may_replace, self._is_on_device = settings.overwrite, settings.is_on_device
        self._claim: int | None = None
        self._kind = FORMATS[path.suffix.lower()]
        full = stored_range(encoder, self._kind, settings.pixel_format, info.colour)
        self._painter = Painter(info, settings.pixel_format, even=encoder.needs_even, full_range=full)
        self._timeline = Timeline(info, on_grid=self._kind == "avi", counts_frames=encoder.counts_frames)
        self._untold = untold(encoder, self._kind, info)
        self._written = 0
        self._error: OutputError | None = None
        self._is_started = self._is_closed = False
        options = container_options(path, info.metadata, is_live=settings.is_live)
        # "file:" keeps FFmpeg from reading a name like `rtp:x.mp4` as a protocol.
        self._container = av.open(f"file:{path}", "w", format=self._kind, container_options=options)
        self._container.metadata.update(info.metadata)
        self._stream = self._add_stream(settings, encoder)
        origin = info.start_pts * info.time_base
        length = None if end is None else end - start
        self._audio = AudioCopy(audio_from, origin=origin, shift=audio_shift, cuts_start=start > 0, length=length)
        self._audio.join(self._container, options)

    def write(self, frame: Frame) -> None:
        """Encode one frame, later than the one before. Raises OutputError, and the same one at each further call.

        ValueError after `close`.
        """
        if self._error is not None:
            raise self._error
        if self._is_closed:
            raise ValueError(f"{self._path}: already closed; open another sink")
        picture = self._painted(frame)
        self._timeline.stamp(picture, frame.pts)
        try:
            packets = self._stream.encode(picture)  # opens an encoder on a device, before its header can be written
            self._start()
            self._mux(packets)
        except OutputError as error:
            self._error = error
            raise
        except (FFmpegError, OSError) as error:
            self._error = write_failure(self._path, error, self._written)
            raise self._error from error

    @property
    def has_failed(self) -> bool:
        """True once a write has: the file may end in a torn piece."""
        return self._error is not None

    def notes(self) -> list[str]:
        """One line each for what is not as in the input: padding, times, tags, audio. Ask after close."""
        notes = self._untold + self._audio.notes()
        given, stored = (self._info.width, self._info.height), (self._painter.width, self._painter.height)
        if given != stored:
            sizes = f"{given[0]}x{given[1]} is stored as {stored[0]}x{stored[1]}"
            notes.append(f"{sizes}: the codec needs even sizes, so the last column or row is repeated")
        if self._timeline.moved:
            grid = f"the grid of {self._timeline.rate} frames per second, all that .avi can hold"
            notes.append(f"{self._timeline.moved} frames moved onto {grid}; use .mkv or .mp4 for exact times")
        return notes

    def close(self) -> None:
        """Finish the file. Raises OutputError if that fails and nothing had failed before; frees all the same."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._timeline.count and self._error is None:
                self._finish()
        except (FFmpegError, OSError) as error:
            self._error = write_failure(self._path, error, self._written)
            raise self._error from error
        finally:
            self._release()

    def _painted(self, frame: Frame) -> VideoFrame:
        """The frame for the encoder: on the device where both are, else in the host's memory."""
        picture = on_device(frame.luma)
        if self._is_on_device and picture is not None:
            return as_video_frame(picture)
        return self._painter.paint(on_host(frame))

    def _start(self) -> None:
        """Make the file ours and write its header, before the first frame."""
        if self._claim is None:
            self._claim = claim(self._path, may_replace=self._may_replace)
            self._container.start_encoding()
            self._is_started = True

    def _mux(self, packets: Iterable[Packet]) -> None:
        """Hand packets to the file, each preceded by the audio up to its time: so nothing piles up in memory."""
        for packet in packets:
            self._timeline.restore(packet)
            if packet.dts is not None:
                self._audio.copy_until(packet.dts * packet.time_base)
            self._container.mux(packet)
            self._written += 1

    def _finish(self) -> None:
        """Drain the encoder, copy the rest of the audio, write the trailer."""
        packets = self._stream.encode(None)
        if self._timeline.count <= 2:  # no order but one; x265 4.2 then leaves random decode times (1 run in 3, tried)
            for packet in packets:
                packet.dts = packet.pts
        self._mux(packets)
        self._audio.finish(self._timeline.end)
        self._container.close()

    def _release(self) -> None:
        """Close what is open, without a further error: after a failed write FFmpeg writes nothing any more."""
        self._audio.close()
        with suppress(FFmpegError, OSError):
            self._container.close()
        if self._claim is not None and self._error is not None and self._written == 0:
            with suppress(OSError):
                if self._is_started or self._path.stat().st_size == 0:  # ours: a header at most
                    self._path.unlink()
        release(self._claim)
        self._claim = None

    def _add_stream(self, settings: SinkSettings, encoder: Encoder) -> VideoStream:
        """The video stream with its encoder open, so that whatever it refuses is said before a file appears."""
        options = encoder_options(settings, encoder)
        stream: VideoStream = self._container.add_stream(settings.encoder, self._timeline.rate, options)  # type: ignore
        stream.time_base = self._timeline.time_base
        context = stream.codec_context
        context.time_base = self._timeline.encoder_base
        context.width, context.height = self._painter.width, self._painter.height
        if settings.is_on_device:
            context.pix_fmt = "cuda" if settings.encoder in NVENC_CODECS else LAYOUT
        else:
            context.pix_fmt = settings.pixel_format
        if encoder.presets:  # those that would let 250 frames pass between key frames
            interval = LIVE_KEY_INTERVAL if settings.is_live else KEY_INTERVAL
            context.gop_size = max(1, round(interval * self._timeline.rate))
        context.thread_count = settings.threads
        context.thread_type = "SLICE" if settings.is_live else "AUTO"  # of frames: each thread holds one back
        if self._kind == "avi":
            context.max_b_frames = 0  # AVI stores the order of decoding only
        if settings.encoder in ("libx265", "hevc_nvenc") and self._kind in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # FFmpeg's own choice, hev1, does not play on Apple systems
        self._tag(stream)
        if settings.is_on_device:
            return stream  # opened by its first frame, which brings the device's context along; tried before
        given = f"{context.width}x{context.height} {context.pix_fmt}"  # a failed open() clears them
        try:
            context.open()
        except (FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            advice = "choose another --codec, --size or --pixel-format"
            raise InputError(f"{settings.encoder} cannot encode {given} ({reason}); {advice}") from error
        return stream

    def _tag(self, stream: VideoStream) -> None:
        """Say in the file what the samples mean, and their shape."""
        context, colour = stream.codec_context, self._painter.colour
        context.color_range = 2 if colour.full_range else 1  # AVCOL_RANGE_JPEG, AVCOL_RANGE_MPEG
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        context.colorspace = colour.matrix
        context.sample_aspect_ratio = self._info.sample_aspect
