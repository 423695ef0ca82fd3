"""What a ledger knows of tasks and chunks, as values read from its tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

TaskState = Literal["waiting", "planned", "done", "put aside"]
ChunkState = Literal["waiting", "running", "done", "put aside"]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """What the ledger knows of a task. Times are s; of the day, since 1970."""

    id: str
    """Name of its folder of chunks."""
    ir: str
    vis: str
    out: str
    state: TaskState
    plan: str
    """Fingerprint of files and options."""
    chunks: int
    pairs: int
    dropped: int
    """VIS frames without a partner; before it is done, as planned."""
    video_seconds: float
    """Of VIS."""
    frames: int
    """In the joined file."""
    framehash: str
    size: int
    """Of the joined file, bytes."""
    error: str
    """Why it was put aside."""
    complaints: tuple[str, ...]
    """What the inputs promised and did not hold."""
    plan_seconds: float
    join_seconds: float
    ended: float


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """What the ledger knows of a chunk."""

    task: str
    number: int
    state: ChunkState
    attempt: int
    """Tries that failed."""
    redone: int
    """Times it was fused again because it had begun in another state than the chunk before ended in."""
    begin_seconds: float
    """s from the first VIS frame."""
    video_seconds: float
    pairs: int
    frames: int
    framehash: str
    seconds: float
    """That fusing it took."""
    host: str
    """And process: `name:pid`."""
    error: str
    """Of the last try that failed."""
    started: float
    ended: float


def task_rows(db: sqlite3.Connection, condition: str, *values: object) -> list[TaskRow]:
    """Tasks of a ledger. condition: WHERE or ORDER BY, with marks for the values."""
    found = _select(db, "task", TaskRow.__slots__, condition, values)
    return [TaskRow(**{**row, "complaints": tuple(json.loads(row["complaints"] or "[]"))}) for row in found]


def chunk_rows(db: sqlite3.Connection) -> list[ChunkRow]:
    """All chunks of a ledger, by task and number."""
    return [ChunkRow(**row) for row in _select(db, "chunk", ChunkRow.__slots__, "ORDER BY task, number", ())]


def _select(
    db: sqlite3.Connection, table: str, names: tuple[str, ...], condition: str, values: tuple[object, ...]
) -> Iterator[dict[str, Any]]:
    """Rows by column, 0 or an empty text for what is not known."""
    kinds = {row[1]: row[2] for row in db.execute(f"PRAGMA table_info({table})")}
    for row in db.execute(f"SELECT {', '.join(names)} FROM {table} {condition}", values):
        yield {
            name: ("" if kinds[name] == "TEXT" else 0) if value is None else value
            for name, value in zip(names, row, strict=True)
        }
