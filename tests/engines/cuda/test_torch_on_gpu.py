"""torch and the kernels on a GPU, held to the CPU's fuser. Skipped without one; REQUIRE_GPU=1 makes that a failure."""

import os

import numpy as np
import pytest

from engines.base import BackendError
from engines.model import load_model
from engines.onnx_cpu import OnnxFuser
from engines.torch_cuda import TorchNetwork, open_runtime

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def make_fuser():
    """A function from a precision to a fuser on torch, by the model that is shipped."""
    from engines.cuda_device import CudaDevice
    from engines.device_fuser import DeviceFuser

    try:
        open_runtime()
        CudaDevice(load_model("jcae").maps).close()
    except BackendError as error:
        pytest.fail(str(error)) if os.environ.get("REQUIRE_GPU") == "1" else pytest.skip(str(error))

    def make(precision):
        info = load_model("jcae")
        return DeviceFuser(info, TorchNetwork(info, precision=precision), CudaDevice(info.maps))

    return make


@pytest.mark.parametrize(("precision", "levels"), [("fp32", 1), ("fp16", 4)])
def test_a_stream_is_fused_as_on_the_cpu_and_memory_stays(make_fuser, precision, levels):
    rng = np.random.default_rng(0)
    ir, vis = rng.integers(0, 256, (2, 8, 60, 82), np.uint8)
    cpu, fuser = OnnxFuser(load_model("jcae")), make_fuser(precision)
    flight, state, free = fuser.start(follows=True), None, []
    for k in range(len(ir)):
        flight.put(ir[k], vis[k])
        fused = flight.get()
        wanted, state = cpu.fuse_next(ir[k], vis[k], state)
        error = np.abs(fused.astype(int) - wanted)
        assert error.max() <= levels, f"pair {k}: max {error.max()}, histogram {np.bincount(error.ravel())}"
        free.append(fuser._device.memory()[0])
    assert len(set(free[4:])) == 1, free  # all slots are recorded by then
    fuser.close()


def test_another_size_and_another_fuser_take_no_more_memory(make_fuser):
    """Closing gives all back but what torch and the driver keep for the process."""
    ir, vis = np.random.default_rng(1).integers(0, 256, (2, 3, 240, 320), np.uint8)
    free = []
    for _ in range(3):
        fuser = make_fuser("fp16")
        fuser.fuse(ir, vis)
        fuser.fuse(ir[:, ::2, ::2], vis[:, ::2, ::2])
        free.append(fuser._device.memory()[0])
        fuser.close()
    assert free[2] >= free[1], free
