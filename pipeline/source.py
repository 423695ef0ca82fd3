"""The one function that opens an input: a video file, an image, a folder of images, or a glob of them."""

from __future__ import annotations

import glob
import math
import os
import re
from fractions import Fraction
from pathlib import Path

from pipeline.device_frames import Decoder
from pipeline.frames import InputError
from pipeline.image_source import IMAGE_SUFFIXES, ImageSource, is_image, natural_key, open_images
from pipeline.video_source import VideoSource

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def open_source(
    path: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    rate: Fraction | None = None,
    threads: int = 0,
    decoder: Decoder | None = None,
) -> VideoSource | ImageSource:
    """Open an input, told apart by what it is; names are taken literally, a glob only if nothing has that name.

    start, end: s from the first frame, end excluded. rate: frames/s of images (25 if not given), and of videos that
    do not tell theirs. threads: of a video's decoder, 0 for what suits it. decoder: of a device, for videos that it
    can decode into its memory. Raises InputError.
    """
    name = os.fspath(path)
    _check(name, start, end, rate, threads)
    given = Path(name)
    if os.path.isdir(name):
        images = _inside(given)
    elif os.path.exists(name):
        if given.suffix.lower() not in IMAGE_SUFFIXES:
            return VideoSource(given, start=start, end=end, rate=rate, threads=threads, decoder=decoder)
        images = [given]
    elif glob.has_magic(name):
        images = _matches(name)
    elif _ADDRESS.match(name):
        raise InputError(f"{name}: network addresses are not supported; give a file, a folder of images, or a glob")
    else:
        raise InputError(f"{name}: no such file or folder; check the name")
    return open_images(images, name=given.name or name, start=start, end=end, rate=rate)


def holds_images(path: str | Path) -> bool:
    """Whether `open_source` would open an image, a folder or a glob of them: what has no clock."""
    name = os.fspath(path)
    if os.path.exists(name):
        return os.path.isdir(name) or Path(name).suffix.lower() in IMAGE_SUFFIXES
    return glob.has_magic(name)


def _check(name: str, start: float | None, end: float | None, rate: Fraction | None, threads: int) -> None:
    """Raise InputError for a value that is out of its range."""
    if not name or "\0" in name:
        raise InputError(f"{name!r}: not a file name; give a file, a folder of images, or a glob")
    for option, value in (("--start", start), ("--end", end)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"{option} {value}: not a time; give seconds from the first frame, 0 or more")
    if end is not None and end <= (start or 0):
        raise InputError(f"--end {end} is not after --start {start or 0}; give a later end")
    if rate is not None and rate <= 0:
        raise InputError(f"--rate {rate}: not a frame rate; give frames per second, above 0")
    if threads < 0:
        raise InputError(f"threads {threads}: give the decoder's threads, 0 for as many as fit the cores")


def _inside(folder: Path) -> list[Path]:
    """The images in a folder, not below it, in natural order. Raises InputError if there is none."""
    try:
        images = [file for file in folder.iterdir() if is_image(file)]
    except OSError as error:
        raise InputError(f"{folder}: folder cannot be read ({error.strerror}); check its permissions") from error
    if not images:
        raise InputError(f"{folder}: folder without images; put {_allowed()} files in it, or give a video file")
    return sorted(images, key=lambda file: natural_key(file.name))


def _matches(pattern: str) -> list[Path]:
    """The images that a glob matches, in natural order of their whole path. Raises InputError if there is none."""
    found = [Path(match) for match in glob.glob(pattern, recursive=True)]
    images = sorted((file for file in found if is_image(file)), key=lambda file: natural_key(str(file)))
    if not images:
        problem = f"matches {len(found)} files, but no image" if found else "matches nothing"
        raise InputError(f"{pattern}: {problem}; a glob is for {_allowed()} files, a video is given by its name")
    return images


def _allowed() -> str:
    return " ".join(sorted(IMAGE_SUFFIXES))
