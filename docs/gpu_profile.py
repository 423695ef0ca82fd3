"""Where the time of a pair goes on a GPU: its kernels and copies, the longest first, and how busy the GPU is.

Run: python docs/gpu_profile.py --size 640x480 [--backend torch] [--pairs 50] [--trace trace.json]
Pairs go from arrays to arrays, several under way, as in a job. The trace is for chrome://tracing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
from gpu_rows import first_that_opens, open_parts

from engines.backends import GPU_BACKENDS
from engines.base import CrotalusError, Fuser
from engines.device_fuser import DeviceFuser
from engines.model import load_model
from engines.profile import Size, parse_profile

WARM_UP = 10
"""Pairs before the profiler looks: engines are opened, kernels chosen, recordings made."""
NAME = 90
"""Columns of a kernel's name that are shown: those of libraries run to hundreds."""


@dataclass(frozen=True, slots=True)
class Span:
    """One kernel or copy on the GPU."""

    name: str
    start_us: float
    end_us: float


def fuse_pairs(fuser: Fuser, size: Size, count: int) -> None:
    """So many pairs of noise through a flight; all are done when this returns."""
    width, height = size
    pairs = np.random.default_rng(0).integers(0, 256, (4, 2, height, width), np.uint8)
    flight = fuser.start(follows=True)
    for k in range(count + flight.depth):
        if k >= flight.depth:
            flight.get()
        if k < count:
            flight.put(*pairs[k % len(pairs)])


def spans_of(profiler: Any, device_type: Any) -> list[Span]:
    """What ran on the devices of a type, as torch's profiler tells it."""
    events = [event for event in profiler.events() if event.device_type == device_type]
    return [Span(event.name, event.time_range.start, event.time_range.end) for event in events]


def table(spans: Sequence[Span], pairs: int) -> list[str]:
    """A line for each kernel, the longest first; and how much of the time something ran."""
    if not spans:
        return ["No kernel was seen: is CUPTI there?"]
    times: dict[str, list[float]] = {}
    for span in spans:
        times.setdefault(span.name, []).append(span.end_us - span.start_us)
    lines = [f"{'us a pair':>10} {'calls':>6} {'us each':>8}  kernel or copy"]
    for name, each in sorted(times.items(), key=lambda item: -sum(item[1])):
        numbers = f"{sum(each) / pairs:10.1f} {len(each) / pairs:6.1f} {sum(each) / len(each):8.1f}"
        lines.append(f"{numbers}  {name[:NAME]}")
    begin, end = min(span.start_us for span in spans), max(span.end_us for span in spans)
    lines.append(f"{(end - begin) / pairs:.1f} us a pair, {busy_us(spans) / (end - begin):.0%} of it busy")
    return lines


def busy_us(spans: Sequence[Span]) -> float:
    """How long at least one of them ran."""
    total = last = 0.0
    for span in sorted(spans, key=lambda span: span.start_us):
        total += max(0.0, span.end_us - max(span.start_us, last))
        last = max(last, span.end_us)
    return total


def main() -> int:
    """0 done, 1 failed with one line that says why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--backend", choices=["auto", *GPU_BACKENDS], default="auto")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--trace", type=Path)
    given = parser.parse_args()
    if given.pairs < 1:
        parser.error(f"--pairs {given.pairs}: give 1 or more")
    try:
        info, size = load_model("jcae"), parse_profile(given.size).largest
        backend = first_that_opens(info) if given.backend == "auto" else given.backend
        from engines.torch_cuda import open_runtime

        torch = open_runtime().torch
        device, network = open_parts(info, backend)
        with closing(DeviceFuser(info, network, device)) as fuser:
            fuse_pairs(fuser, size, WARM_UP)
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
                fuse_pairs(fuser, size, given.pairs)
                torch.cuda.synchronize()
            print("\n".join([fuser.name, *table(spans_of(profiler, torch.autograd.DeviceType.CUDA), given.pairs)]))
            if given.trace is not None:
                profiler.export_chrome_trace(str(given.trace))
    except CrotalusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
