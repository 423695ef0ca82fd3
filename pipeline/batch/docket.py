"""A task as it goes through a run: its folder of chunks, and what the ledger is told of it."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pipeline.batch.chunk import read_result
from pipeline.batch.durable import DiskFullError, output_error, write_json_whole
from pipeline.batch.join import RECEIPT, joined_before
from pipeline.batch.ledger import Ledger
from pipeline.batch.pieces import Pieces
from pipeline.batch.place import is_address, parse_place
from pipeline.batch.plan import Chunk
from pipeline.batch.task import Task
from pipeline.batch.work import Work

SPEC = "spec.json"
"""What `run-chunk` takes: `000007.spec.json` in a task's folder."""


@dataclass(slots=True)
class Open:
    """A task under way."""

    task: Task
    id: str
    folder: Path
    """Of its chunks."""
    size: int
    """Of its inputs, bytes; 0 if they are elsewhere."""
    pieces: Pieces
    is_joining: bool = False
    failures: int = 0
    """Of planning and joining."""
    complaints: list[str] = field(default_factory=list)
    dropped: dict[int, int] = field(default_factory=dict)
    """VIS frames without a partner, by chunk."""

    @property
    def label(self) -> str:
        """Its output, for people."""
        return parse_place(self.task.out).label


def open_task(task: Task, folder: Path) -> Open:
    """A task before its plan. folder: of the ledger."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", os.path.splitext(os.path.basename(task.out))[0])[:40]
    name = f"{stem}-{sha256(task.out.encode()).hexdigest()[:10]}"
    size = sum(os.path.getsize(path) for path in (task.ir, task.vis) if os.path.isfile(path))
    return Open(task, name, folder / name, size, Pieces(task, folder / name, "", []))


class Docket:
    """Makes the work of tasks, and enters in the ledger what became of it. One thread."""

    def __init__(self, ledger: Ledger, *, chunk: float, may_replace: bool) -> None:
        """chunk: s. may_replace: outputs that this ledger does not know."""
        self._ledger, self._chunk, self._may_replace = ledger, chunk, may_replace
        self._ended: list[Path] = []
        """Folders of tasks that are done, but not yet on the disk."""

    def settle(self, *, at_once: bool = False) -> None:
        """Have the ledger commit, see there, and remove the chunks of tasks that are done."""
        if self._ledger.settle(at_once=at_once):
            for folder in self._ended:
                shutil.rmtree(folder, ignore_errors=True)
            self._ended.clear()

    def problem(self, task: Open) -> str | None:
        """Why a task cannot be begun; None: it can. Raises DiskFullError."""
        out = task.task.out
        if is_address(out):
            return None
        if os.path.exists(out) and not (self._may_replace or self._is_ours(task)):
            return f"{out}: exists; pass --overwrite or name another output"
        for path in (task.task.ir, task.task.vis):
            if os.path.exists(path) and os.path.realpath(path) == os.path.realpath(out):
                return f"{out}: is an input; name another output"
        try:
            Path(out).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            failure = output_error(Path(out), error)
            if isinstance(failure, DiskFullError):
                raise failure from error
            return str(failure)
        return None

    def plan(self, task: Open) -> Work:
        """Its planning; if files and options are as they were when it was done, only that is found out."""
        row = self._ledger.task(task.id)
        is_ours = self._is_ours(task)
        known = row.plan if row is not None and row.state == "done" and is_ours else ""
        return Work.plan(task.task, self._chunk, known, may_replace=self._may_replace or is_ours)

    def planned(self, task: Open, result: dict[str, Any], seconds: float) -> Literal["done", "open"]:
        """Take a plan over, and what earlier runs and other machines have fused of it."""
        plan = result["fingerprint"]
        row = self._ledger.task(task.id)
        if "chunks" not in result:
            task.complaints = list(row.complaints) if row is not None else []
            self._ended.append(task.folder)  # left behind if the run before was killed
            return "done"
        chunks = [Chunk.from_json(values) for values in result["chunks"]]
        task.pieces = Pieces(task.task, task.folder, plan, chunks)
        places = {name: parse_place(getattr(task.task, name)).label for name in ("ir", "vis", "out")}
        begin = 0.0
        rows = []
        for chunk in chunks:
            rows.append({"state": "waiting", "attempt": 0, "redone": 0, "begin_seconds": begin, "pairs": chunk.pairs,
                         "video_seconds": chunk.seconds})  # fmt: skip
            begin += chunk.seconds
        self._ledger.begin_plan(task.id, rows, **places, plan=plan, chunks=len(chunks), pairs=result["pairs"],
                                dropped=sum(result["dropped"].values()), video_seconds=result["seconds"],
                                error="", plan_seconds=seconds)  # fmt: skip
        self._adopt(task)
        return "open"

    def started(self, task: Open, number: int) -> None:
        """A chunk is under way."""
        self._ledger.enter_chunk(task.id, number, state="running", started=time.time())

    def fused(self, task: Open, number: int, result: dict[str, Any]) -> None:
        """A chunk is done."""
        names = ("frames", "framehash", "seconds", "host")
        told = {name: result[name] for name in names}
        self._ledger.enter_chunk(task.id, number, state="done", ended=time.time(), **told)
        task.dropped[number] = result["dropped"]
        task.complaints += [line for line in result["complaints"] if line not in task.complaints]

    def begun_again(self, task: Open, number: int) -> None:
        """A chunk is to be fused again."""
        self._ledger.enter_chunk(task.id, number, state="waiting", redone=task.pieces.all[number].redone)

    def failed(self, task: Open, number: int, error: str) -> None:
        """A try has failed."""
        piece = task.pieces.all[number]
        state = "waiting" if piece.is_open else "put aside"
        self._ledger.enter_chunk(task.id, number, state=state, attempt=piece.failures, error=error, ended=time.time())

    def put_back(self, task: Open, number: int) -> None:
        """A chunk that was under way is not any more."""
        self._ledger.enter_chunk(task.id, number, state="waiting")

    def join(self, task: Open) -> Work:
        """Its joining."""
        pieces = task.pieces
        may_replace = self._may_replace or self._is_ours(task)
        return Work.join(task.task, task.folder, pieces.plan, len(pieces.all), may_replace=may_replace)

    def joined(self, task: Open, result: dict[str, Any], seconds: float) -> None:
        """A task is done; its chunks are not needed any more once the ledger has committed."""
        told = {name: result[name] for name in ("frames", "framehash", "size")} | {
            "dropped": sum(task.dropped.values())
        }
        self._ledger.enter_task(task.id, state="done", error="", complaints=task.complaints, join_seconds=seconds,
                                ended=time.time(), **told)  # fmt: skip
        self._ended.append(task.folder)

    def put_aside(self, task: Open, reason: str) -> None:
        """A task cannot be done; what is done of it stays for another run."""
        places = {name: parse_place(getattr(task.task, name)).label for name in ("ir", "vis", "out")}
        self._ledger.enter_task(task.id, state="put aside", error=reason, ended=time.time(), **places)

    def write_specs(self, task: Open) -> None:
        """A file for each chunk to be fused, for `run-chunk` on whatever machine."""
        task.folder.mkdir(parents=True, exist_ok=True)
        for number, piece in enumerate(task.pieces.all):
            path = task.folder / f"{number:06d}.{SPEC}"
            if piece.is_open:
                write_json_whole(path, task.pieces.spec(number).to_json())
            else:
                path.unlink(missing_ok=True)

    def _adopt(self, task: Open) -> None:
        pieces = task.pieces
        for number, piece in enumerate(pieces.all):
            done = read_result(task.folder / f"{number:06d}.json", pieces.plan)
            if done is not None:
                piece.before, piece.after = done.before, done.after
                told = {**done.to_json(), "frames": len(done.pts), "framehash": done.framehash}
                self.fused(task, number, told)
        for number in pieces.settle():
            self.begun_again(task, number)

    def _is_ours(self, task: Open) -> bool:
        """Whether the output that is there was written for this ledger, by what is known of it."""
        row, out = self._ledger.task(task.id), Path(task.task.out)
        if is_address(task.task.out):
            return (row is not None and row.size > 0) or (task.folder / RECEIPT).is_file()
        if not out.is_file():
            return False
        is_known = row is not None and out.stat().st_size == row.size
        return is_known or joined_before(task.folder, None, out) is not None
