"""Worker processes of this machine, each with cores of its own; one that dies is replaced, its work is told as lost."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.batch.storage import CACHE_BYTES
from pipeline.batch.work import Work, WorkError
from pipeline.frames import InputError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What libraries read when they start, each to have no more threads than the worker has cores."""
GIB_EACH = 2
"""Of memory for each worker, if nobody says how many: the network takes 1.5 kB a pixel, 2 GB at 1280x1024."""
_ROOT = str(Path(__file__).parents[2])
PATIENCE = 5.0
"""s for a worker to end by itself."""

Outcome = Future[dict[str, Any]]


class LocalPool:
    """An executor, see `driver.Executor`: processes made anew (never forked), told their work by a pipe.

    A worker that loses its pipe ends, so that none outlives a driver that was killed.
    """

    def __init__(self, workers: int = 0, *, cores: set[int] | None = None, cache: int = CACHE_BYTES) -> None:
        """workers: 0 for one per core, as far as memory goes. cores: to share out; None: all this process may use.

        cache: bytes of copies of remote files. Raises InputError for more workers than cores.
        """
        own = sorted(cores if cores is not None else os.sched_getaffinity(0))
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (GIB_EACH << 30)
        count = workers or max(min(len(own), memory), 1)
        if not 1 <= count <= len(own):
            raise InputError(f"--workers {workers}: give 1 to {len(own)}, one for each core that may be used here")
        self.slots = count
        """Pieces of work done at a time."""
        self._queue: queue.Queue[tuple[Work, Outcome] | None] = queue.Queue()
        self._is_closed = threading.Event()
        self._posts = [_Post(own[n::count], cache, self._queue, self._is_closed) for n in range(count)]

    def submit(self, work: Work) -> Outcome:
        """The work's result to come; a WorkError in it if it failed, of kind `lost` if its process did."""
        outcome: Outcome = Future()
        self._queue.put((work, outcome))
        return outcome

    def pids(self) -> list[int]:
        """Processes of the workers that run now."""
        return [post.process.pid for post in self._posts if post.process is not None]

    def close(self) -> None:
        """End all workers at once, whatever they do. May be called twice."""
        self._is_closed.set()
        for post in self._posts:
            self._queue.put(None)
            post.end()
        for post in self._posts:
            post.join()


class _Post:
    """A place for a worker: a thread that feeds one process, and starts another when it is gone."""

    def __init__(
        self, cores: list[int], cache: int, work: queue.Queue[tuple[Work, Outcome] | None], is_closed: threading.Event
    ) -> None:
        self._cores, self._cache, self._work, self._is_closed = cores, cache, work, is_closed
        self.process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Kill the process."""
        with self._lock:
            if self.process is not None:
                self.process.kill()

    def join(self) -> None:
        """Wait for the thread, after `end`."""
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, outcome = item
            if self._is_closed.is_set() or not outcome.set_running_or_notify_cancel():
                outcome.cancel()
                continue
            try:
                outcome.set_result(self._done(work))
            except WorkError as error:
                outcome.set_exception(error)
            except Exception as error:  # crosses over to the driver
                outcome.set_exception(WorkError(f"{type(error).__name__}: {error}"))
        with self._lock:
            process, self.process = self.process, None
        if process is not None:
            self._part(process)

    def _done(self, work: Work) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        answer = ""
        with suppress(OSError):  # a broken pipe: it is gone
            process.stdin.write(json.dumps({"kind": work.kind, "values": work.values}) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        if not answer.endswith("\n"):
            with self._lock:
                self.process = None
            raise WorkError(f"its process ended ({_ending(self._part(process))}); memory or a damaged file?", "lost")
        said: Mapping[str, Any] = json.loads(answer)
        if "error" in said:
            raise WorkError(said["error"], said["why"])
        return dict(said["result"])

    def _started(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._is_closed.is_set():
                raise WorkError("the pool is closed", "lost")
            if self.process is None or self.process.poll() is not None:
                limits = {name: str(len(self._cores)) for name in THREAD_VARIABLES}
                cores = ",".join(map(str, self._cores))
                # A group of its own: Ctrl-C is for the driver, which ends the others.
                where = os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "pipeline.batch.worker", cores, str(self._cache)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                    env={**os.environ, **limits, "PYTHONPATH": where},
                    start_new_session=True,
                )  # fmt: skip
            return self.process

    def _part(self, process: subprocess.Popen[str]) -> int:
        """End a process, and free what belongs to it; its exit code."""
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
