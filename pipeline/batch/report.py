"""A batch on one self-contained page: how fast, what failed, what was slow, and pictures to judge it by."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from engines.base import CrotalusError, Luma
from pipeline.batch.durable import output_error, part_of, publish
from pipeline.batch.page import image, span, table, throughput
from pipeline.batch.place import parse_place
from pipeline.batch.rows import ChunkRow, TaskRow
from pipeline.batch.samples import Sample, sample
from pipeline.batch.storage import Storage
from pipeline.batch.task import Task
from pipeline.frames import InputError
from pipeline.live.login import redact

SHOWN = 6
"""Pictures at random, and as many of the worst alignment."""
LOOKED_AT = 24
"""Chunks drawn at random, of which the worst are shown: each costs a seek in three files."""
SLOWEST = 15
FAILED = 200
"""Failures listed one by one."""
STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em; color: #1a1a1a; background: #fff; max-width: 1100px }
table { border-collapse: collapse } td, th { padding: .2em .7em; text-align: right; border-bottom: 1px solid #ddd }
td.text, th.text { text-align: left; overflow-wrap: anywhere } h2 { margin-top: 1.6em }
.sum td { font-size: 18px; white-space: nowrap }
.sheet { display: flex; flex-wrap: wrap; gap: .5em; margin-bottom: 1em } img { display: block } figure { margin: 0 }
figcaption { font-size: 12px } p.note { color: #555 } svg rect { fill: #6ea3ff }
svg text { font-size: 12px; fill: #555 }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

Look = Callable[[Task, float], Sample | None]


def write_report(
    file: Path,
    rows: Sequence[TaskRow],
    chunks: Sequence[ChunkRow],
    tasks: Sequence[Task],
    *,
    storage: Storage | None = None,
    look: Look | None = None,
    seed: int = 0,
) -> None:
    """Write the page of a ledger, of a batch at work too.

    rows, chunks: of `read_ledger`. tasks: what was asked for, with which pictures are made; none, no pictures.
    storage: where their files come from. look: makes them, for tests. Raises OutputError.
    """
    labels = {row.id: row.out for row in rows}
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{POLICY}"><title>Batch of {len(rows)} files</title><style>{STYLE}</style>',
        f"<h1>Batch of {len(rows)} files</h1>",
        _sums(rows, chunks),
        throughput(chunks),
        _failures(rows, chunks, labels),
        _slowest(chunks, labels),
        _hosts(chunks),
        _pictures(rows, chunks, tasks, look or _with(storage or Storage()), random.Random(seed)),
    ]
    part = part_of(file)
    try:
        part.write_text("\n".join(parts) + "\n", encoding="utf-8")
        publish(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise output_error(file, error) from error


def check_report_path(file: Path) -> None:
    """Raise InputError unless a page can be written there; told before a run, not after it."""
    if file.suffix.lower() not in (".html", ".htm") or file.is_dir():
        raise InputError(f"{file}: not a name for a page; give one that ends in .html")
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise InputError(f"{file}: {file.parent} is not a folder that can be written; create it or name another file")


def _with(storage: Storage) -> Look:
    return lambda task, time: sample(task, time, storage)


def _sums(rows: Sequence[TaskRow], chunks: Sequence[ChunkRow]) -> str:
    states = Counter(row.state for row in rows)
    done = [chunk for chunk in chunks if chunk.state == "done"]
    wall = max((c.ended for c in done), default=0.0) - min((c.started for c in done), default=0.0)
    video, spent = sum(c.video_seconds for c in done), sum(c.seconds for c in done)
    frames = sum(c.frames for c in done)
    told = [
        ("files done", f"{states['done']} of {len(rows)}"),
        ("put aside", str(states["put aside"])),
        ("chunks done", f"{len(done)} of {len(chunks)}"),
        ("frames", f"{frames:,}"),
        ("video", span(video)),
        ("from first to last chunk", span(wall)),
        ("frames/s", f"{frames / wall:.2f}" if wall > 0 else "-"),
        ("hours of video an hour", f"{video / wall:.2f}" if wall > 0 else "-"),
        ("worker hours an hour of video", f"{spent / video:.2f}" if video else "-"),
    ]
    head = "".join(f"<th>{name}</th>" for name, _ in told)
    cells = "".join(f"<td>{value}</td>" for _, value in told)
    return f'<table class="sum"><tr>{head}</tr><tr>{cells}</tr></table>'


def _failures(rows: Sequence[TaskRow], chunks: Sequence[ChunkRow], labels: dict[str, str]) -> str:
    """Files put aside, chunks put aside or tried again, and files that lack what their inputs promised."""
    lines = [(row.out, "file put aside", "", row.error) for row in rows if row.state == "put aside"]
    lines += [
        (labels.get(c.task, c.task), f"chunk {c.number} {c.state}", str(c.attempt), c.error)
        for c in chunks
        if c.state == "put aside" or c.attempt
    ]
    lines += [(row.out, "short", "", complaint) for row in rows for complaint in row.complaints]
    more = f"<p>and {len(lines) - FAILED} more</p>" if len(lines) > FAILED else ""
    body = table(("file", "what", "tries that failed", "reason"), lines[:FAILED], text=(0, 1, 3))
    return f"<h2>Failures: {len(lines)}</h2>" + (body + more if lines else "<p>None.</p>")


def _slowest(chunks: Sequence[ChunkRow], labels: dict[str, str]) -> str:
    done = sorted((c for c in chunks if c.frames), key=lambda c: c.seconds / c.frames, reverse=True)[:SLOWEST]
    lines = [
        (
            labels.get(c.task, c.task),
            str(c.number),
            str(c.frames),
            f"{c.seconds:.1f}",
            f"{c.frames / c.seconds:.2f}",
            c.host,
        )
        for c in done
        if c.seconds > 0
    ]
    return "<h2>Slowest chunks</h2>" + table(("file", "chunk", "frames", "s", "frames/s", "host"), lines, text=(0, 5))


def _hosts(chunks: Sequence[ChunkRow]) -> str:
    by_host: dict[str, list[ChunkRow]] = {}
    for chunk in chunks:
        if chunk.host and chunk.state == "done":
            by_host.setdefault(chunk.host.partition(":")[0], []).append(chunk)
    lines = []
    for host, own in sorted(by_host.items()):
        frames, seconds = sum(c.frames for c in own), sum(c.seconds for c in own)
        workers = len({c.host for c in own})
        lines.append((host, str(workers), str(len(own)), f"{frames / seconds:.2f}" if seconds else "-"))
    return "<h2>Hosts</h2>" + table(("host", "workers", "chunks", "frames/s of a worker"), lines, text=(0,))


def _pictures(
    rows: Sequence[TaskRow], chunks: Sequence[ChunkRow], tasks: Sequence[Task], look: Look, chance: random.Random
) -> str:
    by_label = {parse_place(task.out).label: task for task in tasks}
    known = {row.id: by_label[row.out] for row in rows if row.out in by_label and row.state == "done"}
    done = [chunk for chunk in chunks if chunk.state == "done" and chunk.frames and chunk.task in known]
    drawn = chance.sample(done, min(LOOKED_AT, len(done)))
    seen: list[tuple[ChunkRow, Sample]] = []
    missing: list[str] = []
    for chunk in drawn:
        task, time = known[chunk.task], chunk.begin_seconds + chunk.video_seconds / 2
        try:
            found = look(task, time)
        except CrotalusError as error:
            missing.append(str(error))
            continue
        if found is not None:
            seen.append((chunk, found))
    if not seen:
        told = "".join(f"<li>{escape(redact(line))}</li>" for line in missing[:5])
        return f"<h2>Pictures</h2><p>None could be made.</p><ul>{told}</ul>"
    worst = sorted(seen, key=lambda entry: entry[1].alignment)[:SHOWN]
    sheets = [
        (f"Pictures: {min(SHOWN, len(seen))} chunks at random", seen[:SHOWN], ""),
        (
            "Worst alignment of IR and VIS",
            worst,
            f"Of {len(seen)} chunks looked at, of {len(done)}: correlation of edges in the pair, 1 at best. A scene "
            "with edges in one spectrum only is low without being misaligned; compare chunks of one camera pair.",
        ),
    ]
    shown = (
        f"<h2>{title}</h2><p class='note'>{note}</p>"
        + "".join(_sheet(chunk, known[chunk.task], found) for chunk, found in entries)
        for title, entries, note in sheets
    )
    return "".join(shown)


def _sheet(chunk: ChunkRow, task: Task, found: Sample) -> str:
    label = escape(redact(parse_place(task.out).label))
    time = chunk.begin_seconds + chunk.video_seconds / 2
    pictures: Iterable[tuple[str, Luma | None]] = (("IR", found.ir), ("VIS", found.vis), ("fused", found.fused))
    figures = "".join(
        f"<figure>{image(luma)}<figcaption>{name}</figcaption></figure>" for name, luma in pictures if luma is not None
    )
    caption = f"{label}, chunk {chunk.number}, at {time:.1f} s: alignment {found.alignment:.2f}"
    return f'<div>{caption}</div><div class="sheet">{figures}</div>'
