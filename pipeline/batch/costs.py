"""What steps of a batch cost, and where the time of a cluster goes: the values of `simulate`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np

Reads = Literal["file", "part"]


@dataclass(frozen=True, slots=True)
class Costs:
    """What single steps take. Zero of all but `fuse`: perfect machines."""

    fuse: float
    """s of a worker for a second of video."""
    spread: float = 0.0
    """Standard deviation of the logarithm of a chunk's time."""
    each_chunk: float = 0.0
    """s of a worker for a chunk whatever its length: run-up, opening, checking."""
    plan: float = 0.0
    """s of a worker for a second of video."""
    join: float = 0.0
    """s of a worker for a second of video."""
    driver: float = 0.0
    """s of the driver for a piece of work: handing it out, writing the ledger."""
    start: float = 0.0
    """s from a worker's start to its first work."""
    starts: float = np.inf
    """Workers that a cluster starts in a second."""
    bytes_in: float = 0.0
    """Of IR and VIS, for a second of video."""
    bytes_out: float = 0.0
    link: float = np.inf
    """Bytes/s of one worker."""
    store: float = np.inf
    """Bytes/s of the store, for all workers together."""
    reads: Reads = "file"
    """`file`: a worker that takes a chunk copies the whole pair, unless it had a chunk of it just before; `part`:
    it reads what the chunk needs, from a shared disk."""


@dataclass(slots=True)
class Spent:
    """Where the workers' time went, s, summed over all of them."""

    fusing: float = 0.0
    """Frames that were wanted; the rest is loss."""
    chunks: float = 0.0
    """What each chunk costs whatever its length."""
    planning: float = 0.0
    joining: float = 0.0
    copying: float = 0.0
    """Over the worker's own link."""
    store: float = 0.0
    """Waiting for the store, which serves others."""
    driver: float = 0.0
    """Waiting for the driver."""
    start: float = 0.0
    idle: float = 0.0
    """Nothing left to do, or not yet planned."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole archive."""

    workers: int
    makespan: float
    """s from the start to the last joined file."""
    spent: Spent = field(default_factory=Spent)

    @property
    def efficiency(self) -> float:
        """Share of the workers' time in which they fused."""
        return self.spent.fusing / (self.workers * self.makespan) if self.makespan else 1.0

    def losses(self) -> dict[str, float]:
        """Share of the workers' time by cause, the largest first; with the efficiency they make 1."""
        whole = self.workers * self.makespan or 1.0
        shares = {part.name: getattr(self.spent, part.name) / whole for part in fields(Spent) if part.name != "fusing"}
        return dict(sorted(shares.items(), key=lambda share: -share[1]))
