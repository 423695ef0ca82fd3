"""How long a pair takes on a GPU, beside rivals and floors measured in the same run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engines import launches
from engines.base import CrotalusError
from engines.device import Device, Recording
from engines.device_fuser import DeviceFuser
from engines.device_network import DeviceNetwork
from engines.floors import count_work
from engines.gpu_clock import WARM_UP, Clock, Timing
from engines.launches import UNKNOWN, FeatureShape, Plane
from engines.model import ModelInfo
from engines.profile import Size, padded
from engines.torch_rival import Flavour, TorchRival
from engines.torch_runtime import TorchRuntime

SIZES: tuple[Size, ...] = ((640, 480), (1920, 1080))
REPEATS = 10
"""Turns of the fusion kernels in one recording, and of the copy they are held to in one run: alone they take less time
than the host takes to launch them."""
MATRIX = 8192
"""Rows of the matrices whose product tells the ceiling: 1.1 TFLOP, long enough to be a GPU's peak."""
RIVALS: tuple[Flavour, ...] = ("eager fp32", "compile fp16")

Parts = Callable[[], tuple[Device, DeviceNetwork]]
"""Opens a device and a network on it, for the caller to close."""
Floor = tuple[float | None, str]
"""Least time in ms by what the same GPU copied and multiplied in the same run, if there is one, and what it is of."""


@dataclass(frozen=True, slots=True)
class GpuRow:
    """One thing timed at one size."""

    name: str
    width: int
    height: int
    timing: Timing | None
    """None if it did not run."""
    floor_ms: float | None = None
    note: str = ""
    """What the floor is of, or why it did not run."""

    def __str__(self) -> str:
        """E.g. `640x480 fusion rules: 0.050 ms (p95 0.052), 20000.0 a second over 200, floor 0.041 ms: the copy`."""
        name = f"{self.width}x{self.height} {self.name}"
        if self.timing is None:
            return f"{name}: did not run: {self.note}"
        took = f"{self.timing.p50_ms:.3f} ms (p95 {self.timing.p95_ms:.3f}), {1e3 / self.timing.p50_ms:.1f} a second"
        grown = f", memory grew by {self.timing.grown_bytes} bytes" if self.timing.grown_bytes else ""
        floor = "" if self.floor_ms is None else f", floor {self.floor_ms:.3f} ms: {self.note}"
        return f"{name}: {took} over {self.timing.runs}{grown}{floor}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def rows(
    info: ModelInfo,
    open_parts: Parts,
    runtime: TorchRuntime,
    *,
    sizes: Sequence[Size] = SIZES,
    runs: int = 200,
    matrix: int = MATRIX,
    compiler: str = "inductor",
    on_row: Callable[[GpuRow], None] = lambda row: None,
) -> list[GpuRow]:
    """Everything timed at each size. runs: of each thing. on_row: told of each as it comes.

    runtime: of the rivals and the floors. compiler: of the rival that torch compiles. A rival that fails gives a row
    that says why; whatever else fails raises CrotalusError.
    """
    found = []
    for size in sizes:
        for row in _rows_of_size(info, open_parts, runtime, size, runs, matrix, compiler):
            found.append(row)
            on_row(row)
    return found


def _rows_of_size(
    info: ModelInfo, open_parts: Parts, runtime: TorchRuntime, size: Size, runs: int, matrix: int, compiler: str
) -> Iterator[GpuRow]:
    work = count_work(info, size)
    device, network = open_parts()
    with closing(device), closing(network), closing(_Stand(info, device, network, runtime, size)) as stand:
        product = stand.clock.time(stand.product(matrix), runs)
        yield GpuRow("fp16 matrix product", *size, product)
        copy = stand.clock.time(stand.copy(work.rule_bytes), runs, repeats=REPEATS)
        yield GpuRow("copy of as many bytes as the rules move", *size, copy)
        rates = {"operations": 2e3 * matrix**3 / product.p50_ms, "bandwidth": 1e3 * work.rule_bytes / copy.p50_ms}
        rules = stand.clock.time(stand.rules(), runs, repeats=REPEATS)
        yield GpuRow("fusion rules", *size, rules, copy.p50_ms, "that copy")
        floor = work.floor_ms(**rates), f"{work}, as fast as that product and that copy"
        frame = stand.clock.time(stand.frame(), runs)
        yield GpuRow(f"frame on the device, {network.name}", *size, frame, *floor)
        for flavour in RIVALS:
            yield _time_rival(stand, info, runtime, flavour, size, runs, compiler, floor)
    name, timing = _time_arrays(info, *open_parts(), size, runs)
    yield GpuRow(f"from arrays to arrays, {name}", *size, timing, *floor)


class _Stand:
    """What is timed at one size, in one stream of a device. Each method makes ready, and returns what to time."""

    def __init__(
        self, info: ModelInfo, device: Device, network: DeviceNetwork, runtime: TorchRuntime, size: Size
    ) -> None:
        self._info, self._device, self._network, self._runtime = info, device, network, runtime
        self.clock = Clock(device, runtime)
        self._stream = self.clock.stream
        columns, rows = padded(size, info)
        self._tensors = network.prepare(rows, columns)
        width, height = size
        self._held = [device.allocate(nbytes) for nbytes in (*[width * height] * 3, info.maps, 2 * info.maps * 4)]
        self._planes = [Plane(address, width, height, width) for address in self._held[:3]]
        self._averaged, self._counts = self._held[3:]
        self._host = device.pinned((2, height, width))
        self._host[:] = np.random.default_rng(0).integers(0, 256, self._host.shape, np.uint8)
        for host, plane in zip(self._host, self._planes, strict=False):
            device.upload(plane.address, host, self._stream)
        device.fill(self._averaged, UNKNOWN, info.maps, self._stream)
        device.fill(self._counts, 0, 2 * info.maps * 4, self._stream)
        self._recordings: list[Recording] = []

    def close(self) -> None:
        self._device.synchronize(self._stream)
        for recording in self._recordings:
            recording.close()
        for address in self._held:
            self._device.free(address)
        self._device.unpin(self._host)

    def product(self, side: int) -> Callable[[], None]:
        """A square matrix product in fp16."""
        left, right, out = (self.noise((side, side), "float16") for _ in range(3))
        return self.in_torch(lambda: self._runtime.torch.mm(left, right, out=out))

    def copy(self, moved: int) -> Callable[[], None]:
        """A copy on the device that reads and writes so many bytes together, `REPEATS` times."""
        source, target = (self.noise((moved // 2,), "uint8") for _ in range(2))
        return self.in_torch(lambda: [target.copy_(source) for _ in range(REPEATS)])

    def rules(self) -> Callable[[], None]:
        """The kernels of Eq. 8 and 9 alone, `REPEATS` times, on the features of one frame."""
        self._enqueue_frame()
        return self._launching(self._device.capture(self._stream, lambda: self._enqueue_rules(REPEATS)))

    def frame(self) -> Callable[[], None]:
        """A pair from planes to a plane on the device."""
        self._enqueue_frame()
        return self._launching(self._network.record(self._stream, self._enqueue_frame))

    def in_torch(self, work: Callable[[], object]) -> Callable[[], None]:
        """What torch does, put into the stream."""

        def run() -> None:
            work()

        return lambda: self._runtime.run(self._stream, run, what="a benchmark", needed=0)

    def noise(self, shape: tuple[int, ...], kind: str) -> Any:
        """A tensor filled in the stream: a GPU that computes with constants draws less power, and runs faster."""
        torch = self._runtime.torch
        with self._runtime.failures("a benchmark", 0), self._runtime.on(self._stream):
            tensor = torch.empty(shape, dtype=getattr(torch, kind), device=self._runtime.place)
            return tensor.random_(256) if kind == "uint8" else tensor.normal_()

    def _launching(self, recording: Recording) -> Callable[[], None]:
        self._recordings.append(recording)
        return lambda: recording.launch(self._stream)

    def _enqueue_frame(self) -> None:
        to, info, (ir, vis, fused) = self._tensors, self._info, self._planes
        for plane, unit in ((ir, to.ir), (vis, to.vis)):
            launch = launches.to_unit(plane, unit, margin=info.margin, multiple=info.multiple)
            self._device.run(launch, self._stream)
        self._network.encode(self._stream)
        self._enqueue_rules(1)
        self._network.decode(self._stream)
        launch = launches.to_bytes(to.fused, to.decoded, fused, precision=self._network.unit)
        self._device.run(launch, self._stream)

    def _enqueue_rules(self, times: int) -> None:
        to, shape, state = self._tensors, FeatureShape(1, *self._tensors.feature, self._info.maps), self._averaged
        private, common = (to.private_ir, to.private_vis, to.private_ir), (to.common_ir, to.common_vis, to.common_ir)
        for launch in times * (
            launches.count_maps(to.common_ir, to.common_vis, self._counts, shape),
            launches.decide_rules(self._counts, state, state, shape, ratio=self._info.activity_ratio),
            launches.fuse_features(private, common, state, shape),
        ):
            self._device.run(launch, self._stream)


def _time_rival(
    stand: _Stand, info: ModelInfo, runtime: TorchRuntime, flavour: Flavour, size: Size, runs: int, compiler: str,
    floor: Floor,
) -> GpuRow:  # fmt: skip
    """The row of a rival, or one that says why there is none."""
    width, height = size
    name = f"frame on the device, {runtime.name} {flavour}"
    try:
        with closing(TorchRival(info, runtime, flavour, compiler=compiler)) as rival:
            ir, vis = (stand.noise((height, width), "uint8") for _ in range(2))
            return GpuRow(name, *size, stand.clock.time(stand.in_torch(lambda: rival(ir, vis)), runs), *floor)
    except CrotalusError as error:
        return GpuRow(name, *size, None, None, str(error))


def _time_arrays(info: ModelInfo, device: Device, network: DeviceNetwork, size: Size, runs: int) -> tuple[str, Timing]:
    """Pairs from arrays to arrays through a flight, several under way: host's time from one to the next."""
    width, height = size
    pairs = np.random.default_rng(0).integers(0, 256, (4, 2, height, width), np.uint8)
    stamps, before = [], 0
    with closing(DeviceFuser(info, network, device)) as fuser:
        flight = fuser.start(follows=True)
        for k in range(WARM_UP + runs + flight.depth):
            if k >= flight.depth:
                flight.get()
                stamps.append(time.perf_counter())
            if len(stamps) == WARM_UP:
                before = device.memory()[0]
            if k < WARM_UP + runs:
                flight.put(*pairs[k % len(pairs)])
        grown = before - device.memory()[0]
    times = [1e3 * (b - a) for a, b in itertools.pairwise(stamps[WARM_UP - 1 :])]
    return fuser.name, Timing.of(times, grown)
