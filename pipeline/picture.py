"""A Frame's planes laid into the picture an encoder takes: range, padding, pixel format. Swscale only if it must."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from pipeline.frames import Colour, Frame, OutputError, StreamInfo
from pipeline.luma import lay_limited

NEUTRAL = 128
"""Chroma of a gray picture."""

CHROMA_SPAN = 224 / 255
"""Span of limited-range chroma (16..240) over that of full range, both around 128 (ITU-R BT.601, H.273)."""

FULL_SIZE_MATRIX = 5
"""H.273 matrix of full-size chroma, which comes from images: BT.601."""

_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""H.273 matrix to the weights of red and blue in luma; every other one is taken for BT.601."""

_BT601 = (0.299, 0.114)

_QUALITY = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_SWSCALE_MATRIX = {1: Colorspace.ITU709, 4: Colorspace.FCC, 7: Colorspace.SMPTE240M, 9: Colorspace.BT2020}


def _chroma_table(factor: float) -> NDArray[np.uint8]:
    """(256,) uint8: distance from neutral times factor, rounded half up and clipped."""
    values = np.floor((np.arange(256) - NEUTRAL) * factor + NEUTRAL + 0.5)
    return np.clip(values, 0, 255).astype(np.uint8)


Lay = Callable[[NDArray[np.uint8], NDArray[np.uint8]], object]
"""Writes samples, the second, into an array of their shape, the first."""

_CHROMA_TO_LIMITED = _chroma_table(CHROMA_SPAN)
_CHROMA_TO_FULL = _chroma_table(1 / CHROMA_SPAN)


class Painter:
    """Turns the frames of one output into encoder pictures of one size, pixel format and range. One thread."""

    def __init__(self, info: StreamInfo, pixel_format: str, *, even: bool, full_range: bool) -> None:
        """even: pad to even sizes where chroma is subsampled. full_range: of the pictures."""
        kind = VideoFormat(pixel_format)
        self.width = _padded(info.width, even and kind.chroma_width(2) == 1)
        self.height = _padded(info.height, even and kind.chroma_height(2) == 1)
        given = info.colour
        matrix = 0 if kind.is_rgb else given.matrix  # H.273: 0 is RGB
        self.colour = Colour(full_range, given.primaries, given.transfer, matrix)
        """Of the pictures, to tag the output with."""
        self._info = info
        self._format = pixel_format
        self._reformatter = VideoReformatter()

    def paint(self, frame: Frame) -> VideoFrame:
        """A new picture of the frame; it owns its memory, so an encoder may keep it. No times are set.

        Half-size chroma is in the range of `info.colour`; full-size chroma, which comes from images, in full range.
        Raises OutputError if the frame is not 8 bits or not of the output's size.
        """
        self._check(frame)
        chroma, full_size = frame.chroma, _is_full_size(frame)
        layout = "gray" if self._format == "gray" else "yuv444p" if full_size else "yuv420p"
        picture = VideoFrame(self.width, self.height, layout)
        full_range = self.colour.full_range
        planes = picture.planes  # asked once: PyAV makes new objects for each answer
        _lay(planes[0], np.asarray(frame.luma, np.uint8), np.copyto if full_range else lay_limited)
        if layout != "gray":
            change = _chroma_change(full_size or self._info.colour.full_range, full_range)
            for k in (0, 1):
                _lay(planes[k + 1], chroma[k], change) if chroma else _view(planes[k + 1]).fill(NEUTRAL)
        return picture if layout == self._format else self._convert(picture)

    def _convert(self, picture: VideoFrame) -> VideoFrame:
        """The picture in the output's pixel format. Ranges are stated: swscale takes untagged gray for full."""
        rgb = self._format == "rgb24"
        matrix = _SWSCALE_MATRIX.get(matrix_of(self._info), Colorspace.ITU601)
        span = ColorRange.JPEG if self.colour.full_range else ColorRange.MPEG
        return self._reformatter.reformat(
            picture,
            format=self._format,
            src_colorspace=matrix,
            dst_colorspace=None if rgb else matrix,
            interpolation=_QUALITY,
            src_color_range=span,
            dst_color_range=span,
            threads=1,
        )

    def _check(self, frame: Frame) -> None:
        height, width = frame.luma.shape
        wanted = f"{self._info.width}x{self._info.height}"
        if (width, height) != (self._info.width, self._info.height):
            raise OutputError(f"frame {frame.index} is {width}x{height}: the output is {wanted}; resize it before")
        if frame.luma.dtype != np.uint8:
            raise OutputError(f"frame {frame.index} has {frame.luma.dtype} luma: only 8 bits go out; map it before")


def matrix_of(info: StreamInfo) -> int:
    """The H.273 matrix of an output's YUV; unspecified means BT.709 from 1280x577 up and BT.601 below, as mpv does."""
    if info.colour.matrix not in (0, 2, 3):
        return info.colour.matrix
    return 1 if info.width >= 1280 or info.height > 576 else 6


def luma_weights(matrix: int) -> tuple[float, float]:
    """The weights of red and blue in the luma of an H.273 matrix; that of green is what is left of 1."""
    return _WEIGHTS.get(matrix, _BT601)


def _is_full_size(frame: Frame) -> bool:
    return frame.chroma is not None and frame.chroma[0].shape == frame.luma.shape


def _padded(side: int, even: bool) -> int:
    return side + side % 2 if even else side


def _chroma_change(given_full: bool, wanted_full: bool) -> Lay:
    """From one chroma range to the other; a copy where they are the same."""
    if given_full == wanted_full:
        return np.copyto
    table = _CHROMA_TO_FULL if wanted_full else _CHROMA_TO_LIMITED
    return lambda into, samples: cv2.LUT(samples, table, dst=into)


def _lay(plane: VideoPlane, samples: NDArray[np.uint8], lay: Lay) -> None:
    """Write samples (h, w), changed on the way, into a plane, and repeat the last column and row into its padding.

    Straight into the plane: a picture in between takes a third as long again.
    """
    height, width = samples.shape
    view = _view(plane)
    if (height, width) == view.shape:
        lay(view, samples)
        return
    inner = view[:height, :width]
    lay(inner, samples)
    view[:height, width:] = inner[:, -1:]
    view[height:] = view[height - 1]


def _view(plane: VideoPlane) -> NDArray[np.uint8]:
    """(h, w) writable view of a plane of 8-bit samples."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]  # type: ignore
