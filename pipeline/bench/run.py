"""Every fuser at every size and preset, in turns, so that a drift of the machine meets all of them alike."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from engines.base import Fuser
from engines.classical import open_classical
from pipeline.align import Size
from pipeline.bench import alone
from pipeline.bench.facts import cores
from pipeline.bench.ffmpeg import NAME, blended, why_not
from pipeline.bench.load import Watch
from pipeline.bench.plan import Ears, Plan
from pipeline.bench.row import STAGES, Alone, Row, Turn
from pipeline.bench.timed import WARM_UP, timed
from pipeline.device_job import Hwaccel, decoder_of
from pipeline.frames import Frame
from pipeline.job import Job, Opened

RIVALS = ("mean", "laplacian")
"""Methods without a model that every table has."""
DEFAULT_RATE = Fraction(25)
"""Frames a second of it, and of inputs that do not say."""
ALONE = 1 / 3
"""Of the time of a run through the pipeline, for the fuser alone."""


def bench(
    inputs: tuple[str, str] | None,
    sizes: Sequence[Size | None],
    fuser: Fuser | Sequence[Fuser],
    *,
    frames: int,
    threads: int = 0,
    hwaccel: Hwaccel = "auto",
    stop: threading.Event | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
    on_notice: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Run plain mean, Laplacian pyramid and the fusers once over the same pairs at each size, to a video file.

    See `measure`, of which this is the plainest use.
    """
    plan = Plan(inputs, sizes, frames, threads=threads, hwaccel=hwaccel)
    return measure(plan, rivals_and(fuser), stop=stop, ears=Ears(on_row, on_notice))


def measure(
    plan: Plan,
    fusers: Sequence[Fuser],
    *,
    lean: Callable[[Fuser], Fuser | None] = lambda fuser: None,
    stop: threading.Event | None = None,
    ears: Ears | None = None,
    watch: Watch | None = None,
) -> list[Row]:
    """A row for each fuser, size and preset; in every repeat each of them has its turn.

    lean: opens the same fuser on one thread, whose CPU time is its work: more threads also wait for each other. stop:
    once set, the rows that have a repeat are returned. watch: told of the pauses between measurements.
    Raises InputError for inputs of fewer pairs than `timed` takes at the least.
    """
    rows: list[Row] = []
    stop, ears = stop or threading.Event(), ears or Ears()
    with tempfile.TemporaryDirectory(prefix="crotalus-bench-") as scratch:
        for size in plan.sizes:
            inputs = plan.inputs_at(Path(scratch), size)
            for preset in plan.presets:
                group = _Group(plan, plan.job(inputs, size, preset, Path(scratch)), fusers, lean, stop, ears, watch)
                rows += group.run()
                if stop.is_set():
                    return rows
    return rows


def rivals_and(fuser: Fuser | Sequence[Fuser]) -> list[Fuser]:
    """What a user would otherwise take, then the fusers; once if it is one of them."""
    fusers = list(fuser) if isinstance(fuser, Sequence) else [fuser]
    names = {fuser.name for fuser in fusers}
    return [*(rival for name in RIVALS if (rival := open_classical(name)).name not in names), *fusers]


class _Group:
    """All fusers at one size and preset."""

    def __init__(
        self, plan: Plan, job: Job, fusers: Sequence[Fuser], lean: Callable[[Fuser], Fuser | None],
        stop: threading.Event, ears: Ears, watch: Watch | None,
    ) -> None:  # fmt: skip
        self._plan, self._job, self._fusers, self._lean = plan, job, fusers, lean
        self._stop, self._ears, self._watch = stop, ears, watch
        self._turns: dict[str, list[Turn]] = {}
        self._alone: dict[str, dict[str, Alone]] = {}
        self._frames: dict[str, list[Frame]] = {}
        self._decode = Alone()
        self._blend_fps: list[float] = []
        self._work_ms: dict[str, float] = {}
        self._pictures: alone.Pictures | None = None
        self._rate = DEFAULT_RATE

    def run(self) -> list[Row]:
        """The rows that have a repeat, told of as they are."""
        for repeat in range(self._plan.repeats):
            for _ in self._steps(repeat):
                if self._watch is not None:
                    self._watch.look()
                if self._stop.is_set():
                    break
            if self._stop.is_set():
                break
        rows = list(self._rows())
        for row in rows:
            self._ears.on_row(row)
        return rows

    def _steps(self, repeat: int) -> Iterator[None]:
        """Measurements of one repeat, a stop possible after each."""
        of = f"{repeat + 1} of {self._plan.repeats}"
        for fuser in self._fusers:
            self._ears.on_step(f"{fuser.name}, {of}")
            turn = timed(self._job, fuser, seconds=self._plan.seconds, stop=self._stop, on_open=self._opened)
            if turn is not None:
                self._turns.setdefault(fuser.name, []).append(turn)
            yield
        yield from self._blend(of)
        if self._plan.is_alone:
            yield from self._each_alone(of)

    def _opened(self, opened: Opened) -> None:
        self._rate = opened.out.rate or DEFAULT_RATE
        self._ears.opened(opened)

    def _blend(self, of: str) -> Iterator[None]:
        blend = self._plan.blend
        longest = max((turns[-1] for turns in self._turns.values()), key=lambda turn: turn.pairs)
        if blend is None:
            return
        if reason := why_not(self._job):
            return self._ears.notice(reason)
        self._ears.on_step(f"{NAME}, {of}")
        job = replace(self._job, out=self._job.out.with_stem("blend"))
        fps = blended(blend, job, (longest.width, longest.height), self._rate, longest.pairs, WARM_UP, self._stop)
        if isinstance(fps, str):
            self._ears.notice(fps)
        elif fps is not None:
            self._blend_fps.append(fps)
        yield

    def _each_alone(self, of: str) -> Iterator[None]:
        """Decoding, then of each fuser that works in the host's memory the rest, all of the pairs of its own turn.

        As many pairs as the pipeline took, for one part of a video is harder to code than another.
        """
        job, stop = self._job, self._stop
        self._ears.on_step(f"decoding alone, {of}")
        most = max(turns[-1].pairs for turns in self._turns.values())
        self._decode.add(*alone.decoding(job, most, stop))
        yield
        self._pictures = pictures = self._pictures or alone.pictures_of(job, most + WARM_UP)
        for fuser in self._fusers:
            if decoder_of(job, fuser) is not None or stop.is_set():
                continue
            self._ears.on_step(f"{fuser.name} alone, {of}")
            pairs, costs = self._turns[fuser.name][-1].pairs, self._alone.setdefault(fuser.name, _parts())
            wall, cpu = self._fusing(fuser)
            costs["fuse"].add(wall, min(cpu, self._work(fuser)))
            frames = self._frames[fuser.name]
            costs["encode"].add(*alone.encoding(job, pictures, frames, pairs, stop))
            costs["at once"].add(*alone.at_once(job, fuser, pictures, frames, pairs, stop))
            yield

    def _fusing(self, fuser: Fuser) -> alone.Cost:
        """Of the middle of the line; the frames that it makes are kept to be encoded."""
        assert self._pictures is not None
        pairs, wanted = self._turns[fuser.name][-1].pairs, 0
        if fuser.name not in self._frames:
            wanted = min(pairs + WARM_UP, len(self._pictures.pairs))
        cost, frames = alone.fusing(self._job, fuser, self._pictures, pairs, self._plan.seconds * ALONE, wanted)
        self._frames.setdefault(fuser.name, frames)
        return cost

    def _work(self, fuser: Fuser) -> float:
        """CPU ms a pair on one thread, measured once; infinite where there is no such fuser."""
        if fuser.name not in self._work_ms:
            self._work_ms[fuser.name] = math.inf
            assert self._pictures is not None
            lean = self._lean(fuser)
            if lean is not None:
                try:
                    seconds = self._plan.seconds * ALONE
                    cost, _ = alone.fusing(self._job, lean, self._pictures, self._plan.frames, seconds)
                    self._work_ms[fuser.name] = cost[1]
                finally:
                    lean.close()
        return self._work_ms[fuser.name]

    def _rows(self) -> Iterator[Row]:
        preset = str(self._job.settings.preset)
        size = (0, 0)
        for fuser in self._fusers:
            turns = sorted(self._turns.get(fuser.name, []), key=lambda turn: turn.fps)
            if not turns:
                continue
            middle = turns[(len(turns) - 1) // 2]
            size = middle.width, middle.height
            row = Row(fuser.name, *size, middle.stats, preset, pairs=middle.pairs, cores=cores())
            row.fps_of_repeats = [turn.fps for turn in self._turns[fuser.name]]
            row.cpu_ms_of_repeats = [turn.cpu_ms for turn in self._turns[fuser.name]]
            row.weights = _weights(fuser)
            if costs := self._alone.get(fuser.name):
                row.alone = {stage: self._decode if stage == "decode" else costs[stage] for stage in STAGES}
                row.at_once = costs["at once"]
            yield row
        if self._blend_fps:
            pairs = max(turns[-1].pairs for turns in self._turns.values())
            yield Row(NAME, *size, None, preset, self._blend_fps, pairs=pairs)


def _parts() -> dict[str, Alone]:
    return {name: Alone() for name in ("fuse", "encode", "at once")}


def _weights(fuser: Fuser) -> str | None:
    """The first digits of the hash of what the network learned."""
    files = fuser.info.files if fuser.info else {}
    return (files.get("weights.safetensors") or next(iter(files.values())))[:12] if files else None
