"""Images as a source of frames: one file, a folder, or a chosen list, at a chosen rate."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import MAX_SIDE, Colour, Frame, InputError, StreamInfo

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pnm"})
"""Suffixes, in lower case, by which a file counts as an image."""

DEFAULT_RATE = Fraction(25)
"""Frames per second of images, which have none."""

COLOUR = Colour(full_range=True, primaries=1, transfer=13, matrix=5)
"""Of every image: sRGB (H.273: primaries 1, transfer 13), taken to YUV by full-range BT.601 as JPEG does."""

_ANY = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR  # keeps 16 bits and colour, drops alpha, turns by EXIF

Luma = NDArray[np.uint8] | NDArray[np.uint16]
Chroma = tuple[NDArray[np.uint8], NDArray[np.uint8]] | None


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorting key by which `img2` comes before `img10`; letter case counts only between otherwise equal names."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def is_image(path: Path) -> bool:
    """Whether a path is a file that counts as an image, by its suffix; hidden files (macOS `._a.png`) do not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def read_image(path: Path) -> tuple[Luma, Chroma]:
    """Luma (H, W) of an image and U and V (H, W) uint8 in full-range BT.601; None for them if the file is gray.

    Luma is uint8, or uint16 for 16-bit gray; 16-bit colour loses its low byte. Raises InputError.
    """
    pixels = _decoded(path)
    if pixels is None:
        raise InputError(f"{path.name}: not an image that can be read; check the file")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path.name}: pixels of type {pixels.dtype}; give images of 8 or 16 bits")
    if max(pixels.shape[:2]) > MAX_SIDE:
        raise InputError(f"{path.name}: {pixels.shape[1]}x{pixels.shape[0]}, at most {MAX_SIDE} a side; scale it down")
    if pixels.ndim == 2:
        return pixels, None
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    planes: Any = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb))
    luma, v, u = planes  # OpenCV puts Cr, our V, first
    return luma, (u, v)


def _decoded(path: Path) -> NDArray[Any] | None:
    """Pixels (H, W) or (H, W, 3) BGR, upright; None if they cannot be decoded, or not to the end."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)  # OpenCV reports a broken image on the terminal, too
    try:
        return cv2.imdecode(np.fromfile(path, np.uint8), _ANY)  # not imread(): it fails on names Windows calls foreign
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}); check the file") from error
    except cv2.error:  # empty, or larger than OpenCV allows
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)


def open_images(
    paths: Sequence[Path],
    *,
    name: str = "",
    start: float | None = None,
    end: float | None = None,
    rate: Fraction | None = None,
) -> ImageSource:
    """A source of exactly these images in exactly this order, image k at time k / rate.

    name: what messages call it; the first file's name if empty. start, end: s, end excluded. rate: frames/s, 25 if
    not given. Raises InputError if there is none, or none can be read.
    """
    rate = rate or DEFAULT_RATE
    # 0.1 is meant as 1/10, not as the float next to it.
    first, last = (
        None if time is None else math.ceil(Fraction(time).limit_denominator(1_000_000) * rate) for time in (start, end)
    )
    chosen = list(enumerate(paths))[first:last]
    if not chosen:
        problem = f"no image between --start and --end of {len(paths)}" if paths else "no images"
        raise InputError(f"{name or 'images'}: {problem}; choose others")
    return ImageSource(chosen, name=name or chosen[0][1].name, rate=rate)


class ImageSource:
    """Frames of a list of images, which may differ in size. One thread at a time. See `open_images`."""

    def __init__(self, images: Sequence[tuple[int, Path]], *, name: str, rate: Fraction) -> None:
        """images: pts and file of each, pts increasing, at least one. Raises InputError if none can be read."""
        self._images = list(images)
        self._unreadable: list[str] = []
        self._iterated = False
        self._first = self._read_first(name)
        _, _, luma, _ = self._first
        height, width = luma.shape
        self._info = StreamInfo(
            name=name,
            width=width,
            height=height,
            time_base=1 / rate,
            rate=rate,
            bits=8 * luma.itemsize,
            frames=len(self._images),
            colour=COLOUR,
        )

    @property
    def info(self) -> StreamInfo:
        """Of the first image that can be read; `frames` counts the unreadable ones too."""
        return self._info

    @property
    def names(self) -> list[str]:
        """File names of all images, in order, readable or not."""
        return [path.name for _, path in self._images]

    @property
    def paths(self) -> list[Path]:
        """Files of all images, in order, readable or not."""
        return [path for _, path in self._images]

    def __enter__(self) -> ImageSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is kept open between two images; here because every source has it."""

    def frames(self) -> Iterator[Frame]:
        """One frame for each image that can be read; pts is the image's place in the list, readable or not."""
        if self._iterated:
            raise RuntimeError("frames() of a source can be iterated once; open it again")
        self._iterated = True
        for index, (pts, name, luma, chroma) in enumerate(self._planes()):
            yield Frame(luma, chroma, pts, float(pts * self._info.time_base), index, name)

    def complaints(self) -> list[str]:
        """One line for each image that could not be read and was left out."""
        return [f"{self._info.name}: left out {line}" for line in self._unreadable]

    def remarks(self) -> list[str]:
        """Nothing: an image is read or it is not."""
        return []

    def _read_first(self, name: str) -> tuple[int, str, Luma, Chroma]:
        """The first image that can be read. Raises InputError, with the first one's reason, if there is none."""
        first = next(self._read(self._images), None)
        if first is not None:
            return first
        if len(self._images) == 1:
            raise InputError(self._unreadable[0])
        raise InputError(f"{name}: not one of {len(self._images)} images can be read; {self._unreadable[0]}")

    def _planes(self) -> Iterator[tuple[int, str, Luma, Chroma]]:
        """All images that can be read; the first has been read at opening."""
        yield self._first
        yield from self._read([image for image in self._images if image[0] > self._first[0]])

    def _read(self, images: Sequence[tuple[int, Path]]) -> Iterator[tuple[int, str, Luma, Chroma]]:
        for pts, path in images:
            try:
                luma, chroma = read_image(path)
            except InputError as error:
                self._unreadable.append(str(error))
                continue
            yield pts, path.name, luma, chroma
