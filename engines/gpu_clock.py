"""Times of work on a GPU: medians over many runs, and whether memory stays as it was."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.device import Device, Stream
from engines.torch_runtime import TorchRuntime

WARM_UP = 10
"""Runs before the clock starts: libraries choose kernels, recordings are made, the GPU raises its clock."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long something took."""

    runs: int
    """timed, after `WARM_UP` more"""
    p50_ms: float
    p95_ms: float
    grown_bytes: int
    """GPU memory taken from before the timed runs to after them: 0 if they allocate nothing."""

    @classmethod
    def of(cls, times_ms: list[float], grown_bytes: int) -> Timing:
        """The summary of a list of times."""
        p50, p95 = np.percentile(times_ms, (50, 95))
        return cls(len(times_ms), float(p50), float(p95), grown_bytes)


class Clock:
    """Times what is put into one stream, by CUDA events of torch's; by the host's clock where torch has no GPU."""

    def __init__(self, device: Device, runtime: TorchRuntime) -> None:
        """Makes the stream."""
        self._device, self._runtime = device, runtime
        self.stream: Stream = device.stream()

    def time(self, run: Callable[[], None], runs: int, *, repeats: int = 1) -> Timing:
        """run: puts work into the stream, the same each time, and returns. repeats: how often it does what is timed."""
        for _ in range(WARM_UP):
            run()
        self._device.synchronize(self.stream)
        before = self._device.memory()[0]
        times = [elapsed / repeats for elapsed in (self._on_gpu if self._runtime.is_cuda else self._on_host)(run, runs)]
        return Timing.of(times, before - self._device.memory()[0])

    def _on_gpu(self, run: Callable[[], None], runs: int) -> list[float]:
        """From event to event: the GPU never waits for the host unless launching takes longer than the work."""
        cuda = self._runtime.torch.cuda
        events = [cuda.Event(enable_timing=True) for _ in range(runs + 1)]
        stream = cuda.ExternalStream(self.stream.handle)
        events[0].record(stream)
        for event in events[1:]:
            run()
            event.record(stream)
        events[-1].synchronize()
        return [before.elapsed_time(after) for before, after in itertools.pairwise(events)]

    def _on_host(self, run: Callable[[], None], runs: int) -> list[float]:
        stamps = [time.perf_counter()]
        for _ in range(runs):
            run()
            self._device.synchronize(self.stream)
            stamps.append(time.perf_counter())
        return [1e3 * (after - before) for before, after in itertools.pairwise(stamps)]
