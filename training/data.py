"""Training pairs: folders with `ir/` and `vis/`, and random crops of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm"}


class DataError(ValueError):
    """A folder that holds no usable pair."""


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Two files that show the same scene."""

    ir: Path
    vis: Path
    height: int
    """px"""
    width: int
    """px"""


@dataclass(frozen=True, slots=True)
class PairList:
    """The usable pairs of some folders, and a line for everything that is not used."""

    pairs: tuple[ImagePair, ...]
    skipped: tuple[str, ...]
    """One for each file without a partner, and for each two that do not make a pair."""


def find_pairs(folders: Iterable[Path], *, at_least: int = 1) -> PairList:
    """Pairs of `ir/` and `vis/` matched by file name without suffix, in order of folder and name.

    at_least: smallest side used, px. Every image is decoded once; listed in `skipped` are files without a partner,
    second files of one name (`a.jpg` is used, `a.png` is not), unreadable, 16-bit, too small and differently sized
    ones, and whatever is no image by its suffix, but for hidden files. Folders inside are not searched. Raises
    DataError for a folder without `ir/` or `vis/`, or if no pair is left.
    """
    pairs: list[ImagePair] = []
    skipped: list[str] = []
    for folder in folders:
        ir, vis = _images(folder / "ir", skipped), _images(folder / "vis", skipped)
        skipped += [f"{ir[stem]}: no partner in vis/" for stem in sorted(ir.keys() - vis.keys())]
        skipped += [f"{vis[stem]}: no partner in ir/" for stem in sorted(vis.keys() - ir.keys())]
        for stem in sorted(ir.keys() & vis.keys()):
            pair, reasons = _check(ir[stem], vis[stem], at_least)
            pairs += pair
            skipped += reasons
    if not pairs:
        first = f" (the first: {skipped[0]})" if skipped else ""
        raise DataError(
            f"no usable pair, {len(skipped)} files skipped{first}; give folders with ir/ and vis/ of equal names"
        )
    return PairList(tuple(pairs), tuple(skipped))


def split(pairs: Sequence[ImagePair], *, share: float, seed: int) -> tuple[list[ImagePair], list[ImagePair]]:
    """Training and validation pairs; the same seed gives the same split. share: of validation, 0..1."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    held = {int(i) for i in order[: round(share * len(pairs))]}
    return [p for i, p in enumerate(pairs) if i not in held], [p for i, p in enumerate(pairs) if i in held]


def read_luma(path: Path) -> NDArray[np.uint8]:
    """Full-range BT.601 luma (H, W) uint8 of an image file, as the pipeline reads it. Raises DataError."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)  # OpenCV reports a broken image on the terminal, too
    try:
        # Not IMREAD_GRAYSCALE: it turns a colour PNG with an sRGB or gAMA chunk gray in linear light, 66 levels off.
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except cv2.error:  # empty, or larger than OpenCV allows
        image = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if image is None:
        raise DataError(f"{path}: not a readable image")
    if image.dtype != np.uint8:
        raise DataError(f"{path}: pixels of type {image.dtype}; train on 8-bit images")
    return np.asarray(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def draw_batch(
    pairs: Sequence[ImagePair],
    *,
    size: int,
    count: int,
    seed: int,
    step: int,
    share: slice = slice(None),
    read: Callable[[Path], NDArray[np.uint8]] = read_luma,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Random crops of random pairs, IR and VIS (N, 1, size, size) uint8.

    The draw depends on seed and step alone, so that a resumed run sees what an unbroken one would have seen;
    `share` picks the part of the batch that one of several processes takes. read: what gives a picture's luma.
    """
    rng = np.random.default_rng((seed, step))
    plans = [(int(rng.integers(len(pairs))), rng.random(4)) for _ in range(count)]
    crops = [_crop(pairs[index], draw, size, read) for index, draw in plans[share]]
    return np.stack([ir for ir, _ in crops])[:, None], np.stack([vis for _, vis in crops])[:, None]


def _crop(
    pair: ImagePair, draw: NDArray[np.float64], size: int, read: Callable[[Path], NDArray[np.uint8]]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The same crop and flips of both pictures. draw: four numbers in 0..1."""
    top, left = int(draw[0] * (pair.height - size + 1)), int(draw[1] * (pair.width - size + 1))
    down, across = (-1 if draw[2] < 0.5 else 1), (-1 if draw[3] < 0.5 else 1)
    ir, vis = (read(p)[top : top + size, left : left + size][::down, ::across] for p in (pair.ir, pair.vis))
    return ir, vis


def _images(folder: Path, skipped: list[str]) -> dict[str, Path]:
    """The first image file of each name; what is left out gets a line in `skipped`."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; a folder of pairs holds ir/ and vis/")
    images: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            skipped.append(f"{path}: not an image file")
        elif path.stem in images:
            skipped.append(f"{path}: {images[path.stem].name} has the same name and is used")
        else:
            images[path.stem] = path
    return images


def _check(ir: Path, vis: Path, at_least: int) -> tuple[list[ImagePair], list[str]]:
    """The pair, or the reasons against it."""
    shapes, reasons = [], []
    for path in (ir, vis):
        try:
            shapes.append(read_luma(path).shape)
        except DataError as error:
            reasons.append(str(error))
    if reasons:
        return [], reasons
    if shapes[0] != shapes[1]:
        return [], [f"{ir}: {_size(shapes[0])}, its partner is {_size(shapes[1])}; a pair has one size"]
    if min(shapes[0]) < at_least:
        return [], [f"{ir}: {_size(shapes[0])}, a side below the {at_least} px needed"]
    return [ImagePair(ir, vis, shapes[0][0], shapes[0][1])], []


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
