"""What holds a pipeline back: its slowest stage, or all cores together, by what each stage takes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

WORDS = {"decode": "decoding", "fuse": "fusing", "encode": "encoding"}


@dataclass(frozen=True, slots=True)
class Limit:
    """The least time a pair can take, and the time it took."""

    by: str
    """`decoding`, `fusing`, `encoding`, or `all 2 cores`."""
    least_ms: float
    slowest: str
    """The stage that takes longest alone."""
    slowest_ms: float
    took_ms: float
    at_once_ms: float | None = None
    """What all stages take at the same time, each for itself; None if that was not measured."""

    @property
    def reached(self) -> float:
        """Share of the speed that the limit allows."""
        return self.least_ms / self.took_ms

    @property
    def of_slowest(self) -> float:
        """Share of the speed of the slowest stage alone."""
        return self.slowest_ms / self.took_ms

    @property
    def of_at_once(self) -> float | None:
        """Share of the speed of all stages at the same time, each for itself: what is missing is the pipeline's own."""
        return None if self.at_once_ms is None else self.at_once_ms / self.took_ms

    def __str__(self) -> str:
        """E.g. `limited by fusing, 20.1 ms alone; a pair takes 24.3 ms: 83 % of what is possible`."""
        alone = "of work for each" if self.by.startswith("all") else "alone"
        slowest = (
            ""
            if self.by == self.slowest
            else f" ({self.slowest} alone {self.slowest_ms:.2f} ms: {100 * self.of_slowest:.0f} % of its speed)"
        )
        took = f"a pair takes {self.took_ms:.2f} ms: {100 * self.reached:.0f} % of what is possible"
        if self.of_at_once is not None:
            took += f", {100 * self.of_at_once:.0f} % of what all stages reach side by side"
        return f"limited by {self.by}, {self.least_ms:.2f} ms {alone}{slowest}; {took}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        numbers = {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}
        shares = {"reached": self.reached, "of_slowest": self.of_slowest, "of_at_once": self.of_at_once}
        return {**numbers, **{name: None if share is None else round(share, 4) for name, share in shares.items()}}


def limit_of(
    took_ms: float,
    wall_ms: Mapping[str, float],
    cpu_ms: Mapping[str, float],
    cores: int,
    at_once_ms: float | None = None,
) -> Limit:
    """The limit of a pair that took so long, from what each stage takes alone on all cores.

    Stages run beside each other, so none can be beaten by less than the slowest of them takes, nor by less than the
    CPU time of all of them shared out to the cores.
    """
    slowest = max(wall_ms, key=lambda stage: wall_ms[stage])
    shared = sum(cpu_ms.values()) / cores
    if shared > wall_ms[slowest]:
        by, least = f"all {cores} cores" if cores > 1 else "the one core", shared
    else:
        by, least = WORDS[slowest], wall_ms[slowest]
    return Limit(by, least, WORDS[slowest], wall_ms[slowest], took_ms, at_once_ms)
