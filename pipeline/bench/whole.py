"""The whole run of `bench`: what was asked for, one part after the other, until the user has had enough."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engines.base import CrotalusError, Fuser
from engines.trt import Precision
from pipeline.bench.anchors import copying, multiplying
from pipeline.bench.facts import machine, threads, versions
from pipeline.bench.ffmpeg import NAME
from pipeline.bench.further import Runner
from pipeline.bench.growth import pixels_of
from pipeline.bench.load import APART, Watch
from pipeline.bench.plan import DEFAULT_SIZE, Ears, Plan
from pipeline.bench.result import COPYING, Result
from pipeline.bench.row import Row
from pipeline.bench.run import measure, rivals_and
from pipeline.bench.spec import Spec

ANCHORS: dict[str, Callable[[], float]] = {
    COPYING: copying,
    "multiplying matrices, GFLOP": multiplying,
}
"""What tells two machines, or one machine on two days, apart without this program; of a second."""


@dataclass(frozen=True, slots=True)
class Order:
    """What of it was asked for."""

    plan: Plan
    specs: Sequence[Spec]
    precision: Precision = "fp16"
    batches: Sequence[int] = ()
    cores: Sequence[int] = ()
    is_latency: bool = False
    is_growth: bool = False
    eager: Sequence[Fuser] = field(default_factory=tuple)
    """The same networks by others, as rivals."""


def run_bench(
    order: Order,
    fusers: Sequence[Fuser],
    *,
    stop: threading.Event,
    ears: Ears,
) -> Result:
    """Measure all of it. fusers: of the specs, in their order. Once `stop` is set, what is finished is returned."""
    plan = order.plan
    result = Result(machine(), versions(), _settings(order))
    watch = Watch()
    anchors: dict[str, list[float]] = {name: [] for name in ANCHORS}

    def anchor() -> None:
        for name, work in ANCHORS.items():
            anchors[name].append(work())

    ears.on_step("memory and arithmetic")
    for _ in range(plan.repeats):
        anchor()

    def lean(fuser: Fuser) -> Fuser | None:
        spec = next((spec for spec, own in zip(order.specs, fusers, strict=True) if own is fuser), None)
        is_network = spec is not None and spec.method is None and fuser.name.endswith(" on cpu")
        return spec.open(threads=1, precision=order.precision) if spec is not None and is_network else None

    result.rows = measure(plan, [*rivals_and(fusers), *order.eager], lean=lean, stop=stop, ears=ears, watch=watch)
    if order.is_growth:
        result.pixels = list(pixels_of(result.rows, [fuser.name for fuser in rivals_and(fusers)]))
    for further in _further(order, fusers, result, stop, ears):
        if stop.is_set():
            break
        try:
            further()
        except CrotalusError as error:  # the rows were measured, and are not to be lost
            result.failed.append(str(error))
    for _ in range(plan.repeats if not stop.is_set() else 0):
        anchor()  # at the end, too: a machine that slowed down meanwhile shows in their spread
    result.anchors, result.load = anchors, watch.load()
    result.noise = [*result.load.reasons(), *_apart(result.rows)]
    result.is_interrupted = stop.is_set()
    return result


def _further(
    order: Order, fusers: Sequence[Fuser], result: Result, stop: threading.Event, ears: Ears
) -> Iterator[Callable[[], None]]:
    """What was asked for beside the rows, each to be called."""
    runner = Runner(order.plan, stop, order.precision, ears.on_step)
    everyone = [*rivals_and(fusers), *order.eager]
    if order.is_latency:
        yield lambda: result.latency.extend(runner.latency(everyone))
    if order.batches:
        yield lambda: result.batches.extend(runner.batches(fusers, order.batches))
    if order.cores:
        yield lambda: result.cores.extend(runner.cores(order.specs, order.cores))
    if order.is_growth:
        yield lambda: result.lengths.extend(
            runner.lengths(order.specs, [_speed(result.rows, fuser.name) for fuser in fusers])
        )


def _apart(rows: Sequence[Row]) -> list[str]:
    """A line on the row whose repeats lie farthest apart, if that is far."""
    worst = max((row for row in rows if row.spread is not None), key=lambda row: row.spread or 0, default=None)
    if worst is None or worst.spread is None or worst.spread < APART:
        return []
    place = f"{worst.width}x{worst.height} {worst.fuser}"
    return [f"repeats lie up to ±{100 * worst.spread:.0f} % apart, those of {place}"]


def _speed(rows: Sequence[Row], name: str) -> float:
    """Of a fuser where `Runner.lengths` measures it: at the usual size, else the first."""
    own = [row for row in rows if row.fuser == name]
    return next((row for row in own if (row.width, row.height) == DEFAULT_SIZE), own[0]).fps


def _settings(order: Order) -> dict[str, Any]:
    plan = order.plan
    told = {
        name: value
        for name, value in asdict(replace(plan, blend=None)).items()
        if name not in ("inputs", "sizes", "presets", "blend", "is_alone")
    }
    inputs = [f"{Path(name).name} ({Path(name).stat().st_size} bytes)" if Path(name).is_file() else name
              for name in plan.inputs or ()]  # fmt: skip
    told["seconds"] = None if plan.seconds == float("inf") else plan.seconds
    return {
        "inputs": inputs or "synthetic", **told, "threads": threads(plan.threads), "precision": order.precision,
        NAME: plan.blend.version if plan.blend else "none",
    }  # fmt: skip
