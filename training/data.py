"""Training pairs: folders with `ir/` and `vis/`, and random crops of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """The usable pairs of some folders, and a line for every file that is not used."""

    pairs: tuple[ImagePair, ...]
    skipped: tuple[str, ...]


def find_pairs(folders: Iterable[Path], *, at_least: int = 1) -> PairList:
    """Pairs of `ir/` and `vis/` matched by file name without suffix, in order of folder and name.

    at_least: smallest side used, px. Every file is decoded once: unmatched, unreadable, too small and differently
    sized ones are listed in `skipped`. Raises DataError for a folder without `ir/` or `vis/`, or if no pair is left.
    """
    pairs: list[ImagePair] = []
    skipped: list[str] = []
    for folder in folders:
        ir, vis = _images(folder / "ir"), _images(folder / "vis")
        skipped += [f"{ir[stem]}: no partner in vis/" for stem in sorted(ir.keys() - vis.keys())]
        skipped += [f"{vis[stem]}: no partner in ir/" for stem in sorted(vis.keys() - ir.keys())]
        for stem in sorted(ir.keys() & vis.keys()):
            found = _check(ir[stem], vis[stem], at_least)
            if isinstance(found, str):
                skipped.append(found)
            else:
                pairs.append(found)
    if not pairs:
        raise DataError(f"no pairs found, {len(skipped)} files skipped; give folders with ir/ and vis/ of equal names")
    return PairList(tuple(pairs), tuple(skipped))


def split(pairs: Sequence[ImagePair], *, share: float, seed: int) -> tuple[list[ImagePair], list[ImagePair]]:
    """Training and validation pairs; the same seed gives the same split. share: of validation, 0..1."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    held = {int(i) for i in order[: round(share * len(pairs))]}
    return [p for i, p in enumerate(pairs) if i not in held], [p for i, p in enumerate(pairs) if i in held]


def read_luma(path: Path) -> NDArray[np.uint8]:
    """Full-range BT.601 luma (H, W) uint8 of an image file. Raises DataError if it cannot be decoded."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE) if path.stat().st_size else None
    if image is None:
        raise DataError(f"{path}: not a readable image")
    return np.asarray(image, np.uint8)


def draw_batch(
    pairs: Sequence[ImagePair], *, size: int, count: int, seed: int, step: int, share: slice = slice(None)
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Random crops of random pairs, IR and VIS (N, 1, size, size) uint8.

    The draw depends on seed and step alone, so that a resumed run sees what an unbroken one would have seen;
    `share` picks the part of the batch that one of several processes takes.
    """
    rng = np.random.default_rng((seed, step))
    plans = [(int(rng.integers(len(pairs))), rng.random(4)) for _ in range(count)]
    crops = [_crop(pairs[index], draw, size) for index, draw in plans[share]]
    return np.stack([ir for ir, _ in crops])[:, None], np.stack([vis for _, vis in crops])[:, None]


def _crop(pair: ImagePair, draw: NDArray[np.float64], size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The same crop and flips of both pictures. draw: four numbers in 0..1."""
    top, left = int(draw[0] * (pair.height - size + 1)), int(draw[1] * (pair.width - size + 1))
    down, across = (-1 if draw[2] < 0.5 else 1), (-1 if draw[3] < 0.5 else 1)
    ir, vis = (read_luma(p)[top : top + size, left : left + size][::down, ::across] for p in (pair.ir, pair.vis))
    return ir, vis


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; a folder of pairs holds ir/ and vis/")
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES}


def _check(ir: Path, vis: Path, at_least: int) -> ImagePair | str:
    try:
        shapes = read_luma(ir).shape, read_luma(vis).shape
    except (DataError, OSError) as error:
        return str(error)
    if shapes[0] != shapes[1]:
        return f"{ir}: {_size(shapes[0])}, its partner is {_size(shapes[1])}; a pair has one size"
    if min(shapes[0]) < at_least:
        return f"{ir}: {_size(shapes[0])} is smaller than the crop of {at_least} px"
    return ImagePair(ir, vis, *shapes[0])


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
