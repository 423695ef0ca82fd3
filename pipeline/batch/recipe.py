"""A task made ready: its options read and checked, as a job and the network to run it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from engines.backends import auto_model
from engines.base import Backend, CrotalusError, Fuser
from engines.classical import ClassicalMethod
from engines.model import load_model, version
from pipeline.align import Geometry, Reference
from pipeline.arguments import parse_rate, parse_shift, parse_size
from pipeline.batch.place import is_address, parse_place
from pipeline.batch.task import Task
from pipeline.chosen import check_chosen, open_chosen
from pipeline.encoding import FORMATS, SinkSettings, check_settings
from pipeline.frames import InputError
from pipeline.job import Job
from pipeline.palettes import palette
from pipeline.rigging import clock_offset, clock_rate, reference_of, rigging_of
from pipeline.sync import Gap, SyncPolicy
from pipeline.thermal import parse_gain, parse_region
from pipeline.views import VIEWS, Choice, needs_network
from pipeline.work_height import check_work_height

OPTIONS = (
    "model", "method", "backend", "precision", "tolerance", "gap", "reference", "depth", "shift", "size",
    "work_height", "gray",
    "codec", "crf", "preset", "pixel_format", "rate", "view", "palette", "weight", "hot_level", "agc", "agc_region",
    "steady",
)  # fmt: skip
"""What a task may choose: options of `fuse` that make sense for a whole file. `pixel-format` is `pixel_format`."""
Precision = Literal["fp32", "fp16"]
DEFAULTS = SinkSettings()
NOT_JOINED = (".avi",)
"""File types that cannot be put together exactly: AVI holds whole frames of one rate, whatever their times."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to do with a pair of local files."""

    job: Job
    model: str
    backend: Backend
    precision: Precision
    method: ClassicalMethod | None = None

    @property
    def network(self) -> tuple[ClassicalMethod | None, str, Backend, Precision] | None:
        """What to open a fuser for; None for the views that do without the network."""
        return (self.method, self.model, self.backend, self.precision) if needs_network(self.job.choice) else None

    def open(self, *, threads: int) -> Fuser | None:
        """Its fuser, to be closed by the caller."""
        if self.network is None:
            return None
        return open_chosen(self.method, self.model, self.backend, precision=self.precision, threads=threads)


def recipe_of(task: Task, *, threads: int = 0) -> Recipe:
    """The recipe of a task whose places are paths of this machine. Raises InputError for an option that cannot be."""
    given = _Given(task.options)
    rigging = rigging_of(Path(task.rig) if task.rig else None, given.number("depth"))
    region, agc, size, rate = (given.text(name) for name in ("agc_region", "agc", "size", "rate"))
    gap, reference = given.one_of("gap", get_args(Gap), "drop"), given.one_of("reference", get_args(Reference), None)
    job = Job(
        task.ir, task.vis, Path(task.out),
        policy=SyncPolicy(clock_offset(task.offset, rigging), given.number("tolerance"), gap,
                          clock_rate(task.offset, rigging)),
        geometry=Geometry(
            reference_of(reference, rigging), parse_size(size) if size else None,
            parse_shift(given.text("shift") or "0,0"), rigging, given.whole("work_height"),
        ),
        tint="gray" if given.fact("gray") else "vis",
        choice=Choice(given.one_of("view", VIEWS, "fused"), given.number("weight", Choice().weight),
                      given.whole("hot_level", Choice().hot_level)),
        palette=given.text("palette") or "white hot",
        gain=parse_gain(agc or "percentile", parse_region(region) if region else None, is_for_8bit=agc is not None),
        settings=_settings(task, given, threads), rate=parse_rate(rate) if rate else None, threads=threads,
        hwaccel="off", steady=given.fact("steady") if given.text("steady") else None,
    )  # fmt: skip
    backend = given.one_of("backend", get_args(Backend), "auto")
    check_work_height(job.geometry.work_height)
    model, precision = given.text("model") or "auto", given.one_of("precision", get_args(Precision), "fp16")
    method = given.one_of("method", get_args(ClassicalMethod), None)
    check_chosen(method, model, backend)
    return Recipe(job, model, backend, precision, method)


def is_steady(job: Job) -> bool:
    """Whether its frames are steadied, as by `fuse` where pictures are in the host's memory."""
    return job.steady is not False and needs_network(job.choice)


def check_options(task: Task) -> None:
    """Raise InputError for options that cannot be, as far as can be told without the files, which may be elsewhere."""
    local = replace(task, rig=None, out=parse_place(task.out).name, options=_without_depth(task.options))
    palette(recipe_of(local).job.palette)


def _without_depth(options: Mapping[str, str]) -> dict[str, str]:
    """Options that need no rig."""
    return {name: text for name, text in options.items() if name != "depth"}


def _settings(task: Task, given: _Given, threads: int) -> SinkSettings:
    """Of the encoder. Raises InputError if the output's file type does not take it, or cannot be joined."""
    settings = SinkSettings(
        given.text("codec") or DEFAULTS.codec,
        given.whole("crf", DEFAULTS.crf),
        given.text("preset") or DEFAULTS.preset,
        given.text("pixel_format") or DEFAULTS.pixel_format,
        threads,
    )
    out = Path(task.out)
    suffix = out.suffix.lower()
    if suffix not in FORMATS or suffix in NOT_JOINED:
        fits = " ".join(kind for kind in FORMATS if kind not in NOT_JOINED)
        raise InputError(f"{task.out}: batch cannot write {suffix or 'a file without a suffix'}; name it {fits}")
    check_settings(settings, out)
    return settings


def fingerprint(task: Task, recipe: Recipe, chunk: float, versions: Sequence[str]) -> str:
    """64 hex digits for everything that fused frames depend on: chunks of another fingerprint are of no use.

    chunk: s, as asked for. versions: of the files, see `version_of`.
    """
    model = load_model(recipe.model).files if recipe.network and not recipe.method else None
    values = {**task.to_json(), "versions": [*versions, version_of("", Path(recipe.job.palette))], "model": model,
              "chunk": chunk, "crotalus": version("crotalus")}  # fmt: skip
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def version_of(place: str, path: Path) -> str:
    """A text that changes when a file does. path: where it, or its copy, is on this machine; "" if there is none.

    Copies of what is elsewhere lie in folders named by the version that the store tells.
    """
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {path.parent.name}" if is_address(place) else f"{found.st_size} {found.st_mtime_ns}"


def with_defaults(task: Task, options: Mapping[str, str], rig: str | None, offset: float | None) -> Task:
    """The task, with what it does not say itself taken from the command line, and the model of `auto` by its name.

    Without the name two machines, one with a GPU, would fuse one video with two models.
    """
    own = task.offset if task.offset is not None else offset
    wanted = {**options, **task.options}
    if not wanted.get("method") and wanted.get("model", "auto") == "auto":
        wanted["model"] = _model_here(wanted.get("backend", "auto"), wanted.get("precision", "fp16"))
    return replace(task, rig=task.rig or rig, offset=own, options=wanted)


@functools.cache
def _model_here(backend: str, precision: str) -> str:
    """The name of the model that `auto` is; `auto` where that cannot be told, for whoever opens it to say why."""
    try:
        return auto_model(cast(Backend, backend), precision=cast(Precision, precision))
    except CrotalusError:
        return "auto"


class _Given:
    """Options as texts, taken one by one."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._texts = {name.replace("-", "_"): str(text) for name, text in options.items()}
        for name in self._texts:
            if name not in OPTIONS:
                raise InputError(f"option {name!r}: not one of batch; use {', '.join(OPTIONS)}")

    def text(self, name: str) -> str | None:
        return self._texts.get(name)

    def one_of(self, name: str, allowed: tuple[str, ...], otherwise: str | None) -> Any:
        text = self._texts.get(name, otherwise)
        if text is not None and text not in allowed:
            raise InputError(f"option {name} {text!r}: give one of {', '.join(allowed)}")
        return text

    def fact(self, name: str) -> bool:
        text = self._texts.get(name, "false").lower()
        if text not in ("true", "false", "yes", "no", "1", "0"):
            raise InputError(f"option {name} {text!r}: give true or false")
        return text in ("true", "yes", "1")

    def number(self, name: str, otherwise: Any = None) -> Any:
        return self._as(float, "a number", name, otherwise)

    def whole(self, name: str, otherwise: Any = None) -> Any:
        return self._as(int, "a whole number", name, otherwise)

    def _as(self, kind: type, called: str, name: str, otherwise: Any) -> Any:
        text = self._texts.get(name)
        try:
            return otherwise if text is None else kind(text)
        except ValueError as error:
            raise InputError(f"option {name} {text!r}: give {called}") from error
