"""How long a live picture takes: from both frames there to the fused picture there, one pair under way at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from rich.table import Table

from engines.base import Fuser
from engines.steady import Steady
from pipeline.align import align
from pipeline.bench.alone import Pictures
from pipeline.bench.spread import spread
from pipeline.bench.timed import LEAST, WARM_UP
from pipeline.compose import compose
from pipeline.job import Job
from pipeline.thermal import Agc

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(slots=True)
class Latency:
    """One fuser at one size."""

    fuser: str
    width: int
    height: int
    ms: list[list[float]] = field(default_factory=list)
    """Of each pair, by repeat."""

    @property
    def pairs(self) -> int:
        """Timed in all repeats."""
        return sum(map(len, self.ms))

    @property
    def p50_of_repeats(self) -> list[float]:
        """ms"""
        return [percentile(values, 0.5) for values in self.ms]

    def percentile_ms(self, share: float) -> float:
        """Over all repeats."""
        return percentile([ms for values in self.ms for ms in values], share)

    def __str__(self) -> str:
        """E.g. `640x480 plain mean: 0.42 ms from both frames to the fused one (p95 0.51, p99 0.60), 300 pairs`."""
        p50, p95, p99 = (self.percentile_ms(share) for share in SHARES.values())
        took = f"{p50:.2f} ms from both frames to the fused one (p95 {p95:.2f}, p99 {p99:.2f})"
        return f"{self.width}x{self.height} {self.fuser}: {took}, {self.pairs} pairs"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        shown = {f"{name}_ms": round(self.percentile_ms(share), 4) for name, share in SHARES.items()}
        repeats = [round(ms, 4) for ms in self.p50_of_repeats]
        return {
            "fuser": self.fuser, "width": self.width, "height": self.height, "pairs": self.pairs, **shown,
            "p50_ms_of_repeats": repeats,
        }  # fmt: skip


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that `share` of them do not exceed."""
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


def latencies(job: Job, fuser: Fuser, pictures: Pictures, pairs: int, seconds: float) -> list[float]:
    """ms of each pair: gain and alignment, the fuser, colour. Nothing waits, and nothing else is under way.

    At most so many pairs, and so long; `LEAST` at least, after a warm-up of one to `WARM_UP`.
    """
    return list(islice(_timed(job, fuser, pictures, seconds), pairs))


def table(rows: Sequence[Latency]) -> Table:
    """A row for each fuser and size."""
    shown = Table("size", "", *SHARES, "±", "pairs", title="latency, ms", title_justify="left")
    for row in rows:
        apart = spread(row.p50_of_repeats)
        shown.add_row(
            f"{row.width}x{row.height}", row.fuser, *(f"{row.percentile_ms(share):.2f}" for share in SHARES.values()),
            "-" if apart is None else f"{100 * apart:.0f} %", str(row.pairs),
        )  # fmt: skip
    shown.caption = "from both frames there to the fused picture there, one pair under way"
    return shown


def _timed(job: Job, fuser: Fuser, pictures: Pictures, seconds: float) -> Iterator[float]:
    flight, gains = fuser.start(follows=True), (Agc(job.gain), Agc())
    steady = Steady() if job.steady is not False else None
    began, count, warm = time.perf_counter(), 0, False
    for aligned in cycle(pictures.aligned):
        now = time.perf_counter()
        laid = align(aligned.pair, pictures.geometry, *gains)
        ir = laid.ir if steady is None else steady.put(laid.ir, laid.vis, laid.seen)
        flight.put(ir, laid.vis)
        fused = flight.get()
        compose(fused if steady is None else steady.get(fused), laid, job.tint)
        done = time.perf_counter()
        count += 1
        if warm:
            yield 1e3 * (done - now)
            if count >= LEAST and done - began > seconds:
                return
        elif count >= WARM_UP or done - began > seconds / 2:
            warm, began, count = True, time.perf_counter(), 0
