"""The real line for hours: two files played as cameras, a plain average for a network, and what it costs over time.

Run by hand: python tests/pipeline/live/soak.py --soak 8h [--ir FILE --vis FILE] [--size 640x480] [--model jcae]
CI runs a few seconds of it. Exit code 1 if memory, descriptors, threads or the rate do not hold still.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3]))
from engines.base import open_fuser
from engines.classical import open_classical
from pipeline.align import Geometry
from pipeline.arguments import parse_size
from pipeline.live.address import parse_address
from pipeline.live.camera import Camera
from pipeline.live.pairing import Pairing
from pipeline.live.playback import Epoch
from pipeline.live.recorder import RecordSettings
from pipeline.live.run import LiveJob, LiveRun
from pipeline.live.status import Controls, LiveStatus, Panel
from pipeline.synthetic import Scene, write_pair

UNITS = {"s": 1, "m": 60, "h": 3600}
SLOPE = 2**20
"""Bytes an hour that memory may grow."""
RATE = 0.02
"""Share by which the frames per second of the second half may differ from the first's."""


@dataclass(slots=True)
class Soak:
    """What was seen, a sample each few seconds after the warm-up."""

    times: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    status: LiveStatus | None = None

    def note(self, now: float, status: LiveStatus, frames: int) -> None:
        """Take a sample."""
        self.times.append(now)
        self.rss.append(status.rss_bytes)
        self.fds.append(len(os.listdir("/proc/self/fd")))
        self.threads.append(threading.active_count())
        self.frames.append(frames)

    @property
    def slope(self) -> float:
        """Bytes an hour: the line of least squares through the resident memory."""
        return float(np.polyfit(np.array(self.times) / 3600, np.array(self.rss, float), 1)[0])

    @property
    def rates(self) -> tuple[float, float]:
        """Frames per second of the first and the second half."""
        middle = len(self.times) // 2
        parts = ((0, middle), (middle, len(self.times) - 1))
        return tuple((self.frames[b] - self.frames[a]) / (self.times[b] - self.times[a]) for a, b in parts)  # type: ignore[return-value]

    def __str__(self) -> str:
        first, second = self.rates
        latency = self.status.latency_ms if self.status else {}
        return (
            f"{self.times[-1] - self.times[0]:.0f} s: memory {self.slope / 2**20:+.2f} MiB/h "
            f"({min(self.rss) / 2**20:.0f} to {max(self.rss) / 2**20:.0f} MiB), descriptors {min(self.fds)} to "
            f"{max(self.fds)}, threads {min(self.threads)} to {max(self.threads)}, {first:.2f} then {second:.2f} "
            f"frames/s, latency p50 {latency.get('p50', 0):.1f} p95 {latency.get('p95', 0):.1f} ms"
        )


def soak(job: LiveJob, addresses: dict[str, str], fuser, seconds: float, *, warm_up: float, every: float) -> Soak:
    """Run the line and watch it."""
    epoch = Epoch(time.monotonic())
    cameras = {side: Camera(side, parse_address(text), epoch=epoch) for side, text in addresses.items()}
    run = LiveRun(job, cameras, fuser, Panel(Controls(recording=job.record is not None)))  # type: ignore[arg-type]
    seen, due = Soak(), time.monotonic() + warm_up
    end = due + seconds
    run.start()
    try:
        while run.tick() and (now := time.monotonic()) < end + every:
            if now >= due:
                due += every
                seen.status = run.status()
                seen.note(now, seen.status, run.line.meter.frames)
    finally:
        run.close()
    return seen


def main() -> int:
    """Soak, print what was seen, and judge it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soak", default="10s", help="how long, e.g. 30s, 20m, 8h")
    parser.add_argument("--ir")
    parser.add_argument("--vis")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--model", help="a network instead of the plain average")
    parser.add_argument("--threads", type=int, default=0, help="of the network, 0 for one per core")
    parser.add_argument("--master", default="vis", choices=("ir", "vis"))
    parser.add_argument("--ir-rate", type=int, default=25, help="frames/s of the synthetic infrared file")
    parser.add_argument("--record", action="store_true", help="record all the while, in segments of a minute")
    given = parser.parse_args()
    seconds = float(given.soak[:-1]) * UNITS[given.soak[-1]]
    with tempfile.TemporaryDirectory() as folder:
        if given.ir and given.vis:
            paths = {"ir": given.ir, "vis": given.vis}
        else:
            scene = Scene(640, 480, frames=100, ir_rate=Fraction(given.ir_rate), shift=(0, 0), offset=0.0)
            pair = write_pair(Path(folder), scene)
            paths = {"ir": str(pair.ir), "vis": str(pair.vis)}
        tape = RecordSettings(Path(folder) / "soak.mp4", segment=60, keep_bytes=10**9) if given.record else None
        job = LiveJob(Pairing(master=given.master), Geometry(size=parse_size(given.size)), record=tape)
        fuser = open_fuser(given.model, threads=given.threads) if given.model else open_classical("mean")
        addresses = {side: f"file:{path}?realtime=1&loop=1" for side, path in paths.items()}
        seen = soak(job, addresses, fuser, seconds, warm_up=min(60, seconds / 4), every=min(10, seconds / 20))
    print(f"{fuser.name} at {given.size}: {seen}")
    print(f"dropped: {seen.status.drops if seen.status else {}}")
    first, second = seen.rates
    holds = [
        seen.slope < SLOPE or seconds < 1800,  # shorter, the slope is the allocator's noise
        max(seen.fds) - min(seen.fds) <= 2,
        max(seen.threads) == min(seen.threads),
        abs(second - first) <= RATE * first,
    ]
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
