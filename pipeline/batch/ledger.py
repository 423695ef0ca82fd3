"""The account of an output folder: every task, every chunk, what became of them. Only the driver writes it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.batch.rows import ChunkRow, TaskRow, chunk_rows, task_rows
from pipeline.frames import InputError, OutputError

FOLDER = ".batch"
"""Inside the output folder: ledger, lock, and the chunks of tasks that are not done yet."""
LEASE = 60.0
"""s for which another machine holds the folder after it was last heard of."""
TOGETHER = 1.0
"""s whose changes become one commit: each waits for the disk several times, 60 ms on a busy one. What is lost with the
last of them is found again, for pieces and receipts are on the disk before the ledger hears of them."""
VERSION = 1

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


class Ledger:
    """An opened ledger. One thread. Errors of the disk are OutputErrors.

    Changes are seen here at once, by others and after a crash when they are committed: see `settle`.
    """

    def __init__(
        self, folder: Path, *, wall: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """folder: of the outputs; it is made if it is not there.

        Raises InputError if another batch is at work in it, OutputError.
        """
        self.folder, self._wall, self._clock, self._changed = folder / FOLDER, wall, clock, 0.0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(f"{folder}: {error.strerror}; name an output folder that can be written") from error
        self._is_open = False
        try:
            self._take_lock(folder)
            with _as_output_error(self.folder):
                # No WAL: it needs shared memory, which network file systems have not; there is one commit a second.
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
                self._change("DELETE FROM lease WHERE host = ? AND pid = ?", (platform.node(), os.getpid()))
                self._db.commit()
            self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def renew(self) -> None:
        """Say that this batch is still at work; at least every half `LEASE`."""
        values = (platform.node(), os.getpid(), self._wall() + LEASE)
        self._change("INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?)", values)

    def settle(self, *, at_once: bool = False) -> bool:
        """Commit if the first change since the last commit is `TOGETHER` old; whether all changes are on the disk."""
        if self._db.in_transaction and (at_once or self._clock() - self._changed >= TOGETHER):
            with _as_output_error(self.folder):
                self._db.commit()
        return not self._db.in_transaction

    def task(self, task: str) -> TaskRow | None:
        """What is known of a task; None: nothing."""
        return next(iter(self._tasks("WHERE id = ?", task)), None)

    def tasks(self) -> list[TaskRow]:
        """All tasks, in the order in which they were first entered."""
        return self._tasks("ORDER BY rowid")

    def rows(self) -> list[ChunkRow]:
        """All chunks, by task and number."""
        return chunk_rows(self._db)

    def enter_task(self, task: str, **values: Any) -> None:
        """Enter a task, or change columns of it: names as in `TaskRow`."""
        if "complaints" in values:
            values["complaints"] = json.dumps(values["complaints"])
        self._enter("task", {"id": task}, values)

    def enter_chunk(self, task: str, number: int, **values: Any) -> None:
        """Enter a chunk, or change columns of it: names as in `ChunkRow`."""
        self._enter("chunk", {"task": task, "number": number}, values)

    def begin_plan(self, task: str, rows: list[dict[str, Any]], **values: Any) -> None:
        """Enter a task with the rows of all its chunks; what was known of its chunks is forgotten."""
        self._change("DELETE FROM chunk WHERE task = ?", (task,))
        self.enter_task(task, state="planned", **values)
        for number, row in enumerate(rows):
            self.enter_chunk(task, number, **row)

    def _enter(self, table: str, key: dict[str, Any], values: dict[str, Any]) -> None:
        names = [*key, *values]
        updates = ", ".join(f"{name} = excluded.{name}" for name in values)
        marks = ", ".join("?" * len(names))
        conflict = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {updates}" if values else "ON CONFLICT DO NOTHING"
        values_of_all = [*key.values(), *values.values()]
        self._change(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}) {conflict}", values_of_all)

    def _change(self, statement: str, values: Sequence[Any]) -> None:
        """Make a change, which is not committed yet."""
        with _as_output_error(self.folder):
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
                self._changed = self._clock()
            self._db.execute(statement, values)

    def _tasks(self, condition: str, *values: object) -> list[TaskRow]:
        return task_rows(self._db, condition, *values)

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
        self.settle(at_once=True)


def read_ledger(folder: Path) -> tuple[list[TaskRow], list[ChunkRow]]:
    """Tasks and chunks of an output folder, also while a batch is at work in it. Raises InputError if it has none."""
    path = folder / FOLDER / "ledger.db"
    if not path.is_file():
        raise InputError(f"{folder}: holds no ledger of a batch; name the folder given to batch --out")
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as db:
            return task_rows(db, "ORDER BY rowid"), chunk_rows(db)
    except sqlite3.Error as error:
        raise InputError(f"{path}: cannot be read as a ledger ({error}); restore it from a copy") from error


@contextmanager
def _as_output_error(folder: Path, *, is_quiet: bool = False) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if not is_quiet:
            raise OutputError(
                f"{folder}: the ledger cannot be written ({error}); free some space, check the disk"
            ) from error
