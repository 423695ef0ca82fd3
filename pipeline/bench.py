"""Frames per second of the whole pipeline, beside what a user would otherwise take, in one run."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from engines.base import Fuser
from pipeline.align import Size
from pipeline.job import Job, run_job
from pipeline.rivals import laplacian_pyramid, plain_mean
from pipeline.stats import Stats
from pipeline.synthetic import Scene, write_pair

WARM_UP = 3
"""Pairs fused before the clock runs: first calls allocate buffers and choose code paths."""


@dataclass(frozen=True, slots=True)
class Row:
    """One fuser at one size."""

    fuser: str
    width: int
    height: int
    stats: Stats

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"fuser": self.fuser, "width": self.width, "height": self.height, **self.stats.to_json()}


def bench(
    inputs: tuple[str, str] | None,
    sizes: Sequence[Size | None],
    fuser: Fuser,
    *,
    frames: int,
    threads: int = 0,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Run plain mean, Laplacian pyramid and the fuser over the same pairs at each size, to a video file.

    inputs: IR and VIS; None makes a synthetic pair of each size. sizes: None is the input's own. frames: pairs
    timed, after `WARM_UP` more. on_row: told of each result as it comes.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="crotalus-bench-") as scratch:
        for size in sizes:
            ir, vis = inputs or _synthetic(Path(scratch), size or (640, 480), frames + WARM_UP)
            for candidate in (plain_mean(), laplacian_pyramid(), fuser):
                job = Job(ir, vis, Path(scratch) / "out.mp4", limit=frames + WARM_UP, threads=threads)
                job = replace(job, geometry=replace(job.geometry, size=size if inputs else None))
                rows.append(_time(replace(job, settings=replace(job.settings, overwrite=True)), candidate))
                on_row(rows[-1])
    return rows


def table(rows: Sequence[Row]) -> Table:
    """Frames per second and p50 / p95 in ms of each stage, a line a row."""
    stages = Stats.STAGES
    shown = Table("size", "fuser", "frames/s", *stages, title="p50 / p95 ms of each stage")
    for row in rows:
        times = [_times(row.stats, stage) for stage in stages]
        shown.add_row(f"{row.width}x{row.height}", row.fuser, f"{row.stats.fps:.2f}", *times)
    return shown


def machine() -> dict[str, str]:
    """What a number was measured on: processor, cores it may use, system, Python."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _time(job: Job, fuser: Fuser) -> Row:
    sizes: list[Size] = []
    warm = _Warm()
    result = run_job(
        job, fuser, on_open=lambda opened: sizes.append((opened.out.width, opened.out.height)),
        on_frame=lambda stats, _: warm.see(stats),
    )  # fmt: skip
    return Row(fuser.name, *sizes[0], result.stats)


def _times(stats: Stats, stage: str) -> str:
    durations = stats.stages[stage]
    return f"{durations.percentile_ms(0.5):.2f} / {durations.percentile_ms(0.95):.2f}" if durations.count else "-"


class _Warm:
    """Forgets what was timed during the warm-up."""

    def __init__(self) -> None:
        self._done = False

    def see(self, stats: Stats) -> None:
        if not self._done and stats.frames >= WARM_UP:
            stats.restart()
            self._done = True


def _synthetic(folder: Path, size: Size, frames: int) -> tuple[str, str]:
    scene = Scene(width=size[0], height=size[1], frames=frames, offset=0.0)
    pair = write_pair(folder / f"{size[0]}x{size[1]}", scene)
    return str(pair.ir), str(pair.vis)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
