"""The video units of an NVIDIA GPU, through FFmpeg: whether they can be used here, found by using them."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator

import av
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

USABLE = "usable"
EXACT_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1"})
"""Video whose standard fixes every bit of the decoded picture, so that the result does not tell who decoded it."""
PROBE_SIDE = 256
"""px; NVENC refuses pictures smaller than 145x49, NVDEC than 48x16 (128x128 for AV1)."""

_FAILURES = (FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError)


class Nvdec:
    """The video decoder of the first NVIDIA GPU: frames stay in its memory, in the primary context."""

    def open(self, name: str, **options: object) -> InputContainer:
        """As `av.open`. Raises what that does; without a driver PermissionError, whatever the fallback allows."""
        # Frames are copies in the GPU's own memory, not the decoder's few surfaces: they may be held.
        accelerator = HWAccel("cuda", allow_software_fallback=True, is_hw_owned=True)
        return av.open(name, hwaccel=accelerator, **options)  # type: ignore[call-overload]

    def on_device(self, frame: VideoFrame) -> VideoFrame | None:
        """The frame as it lies in the GPU's memory; None if FFmpeg decoded it on the host after all."""
        return frame if frame.format.name == "cuda" else None

    def layout(self, frame: VideoFrame) -> str:
        """Pixel format of a frame in the GPU's memory."""
        return "none" if frame.sw_format is None else str(frame.sw_format.name)


def to_host(frame: VideoFrame) -> VideoFrame:
    """A frame in the GPU's memory as one of the host, in the pixel format that it has there; others as they are."""
    return frame if frame.sw_format is None else frame.reformat(format=frame.sw_format.name)


@functools.cache
def nvdec() -> str:
    """`usable`, or why H.264 cannot be decoded by the GPU. Never raises. Opens a session, so it takes a moment."""
    try:
        with Nvdec().open(io.BytesIO(_clip())) as container:  # type: ignore[arg-type]
            frame = next(container.decode(video=0))
    except _FAILURES as error:
        return reason_of(error)
    except StopIteration:
        return "it decodes nothing"
    if frame.format.name != "cuda":
        return "FFmpeg falls back to the host; install a driver with NVDEC (libnvcuvid)"
    return USABLE


@functools.cache
def nvenc(codec: str = "h264_nvenc", width: int = PROBE_SIDE, height: int = PROBE_SIDE) -> str:
    """`usable`, or why the GPU cannot encode this size. Never raises. Opens a session, so it takes a moment.

    codec: FFmpeg's name of the encoder. Data-centre cards (A100, H100, H200) have no such unit.
    """
    try:
        context = _encoder(codec, width, height, "yuv420p")
        for packet in _encoded(context, width, height):
            if packet:
                return USABLE
    except _FAILURES as error:
        return reason_of(error)
    return "it encodes nothing"


def reason_of(error: Exception) -> str:
    """What FFmpeg says of a failure, in one line; of a missing driver in words that say so."""
    if isinstance(error, PermissionError):  # FFmpeg's answer to a driver that cannot be loaded
        return "no NVIDIA driver, or none that FFmpeg can use"
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


def _clip() -> bytes:
    """Two gray pictures as bare H.264."""
    context = _encoder("libx264", PROBE_SIDE, PROBE_SIDE, "yuv420p")
    return b"".join(_encoded(context, PROBE_SIDE, PROBE_SIDE))


def _encoder(codec: str, width: int, height: int, pixel_format: str) -> VideoCodecContext:
    context = CodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, pixel_format
    context.framerate = 25  # type: ignore[assignment]
    context.time_base = 1 / context.framerate
    return context


def _encoded(context: VideoCodecContext, width: int, height: int) -> Iterator[bytes]:
    for k in (0, 1):
        frame = VideoFrame(width, height, "yuv420p")
        for plane in frame.planes:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts, frame.time_base = k, context.time_base
        yield from map(bytes, context.encode(frame))
    yield from map(bytes, context.encode(None))
