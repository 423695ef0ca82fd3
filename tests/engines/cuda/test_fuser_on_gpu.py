"""The whole fuser on a GPU, through each runtime installed. Skipped without a GPU; REQUIRE_GPU=1 fails then."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from engines import launches
from engines.base import BackendError, open_fuser
from engines.cuda_device import CudaDevice
from engines.device import DeviceMemoryError
from engines.device_slot import SLOTS
from tests.engines.cuda.test_device_fuser import assert_alike, in_flight, one_by_one, stream

pytestmark = pytest.mark.gpu
SIZE = 240, 320


@pytest.fixture
def device():
    """The first GPU."""
    try:
        opened = CudaDevice(128)
    except BackendError as error:
        pytest.fail(str(error)) if os.environ.get("REQUIRE_GPU") == "1" else pytest.skip(str(error))
    yield opened
    opened.close()


@pytest.fixture(params=["torch", "tensorrt", "rtx"])
def fuser(request, device):
    """jcae on the GPU. A machine that must have a GPU has torch at least."""
    try:
        opened = open_fuser("jcae", backend=request.param)
    except BackendError as error:
        must = os.environ.get("REQUIRE_GPU") == "1" and request.param == "torch"
        pytest.fail(str(error)) if must else pytest.skip(str(error))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def reference():
    opened = open_fuser("jcae", backend="cpu")
    yield opened
    opened.close()


def test_bytes_go_up_and_come_down_in_order(device):
    """Events between streams and a recording, on 8 MB, which take long enough to be overtaken."""
    rng, nbytes = np.random.default_rng(0), 8 << 20
    host, back, address = device.pinned((nbytes,)), device.pinned((nbytes,)), device.allocate(nbytes)
    one, two, event = device.stream(), device.stream(), device.event()
    plane = launches.Plane(address, nbytes // 1024, 1024, nbytes // 1024)
    unit = device.allocate(2 * nbytes)
    there = launches.to_unit(plane, unit, margin=0, multiple=1)
    and_back = launches.to_bytes(unit, (1024, nbytes // 1024), plane)

    def body():
        device.run(there, one)
        device.run(and_back, one)

    body()
    device.synchronize(one)
    recording = device.capture(one, body)
    for _ in range(20):
        host[:] = rng.integers(0, 256, nbytes, np.uint8)
        device.upload(address, host, one)
        recording.launch(one)
        device.record(event, one)
        device.wait(two, event)
        device.download(back, address, two)
        device.synchronize(two)
        np.testing.assert_array_equal(back, host)  # each of the 256 levels survives the way through fp16
    device.fill(address, 7, nbytes, one)
    device.synchronize(one)
    device.download(back, address, one)
    device.synchronize(one)
    assert (back == 7).all()
    recording.close()


def test_memory_that_is_not_there_is_told_and_harms_nothing(device):
    free, total = device.memory()
    with pytest.raises(DeviceMemoryError) as told:
        device.allocate(2 * total)
    assert told.value.needed == 2 * total
    assert abs(told.value.free - free) < 64 << 20
    device.free(device.allocate(1 << 20))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (37, 50), (480, 640)])
def test_equal_to_the_cpu_at_any_size(fuser, reference, size):
    ir, vis = (pictures[0] for pictures in stream(1, size))
    assert_alike(fuser.fuse(ir, vis), reference.fuse(ir, vis))


def test_a_stream_follows_the_rules_of_the_cpu(fuser, reference):
    """A map whose activity lies within fp16's rounding of a threshold may differ: one decision in a thousand."""
    ir, vis = stream(8, SIZE, seed=5)
    wanted, wanted_rules = one_by_one(reference, ir, vis)
    got, rules = one_by_one(fuser, ir, vis)
    assert np.mean(rules != wanted_rules) <= 1e-3
    if (rules == wanted_rules).all():
        assert_alike(got, wanted)
    np.testing.assert_array_equal(in_flight(fuser, ir, vis, follows=True), got)


def test_recordings_compute_what_launches_one_by_one_do(fuser, monkeypatch):
    ir, vis = stream(8, SIZE, seed=1)
    recorded = in_flight(fuser, ir, vis, follows=True)
    assert len(recorded) == 8
    fuser._release()
    monkeypatch.setattr(
        fuser._network, "record", lambda stream, body: SimpleNamespace(launch=lambda to: body(), close=lambda: None)
    )
    np.testing.assert_array_equal(in_flight(fuser, ir, vis, follows=True), recorded)


def test_many_pairs_come_out_in_order_and_memory_stays(fuser):
    """Pairs told apart by their brightness; and the GPU has as much left after 200 as after 10."""
    levels = np.arange(200, dtype=np.uint8)
    ir = np.broadcast_to(levels[:, None, None], (200, *SIZE))
    wanted = np.stack([fuser.fuse(ir[k], ir[k]) for k in range(0, 200, 40)])
    in_flight(fuser, ir[:10], ir[:10], follows=False)
    free = fuser._device.memory()[0]
    fused = in_flight(fuser, ir, ir, follows=False)
    assert fuser._device.memory()[0] == free
    np.testing.assert_array_equal(fused[::40], wanted)


def test_the_size_may_change_in_a_stream(fuser, reference):
    sizes = [SIZE, SIZE, (120, 96), (121, 97), SIZE]
    pairs = [[pictures[k] for pictures in stream(5, size, seed=1)] for k, size in enumerate(sizes)]
    flight, fused = fuser.start(follows=False), []
    for k, pair in enumerate(pairs):
        if k >= SLOTS:
            fused.append(flight.get())
        flight.put(*pair)
    fused += [flight.get() for _ in range(SLOTS)]
    for got, pair in zip(fused, pairs, strict=True):
        assert_alike(got, reference.fuse(*pair))


def test_a_picture_too_large_is_told_with_a_size_that_fits(fuser):
    """All but 2 GB of the GPU are taken by somebody else."""
    device, (ir, vis) = fuser._device, stream(1, SIZE)
    fuser.fuse(ir, vis)
    ballast = device.allocate(device.memory()[0] - (2 << 30))
    large = np.zeros((6000, 8000), np.uint8)
    with pytest.raises(DeviceMemoryError, match=r"^8000x6000: .* GB of GPU memory needed, [^\n]*--size") as told:
        fuser.fuse(large, large)
    width, height = map(int, re.search(r"--size (\d+)x(\d+)", str(told.value)).groups())
    assert fuser.fuse(large[:height, :width], large[:height, :width]).shape == (height, width)
    device.free(ballast)


def test_a_gpu_that_fails_is_told_in_one_line_and_closed_in_peace(device):
    """In a process of its own, as its context is lost."""
    done = subprocess.run(
        [sys.executable, "-c", FAILURE],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # pycuda may be there alone
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"DeviceError [^\n]+--backend cpu\nDeviceError [^\n]+\nclosed\n", done.stdout), done.stdout
    assert not done.stderr


FAILURE = """
from engines.cuda_device import CudaDevice
from engines.device import DeviceError
from engines.launches import FeatureShape, count_maps

device = CudaDevice(128)
stream, kept, host = device.stream(), device.allocate(1000), device.pinned((10,))
device.run(count_maps(1 << 40, 1 << 40, kept, FeatureShape(1, 100, 100, 128)), stream)
for call in (lambda: device.synchronize(stream), lambda: device.upload(kept, host, stream)):
    try:
        call()
    except DeviceError as error:
        print("DeviceError", error)
device.free(kept)
device.close()
print("closed")
"""
