"""Clips of two cameras, and what fuses them: models as a stream or frame by frame, formulas, videos made by others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import StreamState
from engines.model import sha256
from engines.steady import Steady
from training.data import DataError
from training.methods import Method, fuse, fuser_of, made_by, open_methods
from training.rows import LEAST_SIDE
from training.video import SUFFIXES, VideoShape, read_video, video_shape

FRAMES = "@frames"
"""Behind a model's name: each frame alone, as the paper has it, instead of as a stream."""
STEADY = "@steady"
"""Behind a name: as a stream that is steadied as the pipeline does it."""
LEAST_FRAMES = 3
"""Flicker is a second difference."""
Luma = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Clip:
    """Two videos of one scene, frame by frame."""

    name: str
    ir: Path
    vis: Path
    shape: VideoShape
    """Of both; `frames` as many as are measured."""


@dataclass(frozen=True, slots=True)
class ClipMethod:
    """One way to a fused clip."""

    method: Method
    follows: bool = True
    """A model keeps the rules of its maps from frame to frame, as a stream does."""
    steady: bool = False
    """See `engines.steady`."""

    @property
    def name(self) -> str:
        """As the tables call it."""
        return self.method.name


@dataclass(frozen=True, slots=True)
class ClipJob:
    """One clip to be measured with one method."""

    method: ClipMethod
    pair: Clip
    result: Path | None = None
    """The fused video, if it was made by others."""
    series: Path | None = None
    """Where what a page shows of the fused clip is to be kept."""


def find_clips(places: Sequence[Path], *, frames: int = 0) -> tuple[list[Clip], list[str]]:
    """Clips, and a line for every one that cannot be used.

    places: folders that hold `ir.*` and `vis.*`, or folders of such folders; or just two files, IR and VIS. frames: of
    each clip the first so many; 0: all. Raises DataError if no clip is left, or two have one name.
    """
    clips: list[Clip] = []
    skipped: list[str] = []
    for name, ir, vis in _files(places, skipped):
        try:
            shapes = [video_shape(path) for path in (ir, vis)]
        except DataError as error:
            skipped.append(str(error))
            continue
        if shapes[0] != shapes[1]:
            skipped.append(f"{ir}: {_told(shapes[0])}, {vis.name} has {_told(shapes[1])}; a clip has one shape")
        elif shapes[0].frames < LEAST_FRAMES or min(shapes[0].height, shapes[0].width) < LEAST_SIDE:
            skipped.append(f"{ir}: {_told(shapes[0])}; a clip has {LEAST_FRAMES} frames and {LEAST_SIDE} px at least")
        else:
            count = min(shapes[0].frames, frames or shapes[0].frames)
            clips.append(Clip(name, ir, vis, VideoShape(count, shapes[0].height, shapes[0].width)))
    if not clips:
        first = f" (the first: {skipped[0]})" if skipped else ""
        raise DataError(
            f"no usable clip, {len(skipped)} skipped{first}; give folders with ir.* and vis.*, or two files"
        )
    names = [clip.name for clip in clips]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"two clips named {min(twice)}; rename a folder, or measure one of them at a time")
    return clips, skipped


def open_clip_methods(given: Sequence[str]) -> list[ClipMethod]:
    """The formulas, then a method for each of `MODEL`, `MODEL@frames`, `MODEL@steady`, `RESULT`, or `NAME=` before one.

    RESULT: a fused video, or a folder of `<clip>.mp4` and the like. Classical methods go by their names, too. Raises
    ModelError, BackendError; DataError for a name used twice.
    """
    methods = [ClipMethod(method) for method in open_methods([])]
    for text in given:
        methods.append(_method(text))
        if methods[-1].name in {method.name for method in methods[:-1]}:
            raise DataError(
                f"two methods named {methods[-1].name}; call one otherwise: NAME={text.partition('=')[2] or text}"
            )
    return methods


def plan_clips(
    methods: Sequence[ClipMethod], clips: Sequence[Clip], *, beside: Sequence[Clip] = ()
) -> tuple[list[ClipJob], list[str]]:
    """What is to be measured, clip by clip, and a line for every fused video that is missing, unfit, or of no clip.

    beside: clips that are not to be measured, and whose fused videos are no strangers. Raises DataError if nothing of
    a folder or file of fused videos fits.
    """
    left_out: list[str] = []
    others = {clip.name for clip in beside} - {clip.name for clip in clips}
    found = {m.name: _results(m.method, clips, others, left_out) for m in methods if _is_result(m)}
    jobs = [
        ClipJob(method, clip, found[method.name][clip.name] if _is_result(method) else None)
        for clip in clips  # a process that keeps to one clip need not look for its motion again
        for method in methods
        if not _is_result(method) or clip.name in found[method.name]
    ]
    return jobs, left_out


def fuse_clip(job: ClipJob, ir: Sequence[Luma], vis: Sequence[Luma]) -> tuple[list[Luma], float | None]:
    """The fused frames, and how many maps change their rule per frame; None where there are no rules to be seen.

    Raises DataError, ModelError, BackendError.
    """
    if job.result is not None:
        return read_video(job.result, frames=len(ir)), None
    method, steady = job.method.method, Steady() if job.method.steady else None
    fuser, state = fuser_of(method.folder) if method.kind == "model" else None, None
    frames: list[Luma] = []
    states: list[StreamState] = []
    for a, b in zip(ir, vis, strict=True):
        shown = a if steady is None else steady.put(a, b)
        if fuser is None:
            fused = fuse(method, shown, b)
        else:
            fused, state = fuser.fuse_next(shown, b, state if job.method.follows else None)
            states += [state] if state is not None else []
        frames.append(fused if steady is None else steady.get(fused))
    changes = [float((x.averaged != y.averaged).sum()) for x, y in pairwise(states)]
    return frames, float(np.mean(changes)) if changes else None


def clip_fingerprint(job: ClipJob) -> str:
    """What the fused clip comes from, besides its sources and the code."""
    made = made_by(job.method.method) if job.result is None else sha256(job.result)
    return f"{made} {job.pair.shape.frames} {job.method.follows} {job.method.steady}"


def _method(text: str) -> ClipMethod:
    name, equals, place = text.partition("=") if not Path(text).exists() else ("", "", text)
    place = place if equals or not name else name
    suffix = next((s for s in (FRAMES, STEADY) if place.endswith(s) and not Path(place).exists()), "")
    path = Path(place.removesuffix(suffix))
    is_folder = path.is_dir() and not (path / "model.json").exists()
    if is_folder or (path.is_file() and path.suffix.lower() in SUFFIXES):
        if suffix:
            raise DataError(f"{text}: {suffix} is for models; {path} is fused already")
        called = path.resolve().name if is_folder else path.stem
        return ClipMethod(Method(name if equals else called, "results", path))
    model = open_methods([path])[-1]
    if suffix == FRAMES and model.kind != "model":
        raise DataError(f"{text}: {FRAMES} is for models; {model.name} has no memory")
    model = replace(model, name=name if equals else model.name + suffix)
    return ClipMethod(model, suffix != FRAMES, suffix == STEADY)


def _is_result(method: ClipMethod) -> bool:
    return method.method.kind == "results"


def _files(places: Sequence[Path], skipped: list[str]) -> list[tuple[str, Path, Path]]:
    """Name, IR and VIS of each clip."""
    if len(places) == 2 and all(place.is_file() for place in places):
        ir, vis = places
        return [(ir.parent.resolve().name if ir.stem == "ir" else ir.stem, ir, vis)]
    found: list[tuple[str, Path, Path]] = []
    for place in dict.fromkeys(places):
        if not place.is_dir():
            raise DataError(f"{place}: not a folder; give folders of clips, or two files, IR and VIS")
        if clip := _pair(place, skipped):
            found.append(clip)
            continue
        folders = sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
        clips = [(folder, _pair(folder, skipped)) for folder in folders]
        skipped += [f"{folder}: no ir.* and vis.* in it" for folder, clip in clips if clip is None]
        found += [clip for _, clip in clips if clip is not None]
    return found


def _pair(folder: Path, skipped: list[str]) -> tuple[str, Path, Path] | None:
    sides = []
    for stem in ("ir", "vis"):
        files = sorted(p for p in folder.iterdir() if p.stem == stem and p.suffix.lower() in SUFFIXES)
        skipped += [f"{path}: {files[0].name} is used" for path in files[1:]]
        sides += files[:1]
    return (folder.resolve().name, sides[0], sides[1]) if len(sides) == 2 else None


def _results(method: Method, clips: Sequence[Clip], others: set[str], left_out: list[str]) -> dict[str, Path]:
    """The fused video of each clip's name that fits it."""
    if method.folder.is_file():
        files = {clips[0].name if len(clips) == 1 else method.folder.stem: method.folder}
    else:
        listed = sorted(path for path in method.folder.iterdir() if path.suffix.lower() in SUFFIXES)
        files = {path.stem: path for path in reversed(listed)}
        left_out += [f"{path}: {files[path.stem].name} is used" for path in listed if files[path.stem] != path]
    known = {clip.name: clip for clip in clips}
    left_out += [f"{path}: no clip of that name" for stem, path in files.items() if stem not in {*known, *others}]
    left_out += [f"{method.folder}: no video of {name}" for name in known if name not in files]
    fitting = {}
    for stem in files.keys() & known.keys():
        if reason := _unfit(files[stem], known[stem].shape):
            left_out.append(reason)
        else:
            fitting[stem] = files[stem]
    if not fitting:
        raise DataError(f"{method.folder}: no fused video fits a clip; give <clip>.mp4 of the clips' sizes and lengths")
    return fitting


def _unfit(path: Path, wanted: VideoShape) -> str | None:
    try:
        shape = video_shape(path)
    except DataError as error:
        return str(error)
    if (shape.height, shape.width) != (wanted.height, wanted.width) or shape.frames < wanted.frames:
        return f"{path}: {_told(shape)}, its clip is {_told(wanted)}"
    return None


def _told(shape: VideoShape) -> str:
    return f"{shape.frames} frames of {shape.width}x{shape.height}"
