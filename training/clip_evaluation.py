"""What is measured of methods on clips, and the page that shows it: means, brightness over time, and frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from urllib.parse import quote

from rich.console import Console

from engines.onnx_cpu import available_memory
from training.bench import measure_all
from training.clip_rows import COLUMNS, LOWER_IS_BETTER
from training.clip_series import Series, read_series
from training.clips import Clip, ClipJob, ClipMethod, plan_clips
from training.data import DataError
from training.line_plot import line_plot
from training.report import image, left_out, summary
from training.rows import Row
from training.tables import Evaluation

SERIES = "series"
"""Folder beside the kept rows: what the page shows of each fused clip."""
BYTES_PER_PIXEL = 40
"""Of a frame of a clip while it is measured: three pictures, masks, and the flow to the frame before."""


def evaluate_clips(
    methods: Sequence[ClipMethod],
    clips: Sequence[Clip],
    *,
    skipped: Sequence[str] = (),
    beside: Sequence[Clip] = (),
    ours: str | None = None,
    kept: Path | None = None,
    workers: int = 1,
    report: Path | None = None,
    console: Console | None = None,
) -> Evaluation:
    """The rows of all methods on the clips.

    skipped: lines to be told with those left out here. beside: clips whose fused videos are no strangers. The others
    are as for `evaluate`. Raises ModelError, BackendError, DataError (also for clips that the memory cannot hold),
    OSError.
    """
    _check_memory(clips, workers)
    jobs, unfit = plan_clips(methods, clips, beside=beside)
    if kept:
        folder = kept.parent / SERIES
        names = [quote(f"{job.pair.name} {job.method.name}", safe=" @") for job in jobs]
        jobs = [replace(job, series=folder / f"{name}.npz") for job, name in zip(jobs, names, strict=True)]
    measured = measure_all(jobs, kept=kept, workers=workers, console=console)
    rows: dict[str, list[Row | None]] = {method.name: [None] * len(clips) for method in methods}
    for job, row in zip(jobs, measured, strict=True):
        rows[job.method.name][clips.index(job.pair)] = row
    found = Evaluation(
        pairs=tuple(clip.name for clip in clips),
        rows={name: tuple(of_method) for name, of_method in rows.items()},
        ours=ours,
        left_out=(*skipped, *unfit),
        columns=COLUMNS,
        lower_is_better=frozenset(LOWER_IS_BETTER),
        noun="clips",
    )
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)
        write_clip_report(found, jobs, report)
    return found


def write_clip_report(found: Evaluation, jobs: Sequence[ClipJob], file: Path) -> None:
    """Write the page, from what was kept as the clips were measured. Raises OSError."""
    parts = summary(found)
    for clip in dict.fromkeys(job.pair for job in jobs):
        kept = {job.method.name: read_series(job.series) for job in jobs if job.pair == clip and job.series}
        there = {name: series for name, series in kept.items() if series is not None}
        parts.append(f"<h2>{escape(clip.name)}, {clip.shape.frames} frames</h2>")
        parts.append(line_plot("mean brightness, levels", {n: s.brightness for n, s in there.items()}, found.ours))
        parts += [_sheet(name, series) for name, series in there.items()]
        if missing := kept.keys() - there.keys():
            parts.append(f"<p>Not kept: {escape(', '.join(sorted(missing)))}; measured before, without pictures.</p>")
    file.write_text("\n".join([*parts, *left_out(found)]) + "\n", encoding="utf-8")


def _sheet(name: str, series: Series) -> str:
    """A method's frames, side by side."""
    figures = "".join(
        f"<figure>{image(picture)}<figcaption>{escape(name)}, frame {place}</figcaption></figure>"
        for place, picture in zip(series.places, series.frames, strict=True)
    )
    return f'<div class="sheet">{figures}</div>'


def _check_memory(clips: Sequence[Clip], workers: int) -> None:
    """Every process holds one clip, as its frames are looked at forwards and backwards."""
    largest = max(clips, key=lambda clip: clip.shape.frames * clip.shape.height * clip.shape.width)
    shape, free = largest.shape, available_memory()
    needed = shape.frames * shape.height * shape.width * BYTES_PER_PIXEL * min(workers, len(clips))
    if needed > free:
        raise DataError(
            f"{largest.name}: {shape.frames} frames of {shape.width}x{shape.height} need about {needed / 2**30:.1f} GB "
            f"with {workers} processes, {free / 2**30:.1f} GB are free; give --frames or fewer --workers"
        )
