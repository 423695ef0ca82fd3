"""Frames of a video as the pipeline sees them: the Y plane alone and exact, without a round trip through RGB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from training.data import DataError

SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".ts", ".y4m"}
BLACK, WHITE = 16, 235
"""Of limited-range luma, 8 bits (ITU-R BT.601, BT.709)."""
TO_FULL = np.floor((np.arange(256.0) - BLACK) * (255 / (WHITE - BLACK)) + 0.5).clip(0, 255).astype(np.uint8)
"""(256,) limited-range luma to full range, as the pipeline stretches it: one to one within 16..235."""
Luma = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class VideoShape:
    """What can be told of a video without decoding it."""

    frames: int
    height: int
    """px"""
    width: int
    """px"""


def video_shape(path: Path) -> VideoShape:
    """Number and size of the frames of a file's first video stream. Raises DataError."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        frames = sum(packet.size > 0 for packet in container.demux(stream))
        return VideoShape(frames, stream.codec_context.height, stream.codec_context.width)


def read_video(path: Path, *, frames: int) -> list[Luma]:
    """The first frames' luma, each (H, W) uint8 in full range, owned by the caller.

    Limited range is stretched; without a tag YUV is limited and gray is full range, as in the pipeline. Raises
    DataError for fewer frames, and for anything but 8-bit planes with luma first.
    """
    read: list[Luma] = []
    with _opened(path) as container:
        for frame in container.decode(video=0):
            if len(read) == frames:
                break
            read.append(_luma(frame, path))
    if len(read) < frames:
        raise DataError(f"{path}: {len(read)} frames can be decoded, {frames} are needed; write the video again")
    return read


def write_gray(path: Path, frames: list[Luma], *, rate: int = 10) -> None:
    """Write frames as lossless full-range gray (FFV1, .mkv), e.g. to measure or to look at. Raises OSError."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = "gray"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "gray")))
        container.mux(stream.encode())


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    """A container with a video stream; what FFmpeg raises while it is read is told as a DataError, too."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path}: holds no video; give a file with a video stream")
            yield container
    except av.FFmpegError as error:
        raise DataError(f"{path}: not a readable video ({error.strerror}); write it again") from error


def _luma(frame: av.VideoFrame, path: Path) -> Luma:
    """The first plane, copied."""
    kind = frame.format
    if kind.is_rgb or kind.has_palette or kind.components[0].bits != 8:
        raise DataError(f"{path}: pixels are {kind.name}; give 8-bit YUV or gray, e.g. ffmpeg -pix_fmt yuv420p")
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, abs(plane.line_size))  # type: ignore[call-overload]
    luma = rows[:: -1 if plane.line_size < 0 else 1, : frame.width]  # bottom-up AVI has a negative stride
    return luma.copy() if _is_full_range(frame) else TO_FULL[luma]


def _is_full_range(frame: av.VideoFrame) -> bool:
    if frame.color_range in (ColorRange.MPEG, ColorRange.JPEG):
        return bool(frame.color_range == ColorRange.JPEG)
    return frame.format.name.startswith(("gray", "yuvj"))
