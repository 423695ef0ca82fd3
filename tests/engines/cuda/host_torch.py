"""torch's CPU device as the GPU of a `HostDevice`: its buffers lie in the device's memory, its work in the streams."""

import math

from engines.device_fuser import DeviceFuser
from engines.torch_cuda import TorchNetwork, open_runtime
from engines.torch_runtime import TorchRuntime


class HostTorch(TorchRuntime):
    """See `TorchRuntime`."""

    def __init__(self, device):
        super().__init__(open_runtime("cpu").torch, "cpu")
        self.device, self._addresses = device, []

    def run(self, stream, work, *, what, needed):
        def step():
            with self.failures(what, needed), self.settings():
                work()

        self.device.put(stream, step)

    def record(self, stream, body, *, what, needed):
        return self.device.capture(stream, body)

    def empty(self, shape, dtype):
        pictures, channels, height, width = shape
        self._addresses.append(self.device.allocate(math.prod(shape) * dtype.itemsize))
        numpy_type = str(dtype).removeprefix("torch.")
        array = self.device.array(self._addresses[-1], (pictures, height, width, channels), numpy_type)
        return self.torch.from_numpy(array).permute(0, 3, 1, 2)

    def give_back(self):
        while self._addresses:
            self.device.free(self._addresses.pop())


def open_host_fuser(info, device, precision="fp16"):
    """A DeviceFuser whose network is torch on the CPU."""
    return DeviceFuser(info, TorchNetwork(info, precision=precision, runtime=HostTorch(device)), device)
