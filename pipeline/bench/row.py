"""One line of a benchmark: what was measured, each repeat of it, and what its stages take alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from pipeline.bench.limit import Limit, limit_of
from pipeline.bench.spread import spread
from pipeline.stats import Stats

Stage = Literal["decode", "fuse", "encode"]
STAGES: tuple[Stage, ...] = ("decode", "fuse", "encode")
"""What is measured alone, too: decoding both inputs, the middle of the line, the encoder."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of the pipeline."""

    width: int
    height: int
    pairs: int
    """After the warm-up."""
    seconds: float
    """From the last pair of the warm-up until the file was closed."""
    stats: Stats
    cpu_ms: float = math.nan
    """CPU time of this process, all cores together, a pair."""

    @property
    def fps(self) -> float:
        """Pairs a second."""
        return self.pairs / self.seconds


@dataclass(slots=True)
class Alone:
    """One stage without the others, on the same pictures."""

    wall_ms: list[float] = field(default_factory=list)
    """A pair, by repeat."""
    cpu_ms: list[float] = field(default_factory=list)
    """CPU time of all cores a pair, by repeat."""

    def add(self, wall_ms: float, cpu_ms: float) -> None:
        """Note a repeat."""
        self.wall_ms.append(wall_ms)
        self.cpu_ms.append(cpu_ms)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "ms": [round(value, 4) for value in self.wall_ms],
            "cpu_ms": [round(value, 4) for value in self.cpu_ms],
        }


@dataclass(slots=True)
class Row:
    """One fuser at one size and preset."""

    fuser: str
    width: int
    height: int
    stats: Stats | None
    """Of the repeat in the middle; None of another program, whose stages nobody sees."""
    preset: str = "veryfast"
    fps_of_repeats: list[float] = field(default_factory=list)
    cpu_ms_of_repeats: list[float] = field(default_factory=list)
    """CPU time a pair, all cores together; empty of another program. Other programs' load moves it little."""
    pairs: int = 0
    """Timed in the repeat in the middle."""
    alone: dict[Stage, Alone] = field(default_factory=dict)
    at_once: Alone = field(default_factory=Alone)
    """All of them at the same time, each for itself."""
    weights: str | None = None
    """The first digits of the network's hash."""
    cores: int = 1

    @property
    def fps(self) -> float:
        """Pairs a second, the median of the repeats."""
        return median(self.fps_of_repeats)

    @property
    def timed(self) -> int:
        """Pairs timed: one fewer than frames, the last of the warm-up starts the clock."""
        return self.pairs

    @property
    def spread(self) -> float | None:
        """Half of the range of the repeats over their median; None of one repeat."""
        return spread(self.fps_of_repeats)

    @property
    def limit(self) -> Limit | None:
        """What holds the row back; None where the stages were not measured alone."""
        if set(self.alone) != set(STAGES) or not all(alone.wall_ms for alone in self.alone.values()):
            return None
        wall: dict[str, float] = {stage: median(self.alone[stage].wall_ms) for stage in STAGES}
        cpu: dict[str, float] = {stage: median(self.alone[stage].cpu_ms) for stage in STAGES}
        at_once = median(self.at_once.wall_ms) if self.at_once.wall_ms else None
        return limit_of(1e3 / self.fps, wall, cpu, self.cores, at_once)

    def __str__(self) -> str:
        """E.g. `640x480 plain mean: 210.50 frames/s over 20 pairs`."""
        repeats = "" if self.spread is None else f", {len(self.fps_of_repeats)} times, ±{100 * self.spread:.0f} %"
        return f"{self.width}x{self.height} {self.fuser}: {self.fps:.2f} frames/s over {self.timed} pairs{repeats}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        limit = self.limit
        return {
            "fuser": self.fuser, "weights": self.weights, "width": self.width, "height": self.height,
            "preset": self.preset, **(self.stats.to_json() if self.stats else {"frames": self.pairs + 1}),
            "fps": round(self.fps, 3), "fps_of_repeats": [round(fps, 3) for fps in self.fps_of_repeats],
            "cpu_ms_of_repeats": [round(ms, 4) for ms in self.cpu_ms_of_repeats],
            "spread": None if self.spread is None else round(self.spread, 4),
            "alone": {stage: alone.to_json() for stage, alone in self.alone.items()},
            "at_once": self.at_once.to_json(),
            "limit": limit.to_json() if limit else None,
        }  # fmt: skip
