"""A worker process of the local pool: a line of JSON in is a piece of work, a line of JSON out what became of it."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any


def main() -> None:
    """Work until standard input ends. The arguments are the list of cores to stay on, and the bytes of the cache."""
    cores = [int(core) for core in sys.argv[1].split(",")]
    with suppress(OSError):  # cores taken from us meanwhile
        os.sched_setaffinity(0, cores)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    import cv2

    from pipeline.batch.work import Work, Worker, WorkError

    cv2.setNumThreads(len(cores))
    worker = Worker(len(cores), cache=int(sys.argv[2]))
    for line in _lines():
        said = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {"result": worker.do(Work(said["kind"], said["values"]))}
        except WorkError as error:
            answer = {"error": str(error), "why": error.why}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _lines() -> Iterator[str]:
    """Lines of standard input, read by a thread: at its end the process ends, in the midst of work, too."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, name="pipe", daemon=True).start()
    while True:
        yield lines.get()


if __name__ == "__main__":
    main()
