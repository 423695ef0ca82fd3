"""How the cost grows with pixels and with the length of a video, and whether memory does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table

from pipeline.bench.row import Row
from pipeline.bench.spread import exponent

SIZES = ((160, 120), (320, 240), (640, 480), (1280, 960))
"""Each of four times the pixels of the one before."""
LONGEST = 8.0
"""s that the longest video takes; the others are a half, a quarter and an eighth of it."""
LENGTHS = (8, 4, 2, 1)
SHORTEST = 4
"""Pairs of the shortest."""
MOST = 10_000
"""Pairs of the longest, however fast they are."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Of one fuser and preset: ms a pair by size."""

    fuser: str
    preset: str
    pixels: tuple[int, ...]
    ms: tuple[float, ...]
    """A pair in the pipeline."""
    alone_ms: tuple[float, ...]
    """In the fuser alone; empty if it was not measured."""

    def __str__(self) -> str:
        """E.g. `plain mean: time grows as pixels^0.97 from 160x120 on, in the fuser alone as pixels^1.02`."""
        alone = f"; in the fuser alone with pixels^{exponent(self.pixels, self.alone_ms):.2f}" if self.alone_ms else ""
        rise = (
            f"{self.ms[0]:.2f} ms at {self.pixels[0] / 1e6:.2f} Mpx, {self.ms[-1]:.2f} at {self.pixels[-1] / 1e6:.2f}"
        )
        return f"{self.fuser}: a pair's time grows with pixels^{exponent(self.pixels, self.ms):.2f} ({rise}){alone}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "fuser": self.fuser, "preset": self.preset, "pixels": self.pixels,
            "ms": [round(ms, 4) for ms in self.ms], "alone_ms": [round(ms, 4) for ms in self.alone_ms],
            "exponent": round(exponent(self.pixels, self.ms), 3),
            "alone_exponent": round(exponent(self.pixels, self.alone_ms), 3) if self.alone_ms else None,
        }  # fmt: skip


@dataclass(slots=True)
class Length:
    """Of one fuser at one size: time and memory by pairs, each in a process of its own."""

    fuser: str
    width: int
    height: int
    pairs: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    """Empty where the system does not tell."""

    @property
    def mb_per_1000(self) -> float | None:
        """MiB that the peak grows in 1000 pairs, between the longest and the one of half its length.

        Not from the shortest: queues and buffers fill during the first pairs.
        """
        if len(self.peak_mb) < 2:
            return None
        return (self.peak_mb[-1] - self.peak_mb[-2]) * 1000 / (self.pairs[-1] - self.pairs[-2])

    def __str__(self) -> str:
        """E.g. `640x480 plain mean: time grows with length^1.00 (60 to 480 pairs), peak memory 98 to 99 MiB`."""
        shown = f"{self.width}x{self.height} {self.fuser}: "
        shown += f"time grows with length^{exponent(self.pairs, self.seconds):.2f}"
        memory = f", peak memory {', '.join(f'{mb:.0f}' for mb in self.peak_mb)} MiB" if self.peak_mb else ""
        return f"{shown} ({', '.join(map(str, self.pairs))} pairs){memory}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        grown = self.mb_per_1000
        return {
            "fuser": self.fuser, "width": self.width, "height": self.height, "pairs": self.pairs,
            "seconds": [round(s, 4) for s in self.seconds], "peak_mb": [round(mb, 1) for mb in self.peak_mb],
            "exponent": round(exponent(self.pairs, self.seconds), 3),
            "mb_per_1000_pairs": None if grown is None else round(grown, 2),
        }  # fmt: skip


def pixels_of(rows: Sequence[Row], names: Sequence[str]) -> Iterator[Pixels]:
    """The growth that rows of several sizes show, for these fusers."""
    for fuser, preset in dict.fromkeys((row.fuser, row.preset) for row in rows if row.fuser in names):
        own = sorted((r for r in rows if (r.fuser, r.preset) == (fuser, preset)), key=lambda r: r.width * r.height)
        sizes = tuple(row.width * row.height for row in own)
        if len(set(sizes)) < 2:
            continue
        alone = tuple(median(row.alone["fuse"].wall_ms) for row in own if row.alone)
        ms = tuple(1e3 / row.fps for row in own)
        yield Pixels(fuser, preset, sizes, ms, alone if len(alone) == len(sizes) else ())


def lengths_for(fps: float, most: int | None = None) -> list[int]:
    """Pairs of each video, rising, for a pipeline of this speed. most: that the inputs have."""
    longest = min(max(round(fps * LONGEST), SHORTEST * LENGTHS[0]), MOST, most or MOST)
    return sorted({max(SHORTEST, longest // part) for part in LENGTHS})


def table(rows: Sequence[Length]) -> Table:
    """A row for each length."""
    shown = Table("size", "", "pairs", "s", "ms a pair", "peak MiB", title="length of the video", title_justify="left")
    for row in rows:
        for k, (pairs, seconds) in enumerate(zip(row.pairs, row.seconds, strict=True)):
            peak = f"{row.peak_mb[k]:.0f}" if row.peak_mb else "-"
            first = [f"{row.width}x{row.height}", row.fuser] if k == 0 else ["", ""]
            shown.add_row(*first, str(pairs), f"{seconds:.2f}", f"{1e3 * seconds / pairs:.2f}", peak)
    return shown
