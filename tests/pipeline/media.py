"""Small videos and images for tests, made on the spot with known pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.source import open_source
from pipeline.video_source import VideoSource

NTSC = Fraction(30000, 1001)


def data(*parts: str) -> Path:
    """A real file or folder of the shared data; skips the test where it is absent."""
    root = os.environ.get("CROTALUS_DATA") or Path(__file__).parents[2].parent / "shared/data"
    path = Path(root).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {path}: set CROTALUS_DATA to the folder of real data")
    return path


def ramp(height: int, width: int, low: int = 0, high: int = 255) -> NDArray[np.uint8]:
    """(H, W) uint8 rising from low at the left to high at the right."""
    return np.tile(np.linspace(low, high, width).round().astype(np.uint8), (height, 1))


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """(H, W) uint8 of all values."""
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def planar(
    luma: NDArray[np.uint8], u: NDArray[np.uint8] | None = None, v: NDArray[np.uint8] | None = None
) -> VideoFrame:
    """A yuv420p frame of exactly these planes, of any size; chroma 128 if not given."""
    height, width = luma.shape
    flat = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    frame = VideoFrame(width, height, "yuv420p")
    for plane, pixels in zip(frame.planes, (luma, flat if u is None else u, flat if v is None else v), strict=True):
        fill(plane, pixels)
    return frame


def gray(luma: NDArray[np.uint8] | NDArray[np.uint16], kind: str = "gray") -> VideoFrame:
    """A frame of one plane of 8 or 16 bits a sample."""
    frame = VideoFrame(luma.shape[1], luma.shape[0], kind)
    fill(frame.planes[0], np.ascontiguousarray(luma).view(np.uint8))
    return frame


def fill(plane: av.video.plane.VideoPlane, pixels: NDArray[np.uint8]) -> None:
    """Write bytes (h, w) into a plane with its own line size."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    rows[: pixels.shape[0], : pixels.shape[1]] = pixels


def numbered(count: int, height: int = 48, width: int = 64) -> Iterator[VideoFrame]:
    """Frames over a textured ground whose mean luma tells their number (mod 100): 20 + 2 k in the left half."""
    ground = noise(height, width) // 4 + 80
    for number in range(count):
        luma = np.roll(ground, number, axis=1)
        luma[:, : width // 2] = 20 + 2 * (number % 100)
        yield planar(luma)


def number_of(luma: NDArray[np.uint8]) -> int:
    """Which frame of `numbered` this full-range luma shows (mod 100)."""
    level = float(luma[:, 2 : luma.shape[1] // 2 - 2].mean()) * 219 / 255 + 16
    return round((level - 20) / 2)


def write_video(
    path: Path,
    frames: Iterable[VideoFrame],
    *,
    codec: str = "libx264",
    rate: Fraction | int = 25,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    format: str | None = None,  # noqa: A002  # the name it has in FFmpeg
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    rotation: tuple[float, bool, bool] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Encode frames, in the pixel format of the first, at a rate or at pts of time_base. options: of the codec."""
    time_base = time_base or 1 / Fraction(rate)
    stream = None
    with av.open(str(path), "w", format=format, container_options=muxer or {}) as container:
        container.metadata.update(metadata or {})
        for number, frame in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=Fraction(rate), options=options or {})
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
                stream.codec_context.time_base = time_base
                if frame.color_range:
                    stream.codec_context.color_range = frame.color_range
                if rotation:
                    stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
                if aspect:
                    stream.codec_context.sample_aspect_ratio = aspect
            frame.pts, frame.time_base = number if pts is None else pts[number], time_base
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    return path


def solid(level: int, height: int = 32, width: int = 32) -> VideoFrame:
    """A yuv420p frame of one luma and no colour."""
    return planar(np.full((height, width), level, np.uint8))


def opened(path: Path, **options: Any) -> VideoSource:
    """A video file as a source."""
    source = open_source(path, **options)
    assert isinstance(source, VideoSource)
    return source


def read(path: Path, **options: Any) -> list[Frame]:
    """All frames of a video file; asserts that there is nothing to complain about."""
    with opened(path, **options) as source:
        frames = list(source.frames())
    assert source.complaints() == []
    return frames


def write_image(path: Path, pixels: NDArray[np.generic]) -> Path:
    """Encode an image by the suffix of its path; names of any characters."""
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path
