"""The kernels on a GPU, through pycuda, held to the checks of the CPU. Skipped without a device.

REQUIRE_GPU=1 turns the skip into a failure. Once for each change of rules.cu, on a GPU, also run
`compute-sanitizer --tool memcheck python -m pytest tests/engines/cuda/test_on_gpu.py`, and `--tool racecheck`: the
CPU finds neither a race inside a warp nor, in a kernel that survives, one between blocks.
"""

import os

import numpy as np
import pytest

from engines import kernels
from engines.base import BackendError
from tests.engines.cuda import checks
from tests.engines.cuda.harness import RUBBISH

pytestmark = pytest.mark.gpu


class GpuDevice:
    """Runs launches on the GPU, one after another. Use in a `with`, under a context."""

    def __init__(self, driver, loaded, maps):
        self.maps, self._driver, self._kernels = maps, driver, loaded
        self._buffers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        buffers, self._buffers = self._buffers.values(), {}
        for buffer in buffers:
            buffer.free()

    def upload(self, array):
        """The address of a copy of an array."""
        array = np.ascontiguousarray(array)
        buffer = self._driver.mem_alloc(array.nbytes)
        self._driver.memcpy_htod(buffer, array)
        self._buffers[int(buffer)] = buffer
        return int(buffer)

    def empty(self, shape, dtype):
        """The address of an array that holds rubbish."""
        return self.upload(np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, RUBBISH, np.uint8))

    def download(self, address, shape, dtype):
        """A copy of the array at an address."""
        array = np.empty(shape, dtype)
        self._driver.memcpy_dtoh(array, address)
        return array

    def run(self, launch):
        """Run to the end in a stream of its own."""
        stream = self._driver.Stream()
        self._kernels.run(launch, stream)
        stream.synchronize()


@pytest.fixture(scope="module")
def driver():
    """pycuda's driver under the primary context of device 0."""
    try:
        import pycuda.driver as driver

        driver.init()
        context = driver.Device(0).retain_primary_context()
    except Exception as error:  # no pycuda, no driver, no device: each has its own kind
        reason = f"no GPU: {type(error).__name__} {error}"
        pytest.fail(reason) if os.environ.get("REQUIRE_GPU") == "1" else pytest.skip(reason)
    context.push()
    print(driver.Device(0).name())
    yield driver
    context.pop()


@pytest.mark.parametrize("maps", [8, 16, 32, 64, 128, 256])
def test_every_fixed_case(driver, maps):
    try:
        loaded = kernels.Kernels(maps)
    except BackendError as error:
        if maps == kernels.SHIPPED_MAPS:
            raise
        pytest.skip(str(error))
    checks.check_all(GpuDevice(driver, loaded, maps))


def test_shipped_ptx_loads_and_is_right(driver, monkeypatch):
    monkeypatch.setattr(kernels, "find_nvcc", lambda: None)
    checks.check_all(GpuDevice(driver, kernels.Kernels(kernels.SHIPPED_MAPS), kernels.SHIPPED_MAPS))


@pytest.mark.parametrize("blocks", [None, 7])
def test_a_vga_picture(driver, blocks):
    """As large as a picture is: the grid's limit on blocks is reached, which no case on the CPU does."""
    device = GpuDevice(driver, kernels.Kernels(128), 128)
    checks.check_rules(device, checks.RuleCase(pictures=2, height=244, width=324, seed=6, blocks=blocks))
    checks.check_unit(device, checks.UnitCase(480, 640, pictures=2, slack=24, warped_from=(512, 640)))
