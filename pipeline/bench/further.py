"""What is measured on request only: latency, batches, cores, length; each fuser in turn in every repeat."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engines.base import Fuser
from engines.trt import Precision
from pipeline.align import Size
from pipeline.bench.alone import Pictures, pictures_of
from pipeline.bench.batches import Batch, batched
from pipeline.bench.child import Answer, Request, ask
from pipeline.bench.clip import synthetic_pair
from pipeline.bench.growth import Length, lengths_for
from pipeline.bench.latency import Latency, latencies
from pipeline.bench.plan import DEFAULT_SIZE, Plan
from pipeline.bench.scaling import OnCores, first_cores
from pipeline.bench.spec import Spec
from pipeline.bench.timed import WARM_UP
from pipeline.frames import InputError
from pipeline.job import Job, open_pair

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Runner:
    """Measures on request. Rows that have a repeat are given back when `stop` is set."""

    plan: Plan
    stop: threading.Event
    precision: Precision = "fp16"
    on_step: Callable[[str], None] = lambda line: None

    def latency(self, fusers: Sequence[Fuser]) -> list[Latency]:
        """Of each fuser at each size."""
        found: list[Latency] = []
        for size in self.plan.sizes:
            with self._pictures(size) as (job, pictures):
                rows = {f.name: Latency(f.name, pictures.info.width, pictures.info.height) for f in fusers}
                for fuser in self._turns("latency", fusers):
                    rows[fuser.name].ms.append(latencies(job, fuser, pictures, self.plan.frames, self.plan.seconds))
                found += [row for row in rows.values() if row.ms]
            if self.stop.is_set():
                break
        return found

    def batches(self, fusers: Sequence[Fuser], counts: Sequence[int]) -> list[Batch]:
        """Of each fuser at each size with so many pairs at once."""
        found: list[Batch] = []
        for size in self.plan.sizes:
            with self._pictures(size) as (_, pictures):
                width, height = pictures.info.width, pictures.info.height
                rows = {(f.name, count): Batch(f.name, width, height, count) for f in fusers for count in counts}
                for fuser in self._turns("batches", fusers):
                    for count in counts:
                        rows[fuser.name, count].ms.append(
                            batched(fuser, pictures, count, self.plan.seconds / len(counts))
                        )
                found += [row for row in rows.values() if row.ms]
            if self.stop.is_set():
                break
        return found

    def cores(self, specs: Sequence[Spec], counts: Sequence[int]) -> list[OnCores]:
        """Of each spec at each size on so many cores. Raises ChildError."""
        found: list[OnCores] = []
        with tempfile.TemporaryDirectory(prefix="crotalus-bench-") as folder:
            for size in self.plan.sizes:
                inputs = self.plan.inputs_at(Path(folder), size)
                rows: dict[tuple[Spec, int], OnCores] = {}
                for spec in self._turns("cores", specs):
                    for count in counts:
                        request = self._request(
                            spec, inputs, size, self.plan.frames, self.plan.seconds, first_cores(count)
                        )
                        told = ask(request, self.stop)
                        if told is None:
                            break
                        row = OnCores(told.fuser, told.width, told.height, count)
                        rows.setdefault((spec, count), row).fps.append(told.fps)
                found += [rows[spec, count] for spec in specs for count in counts if (spec, count) in rows]
                if self.stop.is_set():
                    break
        return found

    def lengths(self, specs: Sequence[Spec], speeds: Sequence[float]) -> list[Length]:
        """Of each spec at one size, of a speed known before, pairs a second; once. Raises ChildError, InputError."""
        found: list[Length] = []
        size = DEFAULT_SIZE if DEFAULT_SIZE in self.plan.sizes else self.plan.sizes[0]
        with tempfile.TemporaryDirectory(prefix="crotalus-bench-") as folder:
            for spec, fps in zip(specs, speeds, strict=True):
                counts = lengths_for(fps, self._held())
                if len(counts) < 2:
                    raise InputError(f"growth with length: {counts[0]} pairs or fewer in the inputs; give longer ones")
                inputs = self.plan.inputs or synthetic_pair(Path(folder), size or DEFAULT_SIZE, counts[-1] + WARM_UP)
                answers: list[tuple[int, Answer]] = []
                for count in counts:
                    self.on_step(f"length, {count} pairs")
                    told = ask(self._request(spec, inputs, size, count, math.inf, None), self.stop)
                    if told is None:
                        return found
                    answers.append((count, told))
                first = answers[0][1]
                peaks = [told.peak_mb for _, told in answers if told.peak_mb is not None]
                found.append(Length(first.fuser, first.width, first.height, [told.pairs for _, told in answers],
                                    [told.seconds for _, told in answers], peaks))  # fmt: skip
        return found

    def _held(self) -> int | None:
        """Pairs that the inputs can give after the warm-up; None for a synthetic pair."""
        if self.plan.inputs is None:
            return None
        ir, vis, _ = open_pair(Job(*self.plan.inputs, Path("out.mp4"), threads=1))
        counts = [source.info.frames for source in (ir, vis)]
        ir.close()
        vis.close()
        return min(count for count in counts if count) - WARM_UP if any(counts) else None

    def _turns(self, what: str, things: Sequence[T]) -> Iterator[T]:
        """Each thing once in every repeat, until the user has had enough."""
        for repeat in range(self.plan.repeats):
            for k, thing in enumerate(things):
                if self.stop.is_set():
                    return
                self.on_step(f"{what}, {k + 1} of {len(things)}, {repeat + 1} of {self.plan.repeats}")
                yield thing

    @contextmanager
    def _pictures(self, size: Size | None) -> Iterator[tuple[Job, Pictures]]:
        with tempfile.TemporaryDirectory(prefix="crotalus-bench-") as folder:
            inputs = self.plan.inputs_at(Path(folder), size)
            job = self.plan.job(inputs, size, self.plan.presets[0], Path(folder))
            yield job, pictures_of(job)

    def _request(
        self, spec: Spec, inputs: tuple[str, str], size: Size | None, frames: int, seconds: float,
        cores: Sequence[int] | None,
    ) -> Request:  # fmt: skip
        plan = self.plan
        return Request(
            spec, inputs, size, plan.presets[0], frames, seconds, plan.threads, self.precision, plan.hwaccel,
            plan.steady, plan.work_height, cores,
        )  # fmt: skip
