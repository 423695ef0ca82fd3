"""What a person sees of a run: a bar on a terminal, plain lines elsewhere, and the account at the end."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from engines.base import Fuser
from engines.model import version
from pipeline.job import Job
from pipeline.stats import Stats
from pipeline.stream import Result
from pipeline.sync import SyncReport

PERIOD = 5.0
"""s between plain lines."""


class Progress:
    """Shows a run while it goes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total: int | None = None
        self._told = time.monotonic()
        self._is_live = console.is_terminal and not console.is_dumb_terminal
        columns = (
            TextColumn("fusing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[drops]}"),
        )  # fmt: skip
        self._bar = Bar(*columns, console=console, disable=not self._is_live, transient=True)
        self._task = self._bar.add_task("", total=None, rate="", drops="")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def expect(self, total: int | None) -> None:
        """Start to show; total: frames expected, None if unknown."""
        self._total = total
        self._bar.update(self._task, total=total)
        self._bar.start()

    def show(self, stats: Stats, report: SyncReport) -> None:
        """Call after each frame."""
        drops = account(report)
        if self._is_live:
            self._bar.update(self._task, completed=stats.frames, rate=rate(stats), drops=drops)
        elif time.monotonic() - self._told >= PERIOD:
            self._told = time.monotonic()
            of = f" of {self._total}" if self._total else ""
            self._console.print(f"{stats.frames}{of} frames, {rate(stats)}{', ' + drops if drops else ''}")


def rate(stats: Stats) -> str:
    """Frames per second in words; empty below two frames."""
    return "" if math.isnan(stats.fps) else f"{stats.fps:.2f} frames/s"


def account(report: SyncReport) -> str:
    """Counts of dropped and held frames with their reasons; empty if there are none."""
    kinds = (("dropped", report.dropped), ("held", report.held))
    return ", ".join(f"{word} {_reasons(counts)}" for word, counts in kinds if counts)


def summary(result: Result, output: str) -> list[str]:
    """The account of a finished run, a line each: frames and rate, drops, unused IR frames, notes."""
    stats, report = result.stats, result.report
    speed = rate(stats)
    lines = [f"{output}: {stats.frames} frame{'s' if stats.frames != 1 else ''}{', ' + speed if speed else ''}"]
    if account(report):
        lines.append(f"of vis: {account(report)}")
    if report.unused:
        frames = "1 frame was" if report.unused == 1 else f"{report.unused} frames were"
        lines.append(f"of ir: {frames} nearest to no vis frame")
    return lines + result.notes


def account_of(result: Result, job: Job, fuser: Fuser | None) -> dict[str, Any]:
    """Everything about a finished run as plain values, for `--stats`."""
    report, info = result.report, fuser.info if fuser else None
    return {
        "crotalus": version("crotalus"),
        "inputs": {"ir": job.ir, "vis": job.vis},
        "output": str(job.out),
        "view": job.choice.view,
        "steady": result.is_steady,
        "fuser": fuser.name if fuser else None,
        "model": None if info is None else {"name": info.name, "files": info.files},
        **result.stats.to_json(),
        "pairs": report.pairs,
        "dropped": dict(report.dropped),
        "held": dict(report.held),
        "unused_ir": report.unused,
        "largest_skew": round(report.largest_skew, 6),
        "complaints": result.complaints,
        "notes": result.notes,
        "is_interrupted": result.is_interrupted,
    }


def _reasons(counts: Counter[str]) -> str:
    return ", ".join(f"{count} ({reason})" for reason, count in counts.items())
