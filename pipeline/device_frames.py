"""Frames that stay in a GPU's memory from its decoder to the fuser, and to its encoder where it has one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import CudaContext, VideoFrame
from numpy.typing import NDArray

from engines.device_picture import DevicePicture
from engines.dlpack import CUDA, borrow
from engines.launches import Plane
from pipeline.frames import Frame, InputError
from pipeline.hardware import EXACT_CODECS, reason_of, to_host
from pipeline.luma import LIMITED
from pipeline.video_decode import VideoFile
from pipeline.video_planes import Chroma, Luma, PlaneReader, Turn, layout_of, plane_view

LAYOUT = "nv12"
"""The pixel format of device pictures: 8 bits, 4:2:0, U and V in turn."""


class Decoder(Protocol):
    """What decodes into a device's memory; `hardware.Nvdec` is the one there is."""

    def open(self, name: str, **options: Any) -> InputContainer:
        """As `av.open`, frames to be decoded by the device."""
        ...

    def on_device(self, frame: VideoFrame) -> VideoFrame | None:
        """The frame as it lies there; None if it was decoded on the host after all."""
        ...

    def layout(self, frame: VideoFrame) -> str:
        """Pixel format of a frame that lies there."""
        ...


def why_on_host(path: Path, decoder: Decoder) -> str | None:
    """Why a file cannot be decoded into the device's memory; None if it can. Tries it with the first frame."""
    try:
        file = VideoFile(path, decoder=decoder)
    except InputError as error:
        cause = error.__cause__
        return reason_of(cause) if isinstance(cause, Exception) else str(error)
    try:
        codec = file.stream.codec_context.codec.canonical_name
        if codec not in EXACT_CODECS:
            return f"{codec} is decoded on the host, for pictures that are the same everywhere"
        first = next(file.frames(), None)
        frame = None if first is None else decoder.on_device(first)
        if first is None or frame is None:
            return f"the GPU does not decode this {codec}"
        if layout_of(first).turn not in (None, Turn()):
            return "it is to be turned upright"
        return _why_not_as_it_is(frame, decoder, (file.stream.width, file.stream.height))
    finally:
        file.close()


class DeviceReader:
    """Reads the planes of one video's frames where they are. Stands in for a `PlaneReader`. One thread at a time."""

    def __init__(self, decoder: Decoder, first: VideoFrame, name: str) -> None:
        """first: frame of the video, on the device. name: what messages call the video."""
        self._decoder = decoder
        self.layout = replace(layout_of(first), source=LAYOUT, format="yuv420p")  # as it is once it is on the host
        self._host = PlaneReader(self.layout, name)

    @property
    def changed(self) -> int:
        """See `PlaneReader`: these come by way of the host."""
        return self._host.changed

    def read(self, frame: VideoFrame) -> tuple[Luma, Chroma]:
        """As `PlaneReader.read`; both are the frame's `DevicePicture`, where it is as all others are."""
        device = self._decoder.on_device(frame)
        if device is None:
            return self._host.read(frame)
        if self._decoder.layout(device) != LAYOUT or not self._host.fits(frame):
            return self._host.read(to_host(device))
        picture = _borrowed(device, is_limited=not self.layout.colour.full_range)
        return cast(Luma, picture), cast(Chroma, picture)  # what is between source and sink passes planes on


def on_device(plane: object) -> DevicePicture | None:
    """What stands for the luma or chroma of a frame if that is in a device's memory; None for arrays."""
    return plane if isinstance(plane, DevicePicture) else None


def on_host(frame: Frame) -> Frame:
    """The frame with its planes as arrays of the host, copied from the device if they are there."""
    luma, chroma = on_device(frame.luma), on_device(frame.chroma)
    if luma is None and chroma is None:
        return frame
    pictures = {id(picture): picture for picture in (luma, chroma) if picture is not None}  # mostly one and the same
    fetched = {key: _fetched(picture) for key, picture in pictures.items()}
    return replace(
        frame,
        luma=frame.luma if luma is None else fetched[id(luma)][0],
        chroma=frame.chroma if chroma is None else fetched[id(chroma)][1],
    )


def as_video_frame(picture: DevicePicture) -> VideoFrame:
    """The picture for FFmpeg, without a copy; it is held until FFmpeg lets go of it."""
    context = _context() if picture.kind == CUDA else None
    return VideoFrame.from_dlpack(picture.lent(), format=LAYOUT, cuda_context=context)


_contexts: list[CudaContext] = []


def _context() -> CudaContext:
    """The GPU's primary context for FFmpeg: one for all frames, as an encoder takes frames of one context only."""
    if not _contexts:
        _contexts.append(CudaContext(device_id=0, primary_ctx=True))
    return _contexts[0]


def _why_not_as_it_is(frame: VideoFrame, decoder: Decoder, size: tuple[int, int]) -> str | None:
    """Why a frame in the device's memory cannot be fused there. size: width and height that the file tells."""
    kind, given = decoder.layout(frame), f"{frame.width}x{frame.height}"
    if kind != LAYOUT:
        return f"{kind} is not 8-bit 4:2:0"
    if frame.width % 2 or frame.height % 2:
        return f"{given} has an odd side"
    if (frame.width, frame.height) != size:  # FFmpeg 8.1 cannot cut the left or top off a frame on a GPU
        return f"{given} of which {size[0]}x{size[1]} are to be shown"
    return None


def _borrowed(frame: VideoFrame, *, is_limited: bool) -> DevicePicture:
    luma, chroma = (borrow(plane) for plane in frame.planes)
    return DevicePicture(
        Plane(luma.address, luma.strides[0], frame.height, frame.width),
        Plane(chroma.address, chroma.strides[0], frame.height // 2, frame.width),
        LIMITED if is_limited else None,
        (luma.owner, chroma.owner),
        luma.kind,
    )


def _fetched(picture: DevicePicture) -> tuple[NDArray[np.uint8], Chroma]:
    """Full-range luma and both chroma planes, copied to the host."""
    frame = to_host(as_video_frame(picture))
    luma, pairs = plane_view(frame.planes[0]), plane_view(frame.planes[1], "u2").view(np.uint8)
    if picture.levels is not None:
        luma = np.asarray(cv2.LUT(luma, picture.levels.to_full), np.uint8)
    return luma, (np.ascontiguousarray(pairs[:, ::2]), np.ascontiguousarray(pairs[:, 1::2]))
