"""The benchmark of a GPU, run to its end on host memory: what it measures there says nothing, that it runs does."""

from types import SimpleNamespace

import numpy as np
import pytest

from engines.gpu_bench import GpuRow, rows
from engines.gpu_clock import WARM_UP, Clock, Timing
from engines.model import load_model
from engines.torch_cuda import TorchNetwork, open_runtime
from tests.engines.cuda.host_device import HostDevice
from tests.engines.cuda.host_torch import HostTorch

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 12, 10


@pytest.fixture
def parts(model_folder, kernel_library, monkeypatch):
    """Opens a device and a network; the list holds the devices opened."""
    info, devices = load_model(model_folder), []
    for module in ("gpu_bench", "gpu_clock"):
        monkeypatch.setattr(f"engines.{module}.WARM_UP", 1)
    monkeypatch.setattr("engines.gpu_bench.REPEATS", 2)

    def open_parts():
        devices.append(HostDevice(kernel_library(info.maps), info.maps, temper="late"))
        return devices[-1], TorchNetwork(info, runtime=HostTorch(devices[-1]))

    return info, open_parts, devices


def test_every_row_of_a_size_comes_with_its_floor_and_no_memory_grows(parts):
    info, open_parts, devices = parts
    told = []
    found = rows(info, open_parts, open_runtime("cpu"), sizes=[SIZE], runs=2, matrix=8, compiler="eager",
                 on_row=told.append)  # fmt: skip
    product, copy, rules, frame, eager, compiled, arrays = found
    assert told == found
    assert all(row.timing.runs == 2 and 0 < row.timing.p50_ms <= row.timing.p95_ms for row in found)
    assert [row.timing.grown_bytes for row in found] == [0] * 7
    assert [row.floor_ms is None for row in found] == [True, True] + [False] * 5
    assert rules.floor_ms == copy.timing.p50_ms
    # Counted by hand for 12x10, padded to 28x26: see test_floors.
    encoder, decoder = 24 * 26 * 64 + 22 * 24 * 4096 + 9 * 10 * 8192, 7 * 8 * 8192 + 12 * 14 * 4096 + 10 * 12 * 64
    operations, traffic_ms = 18 * (4 * encoder + 2 * decoder), copy.timing.p50_ms
    arithmetic_ms = product.timing.p50_ms * operations / (2 * 8**3)
    assert frame.floor_ms == pytest.approx(traffic_ms + arithmetic_ms)
    assert arrays.floor_ms == eager.floor_ms == compiled.floor_ms == frame.floor_ms
    assert "fp16" in frame.name
    assert compiled.name.endswith("compile fp16")
    assert all((device.is_closed, device.left) == (True, (0, 0, 0)) for device in devices)
    assert str(frame).startswith("12x10 frame on the device, torch")
    assert frame.to_json()["timing"]["runs"] == 2


def test_the_copy_that_the_rules_are_held_to_is_timed_by_the_copy(parts, monkeypatch):
    """One alone is over before the host has launched it, and would tell the host's time."""
    from torch.utils._python_dispatch import TorchDispatchMode

    info, open_parts, _ = parts

    class Copies(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, call, types, given=(), options=None):
            self.count += call is torch.ops.aten.copy_.default
            return call(*given, **(options or {}))

    time, seen = Clock.time, []

    def counted(clock, run, runs, *, repeats=1):
        with Copies() as copies:
            run()
        seen.append((repeats, copies.count))
        return time(clock, run, runs, repeats=repeats)

    monkeypatch.setattr(Clock, "time", counted)
    rows(info, open_parts, open_runtime("cpu"), sizes=[SIZE], runs=1, matrix=8, compiler="eager")
    assert seen[:3] == [(1, 0), (2, 2), (2, 0)]  # the product, the copy, the rules


def test_a_rival_that_fails_says_why_and_the_rest_goes_on(parts):
    info, open_parts, _ = parts

    def compiler(graph, inputs):
        raise RuntimeError("no C compiler")

    found = rows(info, open_parts, open_runtime("cpu"), sizes=[SIZE], runs=1, matrix=8, compiler=compiler)
    assert [row.timing is None for row in found] == [False] * 5 + [True, False]
    assert "no C compiler" in str(found[5])
    assert "did not run" in str(found[5])


def test_a_row_tells_rate_floor_and_growth():
    row = GpuRow("fusion rules", 640, 480, Timing(200, 0.05, 0.052, 512), 0.041, "the copy")
    wanted = "0.050 ms (p95 0.052), 20000.0 a second over 200, memory grew by 512 bytes, floor 0.041 ms: the copy"
    assert str(row) == f"640x480 fusion rules: {wanted}"


class Events:
    """torch.cuda's events over a stream in which each run takes as long as it says."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def Event(self, *, enable_timing):  # noqa: N802
        assert enable_timing
        return Mark(self)

    def ExternalStream(self, handle):  # noqa: N802
        return f"stream {handle}"


class Mark:
    def __init__(self, events):
        self.events = events

    def record(self, stream):
        self.events.log.append(stream)
        self.at = self.events.now

    def synchronize(self):
        self.events.log.append("synchronize")

    def elapsed_time(self, other):
        return other.at - self.at


def test_a_gpu_is_timed_from_event_to_event_after_the_warm_up():
    events, runs, free = Events(), [], iter([1000, 936])
    device = SimpleNamespace(
        stream=lambda: SimpleNamespace(handle=7), synchronize=lambda stream: None, memory=lambda: (next(free), 0)
    )
    clock = Clock(device, SimpleNamespace(is_cuda=True, torch=SimpleNamespace(cuda=events)))

    def run():
        runs.append(len(runs))
        events.now += 100.0 if len(runs) <= WARM_UP else 2.0 * (len(runs) - WARM_UP)

    timing = clock.time(run, 5, repeats=2)
    assert timing == Timing(5, 3.0, pytest.approx(4.8), 64)
    assert len(runs) == WARM_UP + 5
    assert events.log == ["stream 7"] * 6 + ["synchronize"]


def test_percentiles_are_of_all_runs():
    assert Timing.of([float(k) for k in np.arange(101)], 0) == Timing(101, 50.0, 95.0, 0)
