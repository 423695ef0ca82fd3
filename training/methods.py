"""What is measured: our models, formulas that are always there, and folders of results made by others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.classical import CLASSICAL, open_classical
from engines.model import load_model, sha256, version
from engines.onnx_cpu import OnnxFuser
from training.data import SUFFIXES, DataError, ImagePair, read_luma

Luma = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Method:
    """One way to a fused picture."""

    name: str
    """As the tables call it."""
    kind: Literal["formula", "model", "results"]
    folder: Path = Path()
    """Of the model or the results."""
    formula: str = ""
    """One of `CLASSICAL`, if it is not one of `FORMULAS` by its name."""


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to be measured."""

    method: Method
    pair: ImagePair
    result: Path | None = None
    """The fused picture, if it was made by others."""


plain_mean = open_classical("mean").fuse
"""(ir + vis) / 2, half up."""
FORMULAS: dict[str, Callable[[Luma, Luma], Luma]] = {
    "plain mean": plain_mean,
    "plain max": open_classical("max").fuse,
    "copy ir": lambda ir, vis: ir,
    "copy vis": lambda ir, vis: vis,
    "laplacian pyramid": open_classical("laplacian").fuse,
}
"""Every table has their rows: a single metric can be won by one of them."""


def open_methods(given: Sequence[str | Path]) -> list[Method]:
    """The formulas, then a method for each of `METHOD` or `NAME=METHOD`.

    A folder with model.json is a model, another folder holds results; what is no folder is one of `CLASSICAL` or a
    shipped model. Raises ModelError; BackendError for a method whose library is missing; DataError for a name used
    twice.
    """
    methods = [Method(name, "formula") for name in FORMULAS]
    for text in map(str, given):
        name, equals, place = text.partition("=") if not Path(text).exists() else ("", "", text)
        folder = Path(place if equals or not name else name)
        if folder.is_dir() and not (folder / "model.json").exists():
            methods.append(Method(name if equals else folder.resolve().name, "results", folder))
        elif str(folder) in CLASSICAL and not folder.exists():
            open_classical(str(folder))
            methods.append(Method(name if equals else str(folder), "formula", formula=str(folder)))
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
    return fuse(job.method, read_luma(job.pair.ir), read_luma(job.pair.vis))


def fuse(method: Method, ir: Luma, vis: Luma) -> Luma:
    """The fused picture (H, W) of a formula or a model, the pair taken alone. Raises ModelError, BackendError."""
    if method.formula:
        return open_classical(method.formula).fuse(ir, vis)
    return FORMULAS[method.name](ir, vis) if method.kind == "formula" else fuser_of(method.folder).fuse(ir, vis)


def fingerprint(job: Job) -> str:
    """What the picture comes from, besides its sources and the code."""
    return made_by(job.method) if job.result is None else sha256(job.result)


def made_by(method: Method) -> str:
    """What stands for a formula or a model, whatever it is called."""
    if method.formula == "csr":
        return f"csr by SPORCO {version('sporco')}"
    return method.formula or method.name if method.kind == "formula" else sha256(method.folder / "model.json")


@functools.lru_cache(maxsize=1)
def fuser_of(folder: Path) -> OnnxFuser:
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
