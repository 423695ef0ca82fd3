"""Many tasks on many workers: what is done next, what is done again, what is put aside. It knows no cluster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, Protocol

from pipeline.batch.docket import Docket, Open, open_task
from pipeline.batch.durable import DiskFullError
from pipeline.batch.ledger import LEASE, Ledger
from pipeline.batch.pieces import ATTEMPTS
from pipeline.batch.task import Task
from pipeline.batch.work import Kind, Work, WorkError

TICK = 0.2
"""s between looks at Ctrl-C."""


class Executor(Protocol):
    """Where work is done: processes of this machine, a cluster. Work goes there and back as plain values."""

    @property
    def slots(self) -> int:
        """Pieces of work at a time; asked again and again, a cluster may grow."""
        ...

    def submit(self, work: Work) -> Future[dict[str, Any]]:
        """Have it done by a `work.Worker`. The future ends with its result or its WorkError.

        A worker that has gone is a WorkError, too, of kind `lost`: then the executor is as able as before.
        """
        ...

    def close(self) -> None:
        """Stop at once, whatever is under way. May be called twice."""
        ...


@dataclass(slots=True)
class Outcome:
    """How far a run has come, and in the end what became of it."""

    tasks: int
    done: int = 0
    """Tasks whose output is there, whole."""
    skipped: int = 0
    """Of them, those of a run before."""
    aside: list[tuple[str, str]] = field(default_factory=list)
    """Outputs that could not be made, each with its reason."""
    short: list[tuple[str, str]] = field(default_factory=list)
    """Outputs that were made, though an input did not hold what it promised: with what is missing."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """What outputs cannot hold of their inputs."""
    pairs: int = 0
    """Fused by this run."""
    video_seconds: float = 0.0
    """The same in s of VIS."""
    chunks: int = 0
    redone: int = 0
    """Chunks fused again because their run-up had not led to the state of the stream."""
    retried: int = 0
    """Tries that failed."""
    seconds: float = 0.0
    """That the run took so far."""
    is_interrupted: bool = False


@dataclass(slots=True)
class _Running:
    kind: Kind
    open: Open
    number: int = -1
    began: float = 0.0


class Driver:
    """One run over many tasks. One thread; the ledger is written here only."""

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        *,
        chunk: float,
        may_replace: bool = False,
        plans_only: bool = False,
        stop: Event | None = None,
        tell: Callable[[Outcome], None] = lambda outcome: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """chunk: s, at least. may_replace: outputs of others. plans_only: leave the fusing to `run-chunk`.

        stop: ends the run as soon as it is set; chunks that are done are kept. tell: called again and again.
        """
        self._ledger, self._executor = ledger, executor
        self._docket = Docket(ledger, chunk=chunk, may_replace=may_replace)
        self._plans_only = plans_only
        self._stop, self._tell, self._clock = stop or Event(), tell, clock
        self._running: dict[Future[dict[str, Any]], _Running] = {}
        self._open: list[Open] = []
        self._outcome = Outcome(0)

    def run(self, tasks: Sequence[Task]) -> Outcome:
        """Do all tasks, the largest first. Raises OutputError if the ledger or the disk fails, after closing."""
        self._outcome = outcome = Outcome(len(tasks))
        began = renewed = self._clock()
        waiting = deque(sorted((open_task(task, self._ledger.folder) for task in tasks), key=lambda o: -o.size))
        try:
            while not self._stop.is_set():
                self._fill(waiting)
                self._docket.settle()
                if not self._running:
                    break
                done, _ = wait(self._running, TICK, FIRST_COMPLETED)
                outcome.seconds = self._clock() - began
                for future in done:
                    self._finish(future)
                if self._clock() - renewed > LEASE / 3:
                    renewed = self._clock()
                    self._ledger.renew()
                self._tell(outcome)
        finally:
            self._executor.close()
            with suppress(Exception):  # the disk may be full: then a later run finds what was running
                self._put_back()
                self._docket.settle(at_once=True)
        outcome.is_interrupted = self._stop.is_set()
        outcome.seconds = self._clock() - began
        return replace(outcome)

    def _fill(self, waiting: deque[Open]) -> None:
        while len(self._running) < self._executor.slots:
            chosen = self._next(waiting)
            if chosen is None:
                return
            running, work = chosen
            running.began = self._clock()
            if running.kind == "chunk":
                running.open.pieces.begin(running.number)
                self._docket.started(running.open, running.number)
            self._running[self._executor.submit(work)] = running

    def _next(self, waiting: deque[Open]) -> tuple[_Running, Work] | None:
        """What to do now: finish what is begun, go on where a state is known, and only then guess one."""
        for task in self._open:
            if task.pieces.is_whole and not task.is_joining:
                task.is_joining = True
                return _Running("join", task), self._docket.join(task)
        if not self._plans_only:
            by_size = sorted(self._open, key=lambda task: -task.pieces.pairs_left)
            for task in by_size:
                number = task.pieces.following()
                if number is not None:
                    return _Running("chunk", task, number), Work.chunk(task.pieces.spec(number))
        while waiting:
            task = waiting.popleft()
            problem = self._docket.problem(task)
            if problem is None:
                return _Running("plan", task), self._docket.plan(task)
            self._put_aside(task, problem)
        if not self._plans_only:
            for task in by_size:
                number = task.pieces.middle()
                if number is not None:
                    return _Running("chunk", task, number), Work.chunk(task.pieces.spec(number))
        return None

    def _finish(self, future: Future[dict[str, Any]]) -> None:
        running = self._running.pop(future)
        seconds = self._clock() - running.began
        try:
            result = future.result()
        except CancelledError:
            result = {}
        except WorkError as error:
            if error.why == "full":
                self._running[future] = running  # to be put back
                raise DiskFullError(str(error)) from error
            self._outcome.retried += 1
            self._failed(running, error)
            return
        if running.kind == "plan":
            self._planned(running.open, result, seconds)
        elif running.kind == "chunk":
            self._fused(running, result)
        else:
            self._joined(running.open, result, seconds)

    def _planned(self, task: Open, result: dict[str, Any], seconds: float) -> None:
        found = self._docket.planned(task, result, seconds)
        if found == "done":
            self._outcome.done += 1
            self._outcome.skipped += 1
            self._outcome.short += [(task.label, line) for line in task.complaints]
            return
        self._open.append(task)
        if self._plans_only:
            self._docket.write_specs(task)
        self._look_after(task)

    def _fused(self, running: _Running, result: dict[str, Any]) -> None:
        task, piece = running.open, running.open.pieces.all[running.number]
        again = task.pieces.fused(running.number, result)
        self._outcome.chunks += 1
        self._outcome.redone += len(again)
        self._outcome.pairs += result["frames"]
        self._outcome.video_seconds += piece.chunk.seconds
        self._docket.fused(task, running.number, result)
        for number in again:
            self._docket.begun_again(task, number)
        self._look_after(task)

    def _joined(self, task: Open, result: dict[str, Any], seconds: float) -> None:
        self._open.remove(task)
        self._docket.joined(task, result, seconds)
        self._outcome.done += 1
        self._outcome.short += [(task.label, line) for line in task.complaints]
        self._outcome.notes += [(task.label, line) for line in result["notes"]]

    def _failed(self, running: _Running, error: WorkError) -> None:
        task, text = running.open, str(error)
        if running.kind == "chunk":
            task.pieces.failed(running.number, text)
            self._docket.failed(task, running.number, text)
            self._look_after(task)
            return
        task.failures += 1
        if error.why == "input" or task.failures >= ATTEMPTS:
            self._put_aside(task, text)
        elif running.kind == "plan":
            self._running[self._executor.submit(self._docket.plan(task))] = replace(running, began=self._clock())
        else:
            task.is_joining = False

    def _look_after(self, task: Open) -> None:
        if task.pieces.is_stuck:
            self._put_aside(task, task.pieces.why_stuck)

    def _put_aside(self, task: Open, reason: str) -> None:
        if task in self._open:
            self._open.remove(task)
        self._docket.put_aside(task, reason)
        self._outcome.aside.append((task.label, reason))

    def _put_back(self) -> None:
        """Enter what was under way as to be done."""
        for running in self._running.values():
            if running.kind == "chunk":
                self._docket.put_back(running.open, running.number)
        self._running.clear()
