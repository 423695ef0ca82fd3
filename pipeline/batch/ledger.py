"""The account of an output folder: every task, every chunk, what became of them. Only the driver writes it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.frames import InputError, OutputError

FOLDER = ".batch"
"""Inside the output folder: ledger, lock, and the chunks of tasks that are not done yet."""
LEASE = 60.0
"""s for which another machine holds the folder after it was last heard of."""
VERSION = 1

TaskState = Literal["waiting", "planned", "done", "put aside"]
ChunkState = Literal["waiting", "running", "done", "put aside"]

_TABLES = """
CREATE TABLE IF NOT EXISTS task (
    id TEXT PRIMARY KEY, ir TEXT, vis TEXT, out TEXT, state TEXT, plan TEXT, chunks INTEGER, pairs INTEGER,
    dropped INTEGER, video_seconds REAL, frames INTEGER, framehash TEXT, size INTEGER, error TEXT, complaints TEXT,
    plan_seconds REAL, join_seconds REAL, ended REAL);
CREATE TABLE IF NOT EXISTS chunk (
    task TEXT, number INTEGER, state TEXT, attempt INTEGER, redone INTEGER, begin_seconds REAL, video_seconds REAL,
    pairs INTEGER, frames INTEGER, framehash TEXT, seconds REAL, host TEXT, error TEXT, started REAL, ended REAL,
    PRIMARY KEY (task, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (one INTEGER PRIMARY KEY CHECK (one = 1), host TEXT, pid INTEGER, until REAL);
"""


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


class Ledger:
    """An opened ledger. One thread. Errors of the disk are OutputErrors."""

    def __init__(self, folder: Path, *, wall: Callable[[], float] = time.time) -> None:
        """folder: of the outputs; it is made if it is not there.

        Raises InputError if another batch is at work in it, OutputError.
        """
        self.folder, self._wall = folder / FOLDER, wall
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(f"{folder}: {error.strerror}; name an output folder that can be written") from error
        self._is_open = False
        try:
            self._take_lock(folder)
            with _as_output_error(self.folder):
                # No WAL: it needs shared memory, which network file systems have not; there are few writes a second.
                self._db = sqlite3.connect(self.folder / "ledger.db", isolation_level=None, timeout=30)
                self._is_open = True
                self._db.executescript(f"PRAGMA synchronous=FULL; {_TABLES} PRAGMA user_version={VERSION};")
            self._take_lease(folder)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give lock and lease back. May be called twice."""
        if self._is_open:
            self._is_open = False
            with _as_output_error(self.folder, is_quiet=True):
                self._db.execute("DELETE FROM lease WHERE host = ? AND pid = ?", (platform.node(), os.getpid()))
            self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def renew(self) -> None:
        """Say that this batch is still at work; at least every half `LEASE`."""
        with _as_output_error(self.folder):
            values = (platform.node(), os.getpid(), self._wall() + LEASE)
            self._db.execute("INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?)", values)

    def task(self, task: str) -> TaskRow | None:
        """What is known of a task; None: nothing."""
        return next(iter(self._tasks("WHERE id = ?", task)), None)

    def tasks(self) -> list[TaskRow]:
        """All tasks, in the order in which they were first entered."""
        return self._tasks("ORDER BY rowid")

    def rows(self) -> list[ChunkRow]:
        """All chunks, by task and number."""
        return _chunk_rows(self._db)

    def enter_task(self, task: str, **values: Any) -> None:
        """Enter a task, or change columns of it: names as in `TaskRow`."""
        if "complaints" in values:
            values["complaints"] = json.dumps(values["complaints"])
        self._enter("task", {"id": task}, values)

    def enter_chunk(self, task: str, number: int, **values: Any) -> None:
        """Enter a chunk, or change columns of it: names as in `ChunkRow`."""
        self._enter("chunk", {"task": task, "number": number}, values)

    def begin_plan(self, task: str, rows: list[dict[str, Any]], **values: Any) -> None:
        """Enter a task with the rows of all its chunks at once; what was known of its chunks is forgotten."""
        with _as_output_error(self.folder), self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM chunk WHERE task = ?", (task,))
            self.enter_task(task, state="planned", **values)
            for number, row in enumerate(rows):
                self.enter_chunk(task, number, **row)

    def _enter(self, table: str, key: dict[str, Any], values: dict[str, Any]) -> None:
        names = [*key, *values]
        updates = ", ".join(f"{name} = excluded.{name}" for name in values)
        marks = ", ".join("?" * len(names))
        conflict = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {updates}" if values else "ON CONFLICT DO NOTHING"
        with _as_output_error(self.folder):
            self._db.execute(
                f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}) {conflict}",
                [*key.values(), *values.values()],
            )

    def _tasks(self, condition: str, *values: object) -> list[TaskRow]:
        return _task_rows(self._db, condition, *values)

    def _take_lock(self, folder: Path) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another batch is at work in it; wait for it, or name another folder"
            ) from error
        except OSError:  # a file system without locks: the lease alone stands guard
            return

    def _take_lease(self, folder: Path) -> None:
        """Raise InputError if a batch of another machine was heard of lately. On this one the lock has told."""
        row = self._db.execute("SELECT host, pid, until FROM lease").fetchone()
        if row and row[0] != platform.node() and self._wall() < row[2] <= self._wall() + LEASE:
            raise InputError(
                f"{folder}: a batch on {row[0]} (process {row[1]}) is at work in it; wait for it, or {LEASE:.0f} s "
                "after it was killed"
            )
        self.renew()


def read_ledger(folder: Path) -> tuple[list[TaskRow], list[ChunkRow]]:
    """Tasks and chunks of an output folder, also while a batch is at work in it. Raises InputError if it has none."""
    path = folder / FOLDER / "ledger.db"
    if not path.is_file():
        raise InputError(f"{folder}: holds no ledger of a batch; name the folder given to batch --out")
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as db:
            return _task_rows(db, "ORDER BY rowid"), _chunk_rows(db)
    except sqlite3.Error as error:
        raise InputError(f"{path}: cannot be read as a ledger ({error}); restore it from a copy") from error


def _task_rows(db: sqlite3.Connection, condition: str, *values: object) -> list[TaskRow]:
    found = _select(db, "task", TaskRow.__slots__, condition, values)
    return [TaskRow(**{**row, "complaints": tuple(json.loads(row["complaints"] or "[]"))}) for row in found]


def _chunk_rows(db: sqlite3.Connection) -> list[ChunkRow]:
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


@contextmanager
def _as_output_error(folder: Path, *, is_quiet: bool = False) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if not is_quiet:
            raise OutputError(
                f"{folder}: the ledger cannot be written ({error}); free some space, check the disk"
            ) from error
