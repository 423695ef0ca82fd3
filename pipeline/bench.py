"""Frames per second of the whole pipeline, beside what a user would otherwise take, in one run."""

from __future__ import annotations

import os
import platform
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from engines.base import Fuser
from engines.classical import open_classical
from pipeline.align import Size
from pipeline.device_job import Hwaccel
from pipeline.frames import InputError
from pipeline.job import Job, Opened, run_job
from pipeline.stats import Stats
from pipeline.synthetic import Scene, write_pair

WARM_UP = 3
"""Pairs fused before the clock runs: first calls allocate buffers and choose code paths."""


RIVALS = ("mean", "laplacian")
"""Methods without a model that every table has."""


@dataclass(frozen=True, slots=True)
class Row:
    """One fuser at one size."""

    fuser: str
    width: int
    height: int
    stats: Stats

    @property
    def timed(self) -> int:
        """Pairs timed: one fewer than frames, the last of the warm-up starts the clock."""
        return self.stats.frames - 1

    def __str__(self) -> str:
        """E.g. `640x480 plain mean: 210.50 frames/s over 20 pairs`."""
        return f"{self.width}x{self.height} {self.fuser}: {self.stats.fps:.2f} frames/s over {self.timed} pairs"

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
    hwaccel: Hwaccel = "auto",
    stop: threading.Event | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
    on_notice: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Run plain mean, Laplacian pyramid and the fuser over the same pairs at each size, to a video file.

    inputs: IR and VIS; None makes a synthetic pair of each size. sizes: None is the input's own. frames: pairs
    timed, after `WARM_UP` more. hwaccel: see `Job`. stop: once set, the rows that are complete are returned. on_row:
    told of each result as it comes. on_notice: told once of each thing worth knowing of the inputs and the hardware.
    Raises InputError for inputs of fewer pairs than that takes at the least.
    """
    rows: list[Row] = []
    told: set[str] = set()
    stop = stop or threading.Event()

    def tell(opened: Opened) -> None:
        for line in opened.notices:
            if line not in told:
                told.add(line)
                on_notice(line)

    with tempfile.TemporaryDirectory(prefix="crotalus-bench-") as scratch:
        for size in sizes:
            ir, vis = inputs or _synthetic(Path(scratch), size or (640, 480), frames + WARM_UP)
            for candidate in rivals_and(fuser):
                job = Job(ir, vis, Path(scratch) / "out.mp4", limit=frames + WARM_UP, threads=threads, hwaccel=hwaccel)
                job = replace(job, geometry=replace(job.geometry, size=size if inputs else None))
                row = _time(replace(job, settings=replace(job.settings, overwrite=True)), candidate, stop, tell)
                if stop.is_set():
                    return rows
                rows.append(row)
                on_row(row)
    return rows


def rivals_and(fuser: Fuser) -> list[Fuser]:
    """What a user would otherwise take, then the fuser; once if it is one of them."""
    rivals = [rival for name in RIVALS if (rival := open_classical(name)).name != fuser.name]
    return [*rivals, fuser]


def tables(rows: Sequence[Row]) -> Iterator[Table]:
    """A table for each size, a column for each fuser: frames per second, then p50 / p95 in ms of each stage."""
    for size in dict.fromkeys((row.width, row.height) for row in rows):
        columns = [row for row in rows if (row.width, row.height) == size]
        shown = Table(f"{size[0]}x{size[1]}", *(row.fuser for row in columns))
        shown.add_row("frames/s", *(f"{row.stats.fps:.2f}" for row in columns), end_section=True)
        for stage in Stats.STAGES:
            shown.add_row(f"{stage}, ms", *(_times(row.stats, stage) for row in columns))
        shown.caption = "p50 / p95 of each stage"
        yield shown


def machine() -> dict[str, str]:
    """What a number was measured on: processor, cores it may use, system, Python."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _time(job: Job, fuser: Fuser, stop: threading.Event, tell: Callable[[Opened], None]) -> Row:
    sizes: list[Size] = []
    warm = _Warm()

    def opened(told: Opened) -> None:
        sizes.append((told.out.width, told.out.height))
        tell(told)

    result = run_job(job, fuser, stop=stop, on_open=opened, on_frame=lambda stats, _: warm.see(stats))
    if not stop.is_set() and not (warm.is_done and result.stats.frames > 1):
        least = f"at least {WARM_UP + 1} are needed, {WARM_UP} of them to warm up"
        raise InputError(f"{job.ir} and {job.vis} give {result.report.pairs} pairs; {least}; give longer inputs")
    return Row(fuser.name, *sizes[0], result.stats)


def _times(stats: Stats, stage: str) -> str:
    durations = stats.stages[stage]
    return f"{durations.percentile_ms(0.5):.2f} / {durations.percentile_ms(0.95):.2f}" if durations.count else "-"


class _Warm:
    """Forgets what was timed during the warm-up."""

    def __init__(self) -> None:
        self.is_done = False

    def see(self, stats: Stats) -> None:
        if not self.is_done and stats.frames >= WARM_UP:
            stats.restart()
            self.is_done = True


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
