"""A benchmark to be read by eye: who is how fast and what limits it, then stage by stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from rich.table import Table

from pipeline.bench import batches, growth, latency, scaling
from pipeline.bench.result import COPYING, Result
from pipeline.bench.row import STAGES, Row
from pipeline.stats import Stats

REFERENCE = "plain mean"
"""The row that the others are compared with."""
SIDE_BY_SIDE = 3
"""Fusers in one table of stages: more would not fit 80 columns."""


def shown(result: Result, names: Sequence[str]) -> Iterator[Table | str]:
    """Everything, in the order to be read. names: of the fusers that were asked for."""
    yield from tables(result.rows)
    if result.latency:
        yield latency.table(result.latency)
    if result.batches:
        yield batches.table(result.batches)
    if result.cores:
        yield scaling.table(result.cores)
    if result.lengths:
        yield growth.table(result.lengths)
    yield from map(str, (*result.pixels, *result.lengths))
    yield from limits(result.rows, names)
    yield from foot(result)


def tables(rows: Sequence[Row]) -> Iterator[Table]:
    """The summary of all rows, then of each size and preset the stages, some fusers side by side."""
    if rows:
        yield summary(rows)
    for columns in _groups(rows).values():
        seen = [row for row in columns if row.stats is not None]
        for first in range(0, len(seen), SIDE_BY_SIDE):
            yield stages(seen[first : first + SIDE_BY_SIDE])


def summary(rows: Sequence[Row]) -> Table:
    """Frames per second of every row, its spread, its share of plain mean's, and what limits it."""
    has_presets = len({row.preset for row in rows}) > 1
    columns = ["size", *(["preset"] if has_presets else []), "", "frames/s", "±", "of mean", "limited by", "reached"]
    title = None if has_presets else f"preset {rows[0].preset}"
    table = Table(title=title, title_justify="left", padding=(0, 1, 0, 0))  # 77 columns at 1280x720
    for name in columns:
        table.add_column(name, justify="right" if name in ("frames/s", "±", "of mean", "reached") else "left")
    for (width, height, preset), group in _groups(rows).items():
        mean = next((row.fps for row in group if row.fuser == REFERENCE), None)
        for k, row in enumerate(group):
            first = [f"{width}x{height}", *([preset] if has_presets else [])] if k == 0 else [""] * (1 + has_presets)
            limit = row.limit
            table.add_row(
                *first, row.fuser, f"{row.fps:.1f}" if row.fps >= 10 else f"{row.fps:.2f}",
                "-" if row.spread is None else f"{100 * row.spread:.0f} %",
                "-" if mean is None else _share(row.fps / mean),
                limit.by if limit else "-", f"{100 * limit.reached:.0f} %" if limit else "-",
                end_section=k == len(group) - 1,
            )  # fmt: skip
    return table


def stages(rows: Sequence[Row]) -> Table:
    """One size and preset: a column for each fuser, ms of each stage in the pipeline, and alone."""
    first = rows[0]
    table = Table(f"{first.width}x{first.height}, ms a pair", *(row.fuser for row in rows))
    for stage in Stats.STAGES:
        table.add_row(stage, *(_times(row.stats, stage) for row in rows))
    if any(row.alone for row in rows):
        table.add_section()
        names = ("decode both, alone", "sync to compose, alone", "encode, alone")
        for name, stage in zip(names, STAGES, strict=True):
            table.add_row(name, *(_ms(median(row.alone[stage].wall_ms)) if row.alone else "-" for row in rows))
        table.add_row("CPU of these three", *(_work(row) for row in rows))
        table.add_row("the three side by side", *(_ms(median(row.at_once.wall_ms or [math.nan])) for row in rows))
        table.add_row("CPU of them then", *(_ms(median(row.at_once.cpu_ms or [math.nan])) for row in rows))
    table.add_section()
    table.add_row("a pair in the pipeline", *(_ms(1e3 / row.fps) for row in rows))
    table.add_row("CPU of it", *(_ms(median(row.cpu_ms_of_repeats or [math.nan])) for row in rows))
    table.caption = "p50 / p95 of each stage in the pipeline; medians else"
    return table


def limits(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    """A line for each row of these fusers: what limits it, and how far off it is."""
    for row in rows:
        if row.fuser in names and (limit := row.limit):
            yield f"{row.width}x{row.height} {row.preset} {row.fuser}: {limit}"


def foot(result: Result) -> Iterator[str]:
    """Lines on the machine: what it is, what it does without this program, and whether it was quiet."""
    machine = result.machine
    anchors = ", ".join(f"{name} a second: {median(values):.1f}" for name, values in result.anchors.items() if values)
    yield f"{machine['processor']}, {machine['cores']} cores, {machine['instructions']}; {anchors}"
    yield f"threads: {result.settings['threads']}"
    sizes = dict.fromkeys((row.width, row.height) for row in result.rows)
    if (rates := result.anchors.get(COPYING)) and sizes:
        took = (f"{width}x{height} {2 * width * height / median(rates) / 1e6:.3f} ms" for width, height in sizes)
        yield f"a luma plane copied by one core: {', '.join(took)}"
    load = result.load
    if load is not None and load.other_cores is not None:
        yield f"others used {load.other_cores:.2f} cores during the {load.seconds:.0f} s, this run {load.own_cores:.2f}"
    if result.noise:
        yield f"NOISY, quote ratios only: {'; '.join(result.noise)}"


def _times(stats: Stats | None, stage: str) -> str:
    durations = stats.stages[stage] if stats else None
    if durations is None or not durations.count:
        return "-"
    return f"{_ms(durations.percentile_ms(0.5))} / {_ms(durations.percentile_ms(0.95))}"


def _work(row: Row) -> str:
    return _ms(sum(median(alone.cpu_ms) for alone in row.alone.values())) if row.alone else "-"


def _share(value: float) -> str:
    """Two digits or so, whatever the distance."""
    return f"{value:.{2 if value >= 0.1 else 3 if value >= 0.01 else 4}f}"


def _ms(value: float) -> str:
    """Three digits or so."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _groups(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.width, row.height, row.preset), []).append(row)
    return groups
