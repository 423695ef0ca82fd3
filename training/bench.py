"""Many pictures measured on all cores, each once: what was measured is kept in a file, and not measured again."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from engines.model import sha256
from training.clip_rows import clip_row
from training.clips import ClipJob, clip_fingerprint
from training.data import read_luma
from training.methods import Job, fingerprint, fused
from training.rows import Row, fusion_row

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Libraries read them as they load; each process has one core."""
SOURCES = ("rows.py", "methods.py", "metrics/*.py", "../engines/onnx_cpu.py", "../engines/classical/*.py")
"""What decides the numbers; a change of it makes what was kept stale."""
CLIP_SOURCES = ("clips.py", "clip_rows.py", "video.py", "../engines/rules.py")
"""And of clips."""


Work = Job | ClipJob
"""A picture or a clip."""


class BenchError(RuntimeError):
    """Pictures that could not be measured for want of a process."""


def measure_all(
    jobs: Sequence[Work], *, kept: Path | None = None, workers: int = 1, console: Console | None = None
) -> list[Row]:
    """The row of each job, in their order.

    kept: a file of JSON lines that rows are read from and, one by one as they are measured, added to, so that an
    interrupted run goes on where it was. workers: processes; 1 measures in this one. Raises what `methods.fused`
    raises, BenchError, and OSError.
    """
    console = console or Console(quiet=True)
    keys = _keys(jobs)
    known = read_kept(kept) if kept else {}
    missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in known}
    with _appending(kept) as file:
        found = _measured(missing, min(workers, len(missing)))
        for key, row in track(found, "measuring", len(missing), console=console, disable=not console.is_terminal):
            known[key] = row
            if file:
                job = missing[key]
                line = {"key": key, "method": job.method.name, "pair": str(job.pair.ir), "row": row}
                file.write(json.dumps(line, allow_nan=False) + "\n")
                file.flush()
    return [known[key] for key in keys]


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_kept(path: Path) -> dict[str, Row]:
    """Rows by key; lines that are no such row, as the last one of a run that was killed, are passed over."""
    rows: dict[str, Row] = {}
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            rows[entry["key"]] = {str(name): None if v is None else float(v) for name, v in entry["row"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return rows


@functools.cache
def code_version(more: tuple[str, ...] = ()) -> str:
    """Hash of all code and libraries that decide the numbers. more: files beside `SOURCES`."""
    folder = Path(__file__).parent
    files = sorted(path for pattern in (*SOURCES, *more) for path in folder.glob(pattern))
    parts = [np.__version__, cv2.__version__, *(sha256(path) for path in files)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _keys(jobs: Sequence[Work]) -> list[str]:
    """One a job: a hash of its sources, of what fuses them, and of the code."""
    of_file = functools.cache(sha256)
    parts = ((of_file(job.pair.ir), of_file(job.pair.vis), *_made_by(job)) for job in jobs)
    return [hashlib.sha256(" ".join(part).encode()).hexdigest() for part in parts]


def _made_by(job: Work) -> tuple[str, ...]:
    """What fuses and measures a job."""
    if isinstance(job, ClipJob):
        return code_version(CLIP_SOURCES), clip_fingerprint(job)
    return code_version(), fingerprint(job)


def _measured(jobs: dict[str, Work], workers: int) -> Iterator[tuple[str, Row]]:
    """Rows with their keys, as they come."""
    if workers <= 1:
        for key, job in jobs.items():
            yield key, _row(job)
        return
    # Spawned, not forked: a process with threads, as those of OpenCV, must not be forked.
    with _one_thread(), ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _pin) as pool:
        futures = {pool.submit(_row, job): key for key, job in jobs.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise BenchError("a process was killed, as when memory runs out; use fewer --workers") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _row(job: Work) -> Row:
    if isinstance(job, ClipJob):
        return clip_row(job)
    return fusion_row(read_luma(job.pair.ir), read_luma(job.pair.vis), fused(job))


def _pin() -> None:
    """One thread; and Ctrl-C, which the terminal sends to all, is the first process' to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


@contextmanager
def _appending(path: Path | None) -> Iterator[TextIO | None]:
    """The file of kept rows, opened at its end, on a line of its own; None without a path."""
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        if torn and path.stat().st_size:
            file.write("\n")
        yield file


@contextmanager
def _one_thread() -> Iterator[None]:
    """The environment of processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
