"""The network of a `HostDevice`: the model's own graphs on ONNX Runtime, put into streams like everything else."""

import functools

import numpy as np

from engines.device_fuser import DeviceFuser
from engines.device_network import Tensors
from tests.engines.cuda.host_device import HostDevice


@functools.cache
def sessions(folder):
    """One for each graph of a model folder, on one thread so that tests side by side take turns."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    names = "encoder_ir", "encoder_vis", "encoder_common", "decoder"
    return {
        name: onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        for name in names
    }


class HostNetwork:
    """See `engines.device_network.DeviceNetwork`. Features are rounded to fp16, as on a GPU; all sums are fp32."""

    name = "host"

    def __init__(self, info, device, *, unit="half"):
        self.info, self.device, self.unit = info, device, unit
        self._sessions = sessions(info.folder)
        self._held = []
        self._is_warm = self.is_closed = False
        self.prepared = []

    def memory(self, rows, columns):
        return sum(self._sizes(rows, columns))

    def prepare(self, rows, columns):
        self._release()
        self._shape = rows, columns
        self._is_warm = False
        self.prepared.append((rows, columns))
        try:
            for size in self._sizes(rows, columns):
                self._held.append(self.device.allocate(size))
        except BaseException:
            self._release()
            raise
        self.tensors = Tensors(*self._held, feature=self._feature(rows, columns), decoded=(rows - 16, columns - 16))
        return self.tensors

    def encode(self, stream):
        to = self.tensors
        for graph, luma, stack in (
            ("encoder_ir", to.ir, to.private_ir),
            ("encoder_vis", to.vis, to.private_vis),
            ("encoder_common", to.ir, to.common_ir),
            ("encoder_common", to.vis, to.common_vis),
        ):
            self.device.put(stream, functools.partial(self._encode, graph, luma, stack, self._shape, to.feature))
        self._is_warm |= stream.recorded is None

    def decode(self, stream):
        self.device.put(stream, functools.partial(self._decode, self.tensors))

    def record(self, stream, body):
        assert self._is_warm, "recorded before anything has run for this size"
        return self.device.capture(stream, body)

    def close(self):
        self._release()
        self.is_closed = True

    def _release(self):
        while self._held:
            self.device.free(self._held.pop())

    def _feature(self, rows, columns):
        return (rows - 4) // 2 - 2, (columns - 4) // 2 - 2

    def _sizes(self, rows, columns):
        height, width = self._feature(rows, columns)
        luma, stack = rows * columns * 2, height * width * self.info.maps * 2
        fused = (rows - 16) * (columns - 16) * (2 if self.unit == "half" else 4)
        return [luma, luma, *[stack] * 4, fused]

    def _stack(self, address, feature):
        return self.device.array(address, (*feature, self.info.maps), np.float16)

    def _encode(self, graph, luma, stack, shape, feature):
        unit = self.device.array(luma, (1, 1, *shape), np.float16).astype(np.float32)
        features = self._sessions[graph].run(["features"], {"luma": unit})[0]
        self._stack(stack, feature)[:] = np.moveaxis(features[0], 0, -1)

    def _decode(self, to):
        stacks = {"common": to.common_ir, "private": to.private_ir}
        planar = {
            name: np.moveaxis(self._stack(stack, to.feature), -1, 0)[None].astype(np.float32)
            for name, stack in stacks.items()
        }
        luma = self._sessions["decoder"].run(["luma"], planar)[0]
        dtype = np.float16 if self.unit == "half" else np.float32
        self.device.array(to.fused, to.decoded, dtype)[:] = luma[0, 0]


def host_fuser(library, info, *, unit="half", on_network=lambda network: None, **device):
    """A fuser on a `HostDevice`, which it and its network are then found in as `_device` and `_network`."""
    network = HostNetwork(info, HostDevice(library, info.maps, **device), unit=unit)
    on_network(network)
    return DeviceFuser(info, network, network.device)
