"""A GPU played on host memory: real kernels, behind streams that run what they hold as late or as early as they like.

A copy or a kernel reads its memory when it is run, not when it is put in; only the order inside a stream and the waits
for events are kept. A missing event, a buffer used again too early or freed too early therefore shows: as wrong
pixels, or as an AssertionError that says which. Memory is rubbish until it is written, and gone when it is freed.
"""

import contextlib
import itertools
import random
from collections import deque

import numpy as np

from engines import dlpack
from engines.device import DeviceError, DeviceMemoryError
from engines.launches import SIGNATURES
from tests.engines.cuda.harness import CANARY, RUBBISH, Buffer, CpuDevice

ALIGNMENT = 256
TEMPERS = ("eager", "late", "random")


class HostStream:
    """Work that is yet to be run."""

    numbers = itertools.count(1)

    def __init__(self):
        self.handle = next(self.numbers)
        self.work = deque()
        self.recorded = None


class HostEvent:
    """The mark that was recorded last; never recorded, it is reached, as in CUDA."""

    def __init__(self):
        self.mark = Mark(None, is_reached=True)


class Mark:
    """A place in a stream."""

    def __init__(self, stream, is_reached=False):
        self.stream, self.is_reached = stream, is_reached


class HostRecording:
    """Work of a stream, to be put into one again and again."""

    def __init__(self, device, work):
        self.device, self.work, self.is_closed = device, work, False
        device.recordings.add(self)

    def launch(self, stream):
        assert not self.is_closed, "a closed recording is launched"
        self.device.launches += 1
        for step in self.work:
            self.device.put(stream, lambda step=step: self._step(step))

    def close(self):
        self.is_closed = True
        self.device.recordings.discard(self)

    def _step(self, step):
        assert not self.is_closed, "a recording was closed while it ran"
        step()


class HostDevice:
    """See `engines.device.Device`. library: of `kernel_library`, for maps.

    temper: `eager` streams run at once, `late` ones only what is waited for, `random` ones by seed. total: bytes.
    fails_at: the piece of work that breaks the GPU, from 0.
    """

    name, target, kind = "host", "sm_00", dlpack.CPU

    def __init__(self, library, maps, *, temper="random", seed=0, total=1 << 30, fails_at=None):
        self._kernels = CpuDevice(library, maps, order=seed)
        self._random, self.temper, self.total, self.fails_at = random.Random(seed), temper, total, fails_at
        self._streams = []
        self._default = None
        self._pinned = {}
        self._memory = {}
        self.recordings = set()
        self.is_lost = self.is_closed = self.is_current = False
        self.done = self.launches = self.allocations = 0
        self.left = None
        """How many allocations, pinned arrays and recordings nobody gave back before `close`."""

    def allocate(self, nbytes):
        self._check()
        assert not any(stream.recorded is not None for stream in self._streams), "allocated while recording"
        if nbytes > self.memory()[0]:
            raise DeviceMemoryError(nbytes, self.memory()[0])
        padding = bytes([CANARY]) * (-nbytes % ALIGNMENT)
        buffer = Buffer(bytes([RUBBISH]) * nbytes + padding)
        assert buffer.address % ALIGNMENT == 0
        self._memory[buffer.address] = buffer, nbytes
        self.allocations += 1
        return buffer.address

    def free(self, address):
        buffer, nbytes = self._memory.pop(address)
        assert buffer.read()[nbytes:] == bytes([CANARY]) * (buffer.size - nbytes), "written beyond the end of a buffer"
        buffer.release()

    def pinned(self, shape):
        self._check()
        host = np.full(shape, RUBBISH, np.uint8)
        self._pinned[host.ctypes.data] = host
        return host

    def unpin(self, host):
        self._pinned.pop(host.ctypes.data)[...] = RUBBISH

    def stream(self):
        self._check()
        self._streams.append(HostStream())
        return self._streams[-1]

    def default_stream(self):
        self._check()
        if self._default is None:
            self._default = self.stream()
        return self._default

    def event(self):
        self._check()
        return HostEvent()

    def upload(self, address, host, stream):
        self._copy(address, host, stream, is_up=True)

    def download(self, host, address, stream):
        self._copy(address, host, stream, is_up=False)

    def fill(self, address, value, nbytes, stream):
        def step():
            self.array(address, nbytes, np.uint8)[:] = value

        self.put(stream, step)

    def record(self, event, stream):
        assert stream.recorded is None, "an event is recorded inside a recording"
        mark = event.mark = Mark(stream)

        def step():
            mark.is_reached = True

        self.put(stream, step)

    def wait(self, stream, event):
        assert stream.recorded is None, "an event is waited for inside a recording"
        self.put(stream, event.mark)

    def synchronize(self, work):
        self._check()
        if isinstance(work, HostEvent):
            mark = work.mark
            self._advance(mark.stream, lambda: mark.is_reached)
        else:
            assert work.recorded is None, "waited for a stream that is being recorded"
            self._advance(work, lambda: not work.work)

    def run(self, launch, stream):
        def step():
            for kind, value in zip(SIGNATURES[launch.kernel], launch.arguments, strict=True):
                assert kind != "P" or not value or self._holds(value), f"{launch.kernel}: {value:#x} is nobody's memory"
            self._kernels.run(launch)

        self.put(stream, step)

    def capture(self, stream, body):
        self._check()
        stream.recorded = []
        try:
            body()
            return HostRecording(self, stream.recorded)
        finally:
            stream.recorded = None

    @contextlib.contextmanager
    def current(self):
        self._check()
        before, self.is_current = self.is_current, True
        try:
            yield
        finally:
            self.is_current = before

    def memory(self):
        self._check()
        return self.total - sum(nbytes for _, nbytes in self._memory.values()), self.total

    def close(self):
        if self.is_closed:
            return
        self.left = len(self._memory), len(self._pinned), len(self.recordings)
        if not self.is_lost:
            with contextlib.suppress(DeviceError):
                for stream in self._streams:
                    self._advance(stream, lambda stream=stream: not stream.work)
        for address in list(self._memory):
            self.free(address)
        self.is_closed = True

    def put(self, stream, step):
        """A function to run in a stream, or a Mark to wait for; a network on host memory uses this, too."""
        self._check()
        if stream.recorded is not None:
            stream.recorded.append(step)
            return
        stream.work.append(step)
        if self.temper == "eager":
            self._run_ready()
        elif self.temper == "random":
            for _ in range(self._random.randrange(4)):
                self._step(self._random.choice(self._streams))

    def array(self, address, shape, dtype):
        """The device's memory at an address as a numpy array."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        assert self._holds(address, size), f"{size} bytes at {address:#x} are nobody's memory"
        base = max(start for start in self._memory if start <= address)
        buffer = self._memory[base][0]
        memory = np.frombuffer(buffer._map, np.uint8, size, buffer.front + address - base)
        return memory.view(dtype).reshape(shape)

    def _copy(self, address, host, stream, *, is_up):
        assert host.flags.c_contiguous
        assert stream.recorded is None, "a copy inside a recording: its pinned memory may go before it"
        start, size = host.ctypes.data, host.nbytes

        def step():
            owner = next((a for b, a in self._pinned.items() if b <= start and start + size <= b + a.nbytes), None)
            assert owner is not None, "a copy from or to memory that is not pinned, or no longer"
            device = self.array(address, host.shape, np.uint8)
            device[:], host[:] = (host, host) if is_up else (device, device)

        self.put(stream, step)

    def _holds(self, address, size=1):
        return any(start <= address and address + size <= start + held for start, (_, held) in self._memory.items())

    def _check(self):
        if self.is_closed:
            raise ValueError("this device is closed; open another")
        if self.is_lost:
            raise DeviceError("host: CUDA_ERROR_LAUNCH_FAILED; run it again")

    def _advance(self, stream, is_over):
        """Run until it is over, which is for a stream to bring about."""
        while not is_over():
            if self.temper == "late":  # nothing but what is needed, and no more of that than is
                chosen = stream
                while chosen.work and not self._is_ready(chosen):
                    chosen = chosen.work[0].stream
            else:
                ready = [each for each in self._streams if self._is_ready(each)]
                chosen = self._random.choice(ready) if ready else stream
            assert self._is_ready(chosen), "what is waited for is something that nobody will do"
            self._step(chosen)
            self._check()

    def _run_ready(self):
        while any(self._is_ready(stream) and self._step(stream) for stream in self._streams):
            pass

    @staticmethod
    def _is_ready(stream):
        return bool(stream.work) and not (isinstance(stream.work[0], Mark) and not stream.work[0].is_reached)

    def _step(self, stream):
        """Run the next piece of a stream; False if it has none that may be run."""
        if self.is_lost or not self._is_ready(stream):
            return False
        step = stream.work.popleft()
        if self.fails_at is not None and self.done >= self.fails_at:
            self.is_lost = True
            return False
        self.done += 1
        if not isinstance(step, Mark):
            step()
        return True
