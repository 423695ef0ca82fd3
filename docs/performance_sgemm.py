"""Measures the arithmetic rate of a model on the CPU against that of a matrix product, in one process, in turns.

    python docs/performance_sgemm.py [jcae] [--size 320x240] [--threads 1] [--turns 6]

The rate is counted over CPU time, so that other work on the machine moves it little.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

FLOP_PER_PIXEL = 4 * 111_744 + 2 * 111_744
"""Of jcae: four encodings of 2 * 9 * (64 + 64 * 64 + 64 * 128 / 4), two decodings of the same in reverse."""
SIDE = 1536
"""Of the square matrices: 28 MB for three, well past the caches."""


def main() -> None:
    """Print GFLOP/s of both, and the ratio of the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="jcae")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=6)
    given = parser.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(given.threads)  # before NumPy reads them
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import numpy as np

    from engines.base import open_fuser

    rng = np.random.default_rng(0)
    width, height = map(int, given.size.split("x"))
    one, other = (rng.random((SIDE, SIDE), np.float32) for _ in range(2))
    ir, vis = (rng.integers(0, 256, (height, width), np.uint8) for _ in range(2))
    fuser = open_fuser(given.model, backend="cpu", threads=given.threads)
    assert fuser.info is not None
    padded = (width + 2 * fuser.info.margin) * (height + 2 * fuser.info.margin)
    network, product = [], []
    fuser.fuse(ir, vis)
    for _ in range(given.turns):
        network.append(rate(lambda: fuser.fuse(ir, vis), FLOP_PER_PIXEL * padded))
        product.append(rate(lambda: one @ other, 2 * SIDE**3))
    a, b = float(np.median(network)), float(np.median(product))
    print(f"{given.model} {given.size}, {given.threads} threads, {given.turns} turns, GFLOP/s per core in use")
    print(f"network {a:.1f} ({min(network):.1f}..{max(network):.1f})")
    print(f"sgemm   {b:.1f} ({min(product):.1f}..{max(product):.1f})")
    print(f"ratio   {a / b:.2f}; of the best turns {max(network) / max(product):.2f}")


def rate(work: Callable[[], object], flop: float) -> float:
    """GFLOP/s over CPU time."""
    began = time.process_time()
    work()
    return flop / 1e9 / (time.process_time() - began)


if __name__ == "__main__":
    main()
