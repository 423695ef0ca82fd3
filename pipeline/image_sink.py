"""Frames into image files: one picture, or a folder of them. Each appears complete or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.device_frames import on_host
from pipeline.frames import Frame, OutputError, StreamInfo
from pipeline.picture import CHROMA_SPAN, FULL_SIZE_MATRIX, NEUTRAL, luma_weights, matrix_of
from pipeline.video_sink import write_failure

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
"""What images can be written as; all but the last two without loss."""

JPEG_QUALITY = 95


class ImageSink:
    """One image file or a folder of them, see `frames.Sink`. One thread."""

    def __init__(self, path: Path, info: StreamInfo, *, is_folder: bool) -> None:
        """is_folder: `path` is a folder, made at the first frame if absent; else an image file."""
        self._path = path
        self._info = info
        self._is_folder = is_folder
        self._names: set[str] = set()
        self._renamed = 0

    def write(self, frame: Frame) -> None:
        """Store one frame. Raises OutputError, also for a second frame where only one file was asked for."""
        if self._names and not self._is_folder:
            advice = "name a folder or a video file to store more"
            raise OutputError(f"{self._path}: a second frame, but one image file holds one; {advice}")
        target = self._path / self._name_for(frame) if self._is_folder else self._path
        image = to_image(on_host(frame), self._info)
        try:
            if self._is_folder:
                self._path.mkdir(exist_ok=True)
            _store(target, _encode(target, image))
        except OSError as error:
            raise write_failure(target, error, len(self._names), "images") from error
        self._names.add(target.name)

    def notes(self) -> list[str]:
        """A line if images were stored under another name than their input's."""
        if not self._renamed:
            return []
        return [f"{self._renamed} images got their number added to the name: another already had it"]

    def close(self) -> None:
        """Nothing to do: every image is complete as soon as it is written."""

    def _name_for(self, frame: Frame) -> str:
        """The frame's own file name, as .png if its type is not one of ours; its index if it has none."""
        given = Path(frame.name.replace("\\", "/")).name
        stem, suffix = os.path.splitext(given)
        if stem in ("", ".", ".."):
            return f"{frame.index:06d}.png"
        name = given if suffix.lower() in IMAGE_SUFFIXES else f"{stem}.png"
        if name in self._names:
            self._renamed += 1
            name = f"{Path(name).stem}_{frame.index:06d}{Path(name).suffix}"
        return name


def to_image(frame: Frame, info: StreamInfo) -> NDArray[np.uint8]:
    """The frame as BGR (H, W, 3) uint8 in 0..255, or as its luma (H, W) if it has no chroma.

    Full-size chroma, from images, is full-range BT.601. Half-size chroma, from video, follows `info.colour`; it is
    interpolated linearly between sample centres.
    """
    if frame.chroma is None:
        return np.ascontiguousarray(frame.luma, np.uint8)
    height, width = frame.luma.shape
    is_full_size = frame.chroma[0].shape == (height, width)
    red, blue = luma_weights(FULL_SIZE_MATRIX if is_full_size else matrix_of(info))
    span = 1.0 if is_full_size or info.colour.full_range else CHROMA_SPAN
    u, v = (cv2.resize(plane, (2 * plane.shape[1], 2 * plane.shape[0])) if not is_full_size else plane
            for plane in frame.chroma)  # fmt: skip
    planes = (frame.luma, u[:height, :width], v[:height, :width])
    yuv = cv2.merge([np.ascontiguousarray(plane, np.float32) for plane in planes])
    bgr = cv2.transform(yuv, _to_bgr(red, blue, span))
    return np.clip(np.rint(bgr), 0, 255).astype(np.uint8)


def _to_bgr(red: float, blue: float, span: float) -> NDArray[np.float64]:
    """(3, 4): full-range Y and U, V around 128 spanning `span` of full range, to B, G, R (H.273, section 8.3)."""
    green = 1 - red - blue
    b, r = 2 * (1 - blue) / span, 2 * (1 - red) / span
    rows = np.array([[1, b, 0], [1, -b * blue / green, -r * red / green], [1, 0, r]])
    return np.column_stack([rows, -NEUTRAL * (rows[:, 1] + rows[:, 2])])


def _encode(target: Path, image: NDArray[np.uint8]) -> bytes:
    """The image as the bytes of a file of the target's type. Raises OutputError if OpenCV cannot."""
    kind = target.suffix.lower()
    # Asked for a quality that a file type does not have, OpenCV 5 warns on the terminal, for every image.
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind in (".jpg", ".jpeg") else []
    try:
        done, data = cv2.imencode(kind, image, options)
    except cv2.error as error:
        raise OutputError(f"{target}: OpenCV cannot encode it ({error.err}); name it .png") from error
    if not done:
        raise OutputError(f"{target}: OpenCV cannot encode it; name it .png")
    return data.tobytes()


def _store(target: Path, data: bytes) -> None:
    """Write a file under a passing name beside it, then rename: never half a file. Raises OSError."""
    passing = target.with_name(f".crotalus-{os.getpid()}.part")
    try:
        passing.write_bytes(data)
        os.replace(passing, target)
    except OSError:
        with suppress(OSError):
            passing.unlink()
        raise
