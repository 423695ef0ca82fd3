"""What else the machine did during a run, by the system's own counts, and whether the run is to be trusted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.bench.facts import cores

OTHERS = 0.05
"""Share of all cores' time that others may take before a run is called noisy."""
STEAL = 0.02
"""The same for what a hypervisor gave to other machines."""
SLOWED = 0.9
"""Of the highest clock seen: below it the machine throttled, or had not woken up."""
APART = 0.1
"""Half range of repeats over their median from which a row is called noisy."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a run took and what others took beside it."""

    seconds: float
    own_cores: float
    """CPU seconds of this program and its children, a second."""
    other_cores: float | None
    """The same of all others; None where the system does not tell."""
    steal_cores: float | None
    """The same of other machines on the same host."""
    load_before: float | None
    """The system's load average of a minute."""
    load_after: float | None
    mhz: tuple[float, float] | None
    """Lowest and highest clock of a core seen between measurements; None where the system does not tell."""
    cores: int = field(default_factory=cores)

    def reasons(self) -> list[str]:
        """Why the numbers of the run are noisy, a line each; empty for a quiet machine."""
        lines = []
        if self.other_cores is not None and self.other_cores > OTHERS * self.cores:
            lines.append(f"other programs used {self.other_cores:.2f} of {self.cores} cores meanwhile")
        if self.steal_cores is not None and self.steal_cores > STEAL * self.cores:
            lines.append(f"the host of this virtual machine withheld {self.steal_cores:.2f} of {self.cores} cores")
        if self.mhz is not None and self.mhz[0] < SLOWED * self.mhz[1]:
            lines.append(f"the cores' clock went between {self.mhz[0]:.0f} and {self.mhz[1]:.0f} MHz")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**values, "reasons": self.reasons()}


class Watch:
    """Counts from its making on. `look` between measurements, never in one."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._began = clock, clock()
        self._own, self._busy = _own_seconds(), _busy_seconds()
        self._before = _load_average()
        self._mhz: list[float] = []

    def look(self) -> None:
        """Note the clocks of the cores."""
        self._mhz += _clocks_mhz()

    def load(self) -> Load:
        """What was until now."""
        seconds = max(self._clock() - self._began, 1e-9)
        own, busy = _own_seconds() - self._own, _busy_seconds()
        others = steal = None
        if busy is not None and self._busy is not None:
            others = max(0.0, busy[0] - self._busy[0] - own) / seconds
            steal = max(0.0, busy[1] - self._busy[1]) / seconds
        mhz = (min(self._mhz), max(self._mhz)) if self._mhz else None
        return Load(seconds, own / seconds, others, steal, self._before, _load_average(), mhz)


def _own_seconds() -> float:
    """CPU s of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _busy_seconds(stat: Path = Path("/proc/stat")) -> tuple[float, float] | None:
    """CPU s of all processes (user, nice, system, interrupts) and s stolen, since the machine's start."""
    try:
        fields = [int(word) for word in stat.read_text().split("\n", 1)[0].split()[1:9]]
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    user, nice, system, _, _, interrupts, soft, steal = fields
    return (user + nice + system + interrupts + soft) / tick, steal / tick


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _clocks_mhz(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[float]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return []
    return [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
