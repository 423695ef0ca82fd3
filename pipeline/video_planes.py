"""Planes out of decoded video frames: pixel format, range and rotation. Views where possible, never written into."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from av.error import FFmpegError
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from pipeline.frames import UNSPECIFIED, Colour, InputError
from pipeline.luma import to_full

BT601 = 6
"""Matrix of ITU-R BT.601 (SMPTE 170M) in the code points of H.273: what RGB is converted with."""

Luma = NDArray[np.uint8] | NDArray[np.uint16]
Chroma = tuple[NDArray[np.uint8], NDArray[np.uint8]] | None

_DEEP_GRAY = re.compile(r"gray(9|10|12|14|16|f16|f32)(le|be)")
_MATRICES = (0, 1, 2, 4, 5, 6, 7, 9)  # those swscale 9 takes; it refuses the others even where it would not use them
_QUALITY = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to lay a rectangle down: transpose first, then flip."""

    transposed: bool = False
    rows_flipped: bool = False
    columns_flipped: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """How the frames of one video become planes: decided by its first frame, kept for all."""

    source: str
    """Pixel format as decoded."""
    format: str
    """Pixel format the planes are read in: yuv420p, gray, or a gray of more than 8 bits."""
    width: int
    """Decoded width, px, before the turn."""
    height: int
    colour: Colour
    """Of the planes as read: what was RGB is BT.601, and full range unless it was tagged as limited."""
    turn: Turn | None
    """What makes the frames upright; None if the file asks for an angle that is not a multiple of 90 degrees."""

    @property
    def bits(self) -> int:
        """8, or 16 for gray of more than 8 bits."""
        return 16 if _DEEP_GRAY.fullmatch(self.format) else 8


def layout_of(frame: VideoFrame) -> Layout:
    """The layout of a video whose first frame this is."""
    # 0 is RGB: FFmpeg gives gray PNG that tag, and no encoder takes it for the 4:2:0 that goes out.
    matrix = BT601 if _is_rgb(frame.format) else frame.colorspace or UNSPECIFIED
    colour = Colour(_is_full_range(frame), frame.color_primaries, frame.color_trc, matrix)
    name = frame.format.name
    return Layout(name, _readable(name), frame.width, frame.height, colour, _turn_of(frame))


class PlaneReader:
    """Reads the planes of one video's frames in its layout. One thread at a time."""

    def __init__(self, layout: Layout, name: str) -> None:
        """name: what messages call the video."""
        self.layout = layout
        self._name = name
        self.changed = 0
        """Frames so far whose size, pixel format or range was not the layout's: scaled or converted to it."""
        self._reformatter = VideoReformatter()  # frame.reformat() would set up swscale anew for each frame
        # RGB goes to YUV number by number: swscale ignores the range of RGB, and would squeeze limited RGB twice.
        self._range = _range(layout.colour.full_range or _is_rgb(VideoFormat(layout.source)))
        self._same = layout.width, layout.height, layout.colour.full_range
        self._bits = layout.bits
        self._turn = None if layout.turn == Turn() else layout.turn
        self._direct = layout.format in (layout.source, layout.source.replace("yuvj", "yuv"))

    def read(self, frame: VideoFrame) -> tuple[Luma, Chroma]:
        """Full-range upright luma (H, W) and the U and V planes in the video's own range, None if gray.

        8-bit 4:2:0 and gray are read-only views of the decoder's memory (which they keep alive), except that
        limited-range luma is expanded into a new array. Raises InputError if swscale cannot convert the frame.
        """
        same = frame.format.name == self.layout.source and self.fits(frame)
        self.changed += not same
        if not (same and self._direct):
            frame = self._convert(frame)
        planes = frame.planes  # asked once: PyAV makes new objects for each answer
        luma = self._luma(planes[0])
        chroma = (plane_view(planes[1]), plane_view(planes[2])) if self.layout.format == "yuv420p" else None
        turn = self._turn
        if turn is None:
            return luma, chroma
        return _turned(luma, turn), chroma and (_turned(chroma[0], turn), _turned(chroma[1], turn))

    def fits(self, frame: VideoFrame) -> bool:
        """Whether a frame has the layout's size and range."""
        return (frame.width, frame.height, _is_full_range(frame)) == self._same

    def _luma(self, plane: VideoPlane) -> Luma:
        if self._bits == 16:
            return _counts(plane, self.layout.format)
        if self.layout.colour.full_range:
            return plane_view(plane)
        return to_full(plane_view(plane))

    def _convert(self, frame: VideoFrame) -> VideoFrame:
        """The frame in the layout's size, pixel format and range, by swscale."""
        layout, rgb = self.layout, _is_rgb(frame.format)
        if frame.colorspace not in _MATRICES:
            frame.colorspace = UNSPECIFIED
        try:
            return self._reformatter.reformat(
                frame,
                layout.width,
                layout.height,
                layout.format,
                dst_colorspace=Colorspace.ITU601 if rgb else None,
                interpolation=_QUALITY,
                src_color_range=_range(rgb or _is_full_range(frame)),
                dst_color_range=self._range,
                threads=1,
            )
        except FFmpegError as error:
            given = f"{self._name}: pixel format {frame.format.name}, {frame.width}x{frame.height}"
            raise InputError(f"{given}: cannot be turned into {layout.format}; convert the file first") from error


def _readable(name: str) -> str:
    """The pixel format that frames of this one are read in: itself where its planes can be used as they are."""
    if name == "gray" or _DEEP_GRAY.fullmatch(name):
        return name
    if name == "ya8" or name.startswith("mono"):
        return "gray"
    if name.startswith(("gray", "ya")):  # 32-bit gray, gray with alpha
        return "gray16le"
    return "yuv420p"


def _is_rgb(kind: VideoFormat) -> bool:
    return kind.is_rgb or kind.has_palette or kind.is_bayer or kind.name.startswith("xyz")


def _is_full_range(frame: VideoFrame) -> bool:
    """As tagged; without a tag, YUV is limited (the convention of all video) and everything else full range."""
    if frame.color_range in (ColorRange.MPEG, ColorRange.JPEG):
        return frame.color_range == ColorRange.JPEG
    name = frame.format.name
    return name.startswith(("gray", "ya", "mono", "yuvj")) or _is_rgb(frame.format)


def _range(full: bool) -> ColorRange:
    return ColorRange.JPEG if full else ColorRange.MPEG


def plane_view(plane: VideoPlane, dtype: str = "u1") -> NDArray[np.uint8]:
    """(h, w) read-only view of a plane; it keeps the decoded frame alive."""
    stride = plane.line_size
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, abs(stride))  # type: ignore[call-overload]
    if stride < 0:  # bottom-up AVI; PyAV hands out the buffer from its lowest address, the bottom row
        rows = rows[::-1]
    view = rows[:, : plane.width] if dtype == "u1" else rows[:, : plane.width * np.dtype(dtype).itemsize].view(dtype)
    view.flags.writeable = False
    return view


def _counts(plane: VideoPlane, name: str) -> NDArray[np.uint16]:
    """(h, w) uint16 of a deep gray plane: integers as they are, floats 0..1 as 0..65535."""
    order, kind = ">" if name.endswith("be") else "<", {"f16": "f2", "f32": "f4"}.get(name[4:-2], "u2")
    samples = plane_view(plane, order + kind)
    if kind == "u2":
        return samples.astype(np.uint16, copy=False)
    # Not by swscale: version 9 takes float gray for limited range and stretches it, whatever it is told.
    return (np.clip(np.nan_to_num(samples.astype(np.float32)), 0, 1) * 65535 + 0.5).astype(np.uint16)


def _turn_of(frame: VideoFrame) -> Turn | None:
    """The turn of a frame's display matrix: x' = a x + c y, y' = b x + d y in 16.16 fixed point."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Turn()
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()  # type: ignore[call-overload]
    if b == c == 0:
        return Turn(False, d < 0, a < 0)
    if a == d == 0:
        return Turn(True, b < 0, c < 0)
    return None


def _turned(plane: Luma, turn: Turn) -> NDArray[np.uint8]:
    """A contiguous copy of a plane (h, w), transposed and flipped."""
    plane = plane.T if turn.transposed else plane
    plane = plane[::-1] if turn.rows_flipped else plane
    return np.ascontiguousarray(plane[:, ::-1] if turn.columns_flipped else plane)
