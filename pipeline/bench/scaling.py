"""How much faster the pipeline is on more cores: every number of cores in a process of its own that stays on them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table

from pipeline.bench.facts import cores
from pipeline.bench.spread import spread
from pipeline.frames import InputError


@dataclass(slots=True)
class OnCores:
    """One fuser at one size on so many cores."""

    fuser: str
    width: int
    height: int
    cores: int
    fps: list[float] = field(default_factory=list)
    """By repeat."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "fuser": self.fuser, "width": self.width, "height": self.height, "cores": self.cores,
            "fps_of_repeats": [round(fps, 3) for fps in self.fps],
        }  # fmt: skip


def parse_cores(text: str) -> list[int]:
    """`1,2,4` as numbers of cores, rising. Raises InputError for more than there are, or none."""
    there = cores()
    counts = [int(word) for word in text.split(",")] if re.fullmatch(r"\d{1,4}(,\d{1,4})*", text) else [0]
    if not all(1 <= count <= there for count in counts):
        raise InputError(f"--cores {text}: give numbers of cores from 1 to {there}, the cores here, like 1,{there}")
    if not hasattr(os, "sched_setaffinity"):
        raise InputError(f"--cores {text}: this system does not bind a process to cores; leave it out")
    return sorted(set(counts))


def first_cores(count: int) -> list[int]:
    """Numbers of the first so many cores that this process may use."""
    return sorted(os.sched_getaffinity(0))[:count]


def table(rows: Sequence[OnCores]) -> Table:
    """A row for each fuser and size; the gain is over the fewest cores measured, the share that of a perfect one."""
    shown = Table("size", "", "cores", "frames/s", "±", "gain", "of perfect", title="cores", title_justify="left")
    fewest: dict[tuple[str, int, int], OnCores] = {}
    for row in rows:
        least = fewest.setdefault((row.fuser, row.width, row.height), row)
        gain, perfect = median(row.fps) / median(least.fps), row.cores / least.cores
        apart = spread(row.fps)
        shown.add_row(
            f"{row.width}x{row.height}", row.fuser, str(row.cores), f"{median(row.fps):.2f}",
            "-" if apart is None else f"{100 * apart:.0f} %", f"{gain:.2f}", f"{100 * gain / perfect:.0f} %",
        )  # fmt: skip
    return shown
