"""What is measured: our models, formulas that are always there, and folders of results made by others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.model import load_model, sha256
from engines.onnx_cpu import OnnxFuser
from training.data import SUFFIXES, DataError, ImagePair, read_luma

Luma = NDArray[np.uint8]
LEVELS = 4
"""Of the Laplacian pyramid, as in the usual OpenCV recipe."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way to a fused picture."""

    name: str
    """As the tables call it."""
    kind: Literal["formula", "model", "results"]
    folder: Path = Path()
    """Of the model or the results."""


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to be measured."""

    method: Method
    pair: ImagePair
    result: Path | None = None
    """The fused picture, if it was made by others."""


def plain_mean(ir: Luma, vis: Luma) -> Luma:
    """(ir + vis) / 2, half up."""
    return ((ir.astype(np.uint16) + vis + 1) // 2).astype(np.uint8)


def laplacian_pyramid(ir: Luma, vis: Luma) -> Luma:
    """Per band the coefficient of larger magnitude, the mean of the coarsest level (Burt and Adelson 1983)."""
    a_bands, b_bands = _bands(ir), _bands(vis)
    fused: NDArray[np.float32] = (a_bands.pop() + b_bands.pop()) / np.float32(2)
    for a, b in zip(reversed(a_bands), reversed(b_bands), strict=True):
        fused = np.add(_expanded(fused, a.shape), np.where(np.abs(a) >= np.abs(b), a, b), dtype=np.float32)
    return np.rint(fused).clip(0, 255).astype(np.uint8)


FORMULAS: dict[str, Callable[[Luma, Luma], Luma]] = {
    "plain mean": plain_mean,
    "plain max": np.maximum,
    "copy ir": lambda ir, vis: ir,
    "copy vis": lambda ir, vis: vis,
    "laplacian pyramid": laplacian_pyramid,
}
"""Every table has their rows: a single metric can be won by one of them."""


def open_methods(given: Sequence[str | Path]) -> list[Method]:
    """The formulas, then a method for each of `MODEL`, `FOLDER`, `NAME=MODEL` or `NAME=FOLDER`.

    A folder with model.json is a model, another folder holds results. Raises ModelError; DataError for a name used
    twice.
    """
    methods = [Method(name, "formula") for name in FORMULAS]
    for text in map(str, given):
        name, equals, place = text.partition("=") if not Path(text).exists() else ("", "", text)
        folder = Path(place if equals or not name else name)
        if folder.is_dir() and not (folder / "model.json").exists():
            methods.append(Method(name if equals else folder.resolve().name, "results", folder))
        else:
            info = load_model(str(folder))
            methods.append(Method(name if equals else info.name, "model", info.folder))
        if methods[-1].name in {method.name for method in methods[:-1]}:
            raise DataError(f"two methods named {methods[-1].name}; call one otherwise: NAME={place or folder}")
    return methods


def plan(
    methods: Sequence[Method], pairs: Sequence[ImagePair], *, beside: Sequence[ImagePair] = ()
) -> tuple[list[Job], list[str]]:
    """The pictures to be measured, and a line for every result that is missing, of another size, or of no pair.

    beside: pairs that are not to be measured, and whose results are no strangers. Raises DataError if pairs share a
    name, so that it cannot be said whose a result is, or no result is left.
    """
    jobs: list[Job] = []
    left_out: list[str] = []
    for method in methods:
        if method.kind == "results":
            jobs += _results(method, pairs, {pair.ir.stem for pair in beside}, left_out)
        else:
            jobs += [Job(method, pair) for pair in pairs]
    return jobs, left_out


def fused(job: Job) -> Luma:
    """The fused picture (H, W) of one job. Raises DataError, ModelError, BackendError."""
    if job.result is not None:
        return read_luma(job.result)
    ir, vis = read_luma(job.pair.ir), read_luma(job.pair.vis)
    return (
        FORMULAS[job.method.name](ir, vis) if job.method.kind == "formula" else _fuser(job.method.folder).fuse(ir, vis)
    )


def fingerprint(job: Job) -> str:
    """What the picture comes from, besides its sources and the code."""
    if job.result is not None:
        return sha256(job.result)
    return job.method.name if job.method.kind == "formula" else sha256(job.method.folder / "model.json")


@functools.lru_cache(maxsize=1)
def _fuser(folder: Path) -> OnnxFuser:
    """The last model used; one thread, as every core has a process of its own."""
    return OnnxFuser(load_model(folder), threads=1)


def _results(method: Method, pairs: Sequence[ImagePair], beside: set[str], left_out: list[str]) -> list[Job]:
    """A job for every pair with a fitting picture in the folder."""
    names = [pair.ir.stem for pair in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"two pairs named {twice}: whose is {method.folder / twice}? measure one folder of pairs at a time"
        )
    files: dict[str, Path] = {}
    for path in sorted(path for path in method.folder.iterdir() if path.suffix.lower() in SUFFIXES):
        if path.stem in beside - set(names):
            continue
        if path.stem not in names:
            left_out.append(f"{path}: no pair of that name")
        elif path.stem in files:
            left_out.append(f"{path}: {files[path.stem].name} has the same name and is used")
        else:
            files[path.stem] = path
    jobs = []
    for pair in pairs:
        if pair.ir.stem not in files:
            left_out.append(f"{method.folder}: no result for {pair.ir.stem}")
        elif reason := _unfit(files[pair.ir.stem], pair):
            left_out.append(reason)
        else:
            jobs.append(Job(method, pair, files[pair.ir.stem]))
    if not jobs:
        raise DataError(f"{method.folder}: no result fits a pair; give pictures of the pairs' names and sizes")
    return jobs


def _unfit(path: Path, pair: ImagePair) -> str | None:
    """Why a result cannot be measured."""
    try:
        height, width = read_luma(path).shape
    except DataError as error:
        return str(error)
    if (height, width) == (pair.height, pair.width):
        return None
    return f"{path}: {width}x{height}, its pair is {pair.width}x{pair.height}"


def _bands(luma: Luma) -> list[NDArray[np.float32]]:
    """Detail bands from fine to coarse, then the coarsest level."""
    level, bands = luma.astype(np.float32), []
    for _ in range(LEVELS):
        if min(level.shape) < 2:
            break
        coarse = np.asarray(cv2.pyrDown(level), np.float32)
        bands.append(level - _expanded(coarse, level.shape))
        level = coarse
    return [*bands, level]


def _expanded(level: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(cv2.pyrUp(level, dstsize=(shape[1], shape[0])), np.float32)
