"""What a machine does without this program: what tells two of them, or one on two days, apart."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def copying() -> float:
    """GB a second that one core copies, counting bytes read and bytes written."""
    source, target = np.ones(32 << 20, np.uint8), np.empty(32 << 20, np.uint8)
    target[:] = source  # its pages are there now; unwritten ones of zeros would be one page read again and again
    return 2 * source.nbytes * 4 / _seconds(lambda: np.copyto(target, source), 4) / 1e9


def multiplying(side: int = 768) -> float:
    """GFLOP a second of a square float32 matrix product, on the threads that numpy takes."""
    left = np.ones((side, side), np.float32)
    left @ left
    return 2 * side**3 * 4 / _seconds(lambda: left @ left, 4) / 1e9


def _seconds(work: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - began
