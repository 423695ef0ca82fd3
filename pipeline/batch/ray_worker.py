"""What a cluster's machine runs: a worker, in a process that Ray starts and watches."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


class RayWorker:
    """An actor, see `ray_executor`. Keeps its network open from one piece of work to the next."""

    def __init__(self, threads: int, cache: int) -> None:
        """threads: of network, pictures and codecs. Ray counts cores, but keeps nobody from taking more.

        cache: bytes, see `Worker`.
        """
        import cv2

        from pipeline.batch.work import Worker

        cv2.setNumThreads(threads)
        self._worker = Worker(threads, cache=cache)

    def about(self, mark: str, token: str) -> dict[str, Any]:
        """Where and what it is, and whether it sees a file of the output folder, with the token in it."""
        import ray

        from engines.model import version

        node = ray.get_runtime_context().get_node_id()
        return {"host": platform.node(), "pid": os.getpid(), "node": node, "version": version("crotalus"),
                "sees": _text(mark) == token}  # fmt: skip

    def do(self, kind: Any, values: dict[str, Any]) -> dict[str, Any]:
        """`result` of a piece of work, or `error` and `why`: an exception would come wrapped in Ray's traceback."""
        from pipeline.batch.work import Work, WorkError

        try:
            return {"result": self._worker.do(Work(kind, values))}
        except WorkError as error:
            return {"error": str(error), "why": error.why}


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None
