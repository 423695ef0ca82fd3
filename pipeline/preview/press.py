"""Frames printed as JPEG for the stream and as PNG for a snapshot, straight from their planes: no RGB on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import av
import cv2
import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from engines.base import CrotalusError
from pipeline.frames import Colour, Frame, OutputError, StreamInfo
from pipeline.picture import Painter, matrix_of

MAX_WIDTH = 1280
"""px: a wider picture is made smaller for the stream; a phone shows no more, and 4K at 25 frames/s is 25 MB/s."""
QUALITY = 4
"""The encoder's quantiser scale, 1 best to 31; 4 is about 88 of libjpeg."""
BAND = 1 / 3
"""Width of the middle of a divided picture, of the whole."""
BT709 = 1
"""H.273 code of the one matrix that differs enough from JPEG's own (BT.601) to be seen."""


class PressError(CrotalusError, ValueError):
    """A frame that cannot be printed."""


@dataclass(frozen=True, slots=True)
class Shot:
    """What is to be shown: the chosen view, and the two pictures laid beside it while the divider is out."""

    frame: Frame
    captured: float = 0.0
    """s, time.monotonic."""
    sides: tuple[Frame, Frame] | None = None
    """The IR and the VIS view, of the frame's size."""
    divider: float | None = None
    """0..1: the middle of the band that shows `frame`; left of it IR, right of it VIS."""
    colour: Colour = field(default_factory=Colour)
    """What the chroma planes of the frames mean."""


def band(width: int, divider: float) -> tuple[int, int]:
    """First column of the middle band and the one after its last; even, so that they cut no chroma sample."""
    left, right = (min(max(divider + side, 0.0), 1.0) * width for side in (-BAND / 2, BAND / 2))
    return round(left / 2) * 2, width if right > width - 1 else round(right / 2) * 2


class Press:
    """Prints shots; remakes its encoder when the picture changes its size. One thread at a time."""

    def __init__(self, *, max_width: int = MAX_WIDTH) -> None:
        self._max_width = max_width
        self._encoder: VideoCodecContext | None = None
        self._reformatter = VideoReformatter()
        self._number = 0

    def jpeg(self, shot: Shot) -> bytes:
        """A baseline JPEG no wider than `max_width`. Raises PressError."""
        try:
            picture = self._made_ready(_laid_out(shot), _colorspace(shot))
            picture.pts, self._number = self._number, self._number + 1
            return b"".join(bytes(packet) for packet in self._encoder_for(picture).encode(picture))
        except av.FFmpegError as error:
            self._encoder = None
            raise PressError(f"no JPEG of a frame: {error.strerror}") from error

    def _made_ready(self, picture: VideoFrame, colorspace: Colorspace) -> VideoFrame:
        """The picture no wider than allowed and with the matrix that every reader of a JPEG takes for granted."""
        width, height = picture.width, picture.height
        if width > self._max_width:
            width, height = self._max_width, max(1, round(height * self._max_width / width))
        elif colorspace == Colorspace.ITU601:
            return picture
        return self._reformatter.reformat(
            picture, width, height, "yuv420p", colorspace, Colorspace.ITU601, interpolation=Interpolation.AREA,
            src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.JPEG, threads=1,
        )  # fmt: skip

    def _encoder_for(self, picture: VideoFrame) -> VideoCodecContext:
        picture.color_range = ColorRange.JPEG
        encoder = self._encoder
        if encoder is None or (encoder.width, encoder.height) != (picture.width, picture.height):
            encoder = CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
            encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
            encoder.qmin = encoder.qmax = QUALITY
            self._encoder = encoder
        return encoder


def png(shot: Shot) -> bytes:
    """The shot as it is shown, in its full size and without loss. Raises PressError."""
    bgr = VideoReformatter().reformat(
        _laid_out(shot), format="bgr24", src_colorspace=_colorspace(shot), interpolation=Interpolation.BICUBIC,
        src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.JPEG, threads=1,
    )  # fmt: skip
    return bytes(cv2.imencode(".png", bgr.to_ndarray())[1])


def _laid_out(shot: Shot) -> VideoFrame:
    """A yuv420p picture in full range: the frame, or IR | frame | VIS where the divider is out. Raises PressError."""
    middle = _painted(shot.frame, shot.colour)
    if shot.divider is None or shot.sides is None:
        return middle
    ir, vis = (_painted(side, shot.colour) for side in shot.sides)
    if {(ir.width, ir.height), (vis.width, vis.height)} != {(middle.width, middle.height)}:
        return middle  # the sizes are just changing; the next frame has its sides in the new one
    left, right = band(middle.width, shot.divider)
    for number, step in enumerate((1, 2, 2)):
        plane = _samples(middle.planes[number])
        plane[:, : left // step] = _samples(ir.planes[number])[:, : left // step]
        plane[:, right // step :] = _samples(vis.planes[number])[:, right // step :]
    return middle


def _painted(frame: Frame, colour: Colour) -> VideoFrame:
    try:
        return Painter(_info(frame, colour), "yuv420p", even=False, full_range=True).paint(frame)
    except OutputError as error:
        raise PressError(f"a frame cannot be shown: {error}") from error


def _info(frame: Frame, colour: Colour) -> StreamInfo:
    height, width = frame.luma.shape
    return StreamInfo("preview", width, height, Fraction(1, 1_000_000), colour=colour)


def _colorspace(shot: Shot) -> Colorspace:
    return Colorspace.ITU709 if matrix_of(_info(shot.frame, shot.colour)) == BT709 else Colorspace.ITU601


def _samples(plane: VideoPlane) -> NDArray[np.uint8]:
    """(h, w) writable view of a plane."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]  # type: ignore
