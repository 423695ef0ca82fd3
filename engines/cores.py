"""How many threads each part of a run gets: one place, chosen by measurement, for the cores that this process may use.

Measured as CPU time a frame (640x480, 140 real frames, two cores shared with other work; docs/performance.md):
what a part spends on waiting for its own threads is taken from the others, which have something to do.
"""

from __future__ import annotations

import os

MOST_DECODING = 4
"""Threads of one decoder. Each holds a picture back and in memory, and two decoders run side by side."""

MOST_ABREAST = 4
"""Pairs of a light network fused side by side. Each takes memory of its own, and must wait for those before it."""


def cores() -> int:
    """Cores that this process may use, by its affinity where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def network_threads(given: int = 0) -> int:
    """Threads of the network: as many as given, else one per core.

    Fewer would leave it the slowest stage: at VGA the light model takes three times what both codecs take together.
    """
    return given or cores()


def pairs_abreast(threads: int) -> int:
    """Pairs of a light network that so many threads of it fuse side by side.

    A thread a pair: two threads within a pair wait for each other at each operator. On two cores a pair of 640x480 then
    takes 8 ms instead of 11 to 13, one of 1280x720 29 instead of 36.
    """
    return min(threads, MOST_ABREAST)


def decoder_threads(given: int = 0) -> int:
    """Threads of each of the two decoders: as many as given, else half the cores, at most `MOST_DECODING`.

    On two cores one each: two decoders fill them as they are, and one with a thread per core spends 4 to 10 % more.
    """
    return given or max(1, min(cores() // 2, MOST_DECODING))
