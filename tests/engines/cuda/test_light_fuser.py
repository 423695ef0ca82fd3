"""The light model on the device's own way: kernels for its maps, its graphs in torch, against the CPU's fuser."""

import numpy as np
import pytest

from engines.model import LIGHT, load_model
from engines.onnx_cpu import OnnxFuser
from tests.engines.cuda.host_device import HostDevice
from tests.engines.cuda.host_torch import open_host_fuser

pytestmark = pytest.mark.usefixtures("one_thread")
CHANGED = {"fp32": 0.06, "fp16": 0.2}
"""Share of the pixels that may be one level off, and none may be more: luma and features are fp16 in both."""


@pytest.fixture(scope="module")
def info():
    return load_model(LIGHT)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_light_model_is_fused_as_on_the_cpu(kernel_library, info, precision):
    device = HostDevice(kernel_library(info.maps), info.maps, temper="random")
    cpu, torch = OnnxFuser(info, threads=1), open_host_fuser(info, device, precision)
    ir, vis = np.random.default_rng(0).integers(0, 256, (2, 3, 15, 22), np.uint8)
    ir[:, 4:] //= 4  # maps that are active in one picture only
    flight, state, wanted = torch.start(follows=True), None, []
    for k in range(3):
        fused, state = cpu.fuse_next(ir[k], vis[k], state)
        wanted.append(fused)
        flight.put(ir[k], vis[k])
    found = np.stack([flight.get() for _ in range(3)])
    for got, expected in ((found, np.stack(wanted)), (torch.fuse(ir, vis), cpu.fuse(ir, vis))):
        error = np.abs(got.astype(int) - expected)
        told = f"max {error.max()}, mean {error.mean():.4f}, histogram {np.bincount(error.ravel())}"
        assert error.max() <= 1, told
        assert np.count_nonzero(error) <= CHANGED[precision] * error.size, told
    cpu.close()
    torch.close()
    assert device.left == (0, 0, 0)


def test_the_light_model_has_maps_that_the_kernels_can_have(info):
    assert info.kind == "jcae"
    assert info.maps in (8, 16, 32, 64, 128, 256)
