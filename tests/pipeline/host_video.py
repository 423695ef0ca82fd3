"""Hardware video on an emulated device: its decoder, and a fuser there, without a network that takes time.

The decoder copies each frame into the device's memory by its default stream, when that comes round to it, and gives
the memory back with the last reference to the frame: whoever does not wait reads rubbish, whoever lets go too early
makes a kernel fail that reads what is nobody's memory.
"""

import functools
import threading

import av
import numpy as np
from av.video.frame import VideoFrame

from engines.device_fuser import DeviceFuser
from engines.device_network import Tensors
from engines.dlpack import CPU, Lent, Tensor
from engines.model import load_model
from tests.engines.cuda.host_device import HostDevice

SLACK = 32
"""bytes between rows: a pitch that is not the width."""


class SharedDevice(HostDevice):
    """A HostDevice that decoder and fuser use from their own threads, one at a time."""

    def __init__(self, *given, **options):
        self._lock = threading.RLock()
        self.decoded = self.held = self.most_held = 0
        super().__init__(*given, **options)

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name in ("allocate", "free", "put", "synchronize", "stream", "default_stream", "capture", "close"):
            return functools.partial(_locked, super().__getattribute__("_lock"), found)
        return found


def _locked(lock, call, *given, **options):
    with lock:
        return call(*given, **options)


class HostDecoder:
    """See `device_frames.Decoder`. falls_back_at: the frame that it leaves to the host, from 0."""

    def __init__(self, device, kind="nv12", falls_back_at=None):
        self.device, self.kind, self.falls_back_at = device, kind, falls_back_at
        self.opened = 0

    def open(self, name, **options):
        self.opened += 1
        return av.open(name, **options)

    def on_device(self, frame):
        if self.falls_back_at is not None and frame.pts and frame.pts * frame.time_base * 25 >= self.falls_back_at:
            return None
        soft = frame.reformat(format="nv12", src_color_range=frame.color_range, dst_color_range=frame.color_range)
        if frame.width % 2 or frame.height % 2:
            return soft  # PyAV takes no such picture from others; a GPU's decoder has them
        rows = [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in soft.planes]
        lent = VideoFrame.from_dlpack([self._lent(each[:, : frame.width]) for each in rows], format="nv12")
        lent.color_range = frame.color_range
        return lent

    def layout(self, frame):
        return self.kind

    def _lent(self, pixels):
        held = Held(self.device, pixels)
        return Lent(Tensor(held.address, pixels.shape, (held.pitch, 1), CPU, 0, held))


class Held:
    """A plane in the device's memory."""

    def __init__(self, device, pixels):
        height, width = pixels.shape
        self.device, self.pitch = device, width + SLACK
        self.address = device.allocate(self.pitch * height)
        with device._lock:
            device.held += 1
            device.decoded += 1
            device.most_held = max(device.held, device.most_held)
        pixels, address, pitch = pixels.copy(), self.address, self.pitch

        def step():
            if address in device._memory:  # else nobody waited for this frame, and nobody needs it
                device.array(address, (height, pitch), np.uint8)[:, :width] = pixels

        device.put(device.default_stream(), step)

    def __del__(self):
        if not self.device.is_closed:
            self.device.held -= 1
            self.device.free(self.address)


class MeanNetwork:
    """A DeviceNetwork whose decoded luma is the mean of its inputs: what is tested is the way to it and back."""

    name, unit = "mean", "float"

    def __init__(self, info, device):
        self.info, self.device, self._held = info, device, []

    def memory(self, rows, columns):
        return rows * columns * 8

    def prepare(self, rows, columns):
        self._release()
        size, stack = rows * columns, 2 * 2 * self.info.maps * 2
        self._held = [self.device.allocate(n) for n in (size * 2, size * 2, stack, stack, stack, stack, size * 4)]
        ir, vis, *stacks, fused = self._held
        self._size = rows, columns
        self._tensors = Tensors(ir, vis, *stacks, fused, feature=(2, 2), decoded=(rows - 16, columns - 16))
        return self._tensors

    def encode(self, stream):
        def step():
            for stack in self._held[2:6]:
                self.device.array(stack, 4 * self.info.maps, np.float16)[:] = 0

        self.device.put(stream, step)

    def decode(self, stream):
        tensors, size = self._tensors, self._size

        def step():
            inputs = (self.device.array(each, size, np.float16) for each in (tensors.ir, tensors.vis))
            ir, vis = (each.astype(np.float32) for each in inputs)
            margin = self.info.margin
            inner = tuple(slice(margin, margin + side) for side in tensors.decoded)
            self.device.array(tensors.fused, tensors.decoded, np.float32)[:] = ((ir + vis) / 2)[inner]

        self.device.put(stream, step)

    def record(self, stream, body):
        return self.device.capture(stream, body)

    def close(self):
        self._release()

    def _release(self):
        while self._held:
            self.device.free(self._held.pop())


def mean_fuser(library, **options):
    """A DeviceFuser on a SharedDevice, found in it as `_device`, and its info."""
    info = load_model("jcae")
    device = SharedDevice(library(info.maps), info.maps, **options)
    return DeviceFuser(info, MeanNetwork(info, device), device)
