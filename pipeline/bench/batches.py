"""The fuser on several pairs at once, without files: what a batch is worth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table

from engines.base import Fuser
from pipeline.bench.alone import Pictures
from pipeline.bench.spread import spread


@dataclass(slots=True)
class Batch:
    """One fuser at one size with so many pairs in one call."""

    fuser: str
    width: int
    height: int
    batch: int
    ms: list[float] = field(default_factory=list)
    """A pair, by repeat."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "fuser": self.fuser, "width": self.width, "height": self.height, "batch": self.batch,
            "ms_of_repeats": [round(ms, 4) for ms in self.ms],
        }  # fmt: skip


def batched(fuser: Fuser, pictures: Pictures, batch: int, seconds: float) -> float:
    """ms a pair of `fuse` on (batch, H, W) arrays, after one call to warm up; once at least."""
    chosen = [pictures.aligned[k % len(pictures.aligned)] for k in range(batch)]
    ir, vis = np.stack([aligned.ir for aligned in chosen]), np.stack([aligned.vis for aligned in chosen])
    fuser.fuse(ir, vis)
    began, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - began < seconds:
        fuser.fuse(ir, vis)
        calls += 1
    return 1e3 * (time.perf_counter() - began) / calls / batch


def table(rows: Sequence[Batch]) -> Table:
    """A row for each fuser, size and batch."""
    shown = Table("size", "", "batch", "ms a pair", "±", title="the fuser alone, pairs at once", title_justify="left")
    for row in rows:
        apart = spread(row.ms)
        shown.add_row(
            f"{row.width}x{row.height}", row.fuser, str(row.batch), f"{median(row.ms):.2f}",
            "-" if apart is None else f"{100 * apart:.0f} %",
        )  # fmt: skip
    return shown
