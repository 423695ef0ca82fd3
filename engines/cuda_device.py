"""The first NVIDIA GPU through pycuda, in its primary context, which torch and TensorRT share."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np

from engines.base import BackendError
from engines.device import Bytes, DeviceError, DeviceMemoryError, Event
from engines.dlpack import CUDA
from engines.gpu import NoGpuError, flag_primary_context
from engines.graph import CudaGraph
from engines.kernels import Kernels, open_driver
from engines.launches import Launch

logger = logging.getLogger(__name__)

NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: a library that works in the default stream holds nobody up."""
QUIET = 1 | 2
"""CU_EVENT_BLOCKING_SYNC, so that a wait leaves its core to the decoders, and CU_EVENT_DISABLE_TIMING."""


class Handle:
    """A stream or an event of a `CudaDevice`, which holds the real one so that closing it reaches every holder."""

    def __init__(self, raw: Any) -> None:
        """raw: pycuda's object."""
        self.raw = raw

    @property
    def handle(self) -> int:
        """The CUstream; an event has none."""
        return int(self.raw.handle)


class CudaDevice:
    """See `device.Device`. Any thread may call it, one at a time.

    The context is current during each call only: pycuda ends the process when a thread ends with one left behind, and
    frees nothing on a thread that has none.
    """

    kind = CUDA

    def __init__(self, maps: int) -> None:
        """maps: of the model whose kernels are to run. Raises BackendError where that cannot be, with the reason."""
        self._driver = open_driver()
        self.name, self.target, self._context = _primary(self._driver)
        self._is_closed = self._is_current = self._is_lost = False
        self._memory: dict[int, Any] = {}
        self._pinned: dict[int, Any] = {}
        self._handles: list[Handle] = []
        self._graphs: list[_Graph] = []
        self._kernels: Kernels | None = None
        with self._working("load the kernels"):
            self._kernels = Kernels(maps)

    def allocate(self, nbytes: int) -> int:
        """See `Device`."""
        with self._working("allocate memory"):
            try:
                memory = self._driver.mem_alloc(nbytes)
            except self._driver.MemoryError as error:
                raise DeviceMemoryError(nbytes, self._driver.mem_get_info()[0]) from error
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """See `Device`."""
        self._give_back([self._memory.pop(address)])

    def pinned(self, shape: tuple[int, ...]) -> Bytes:
        """See `Device`."""
        with self._working("allocate page-locked memory"):
            host: Bytes = self._driver.pagelocked_empty(shape, np.uint8)
        self._pinned[host.ctypes.data] = host.base
        return host

    def unpin(self, host: Bytes) -> None:
        """See `Device`."""
        self._give_back([self._pinned.pop(host.ctypes.data)])

    def stream(self) -> Handle:
        """See `Device`."""
        with self._working("make a stream"):
            self._handles.append(Handle(self._driver.Stream(NON_BLOCKING)))
        return self._handles[-1]

    def default_stream(self) -> Handle:
        """See `Device`."""
        return Handle(None)  # pycuda's word for it

    def event(self) -> Handle:
        """See `Device`."""
        with self._working("make an event"):
            self._handles.append(Handle(self._driver.Event(QUIET)))
        return self._handles[-1]

    def upload(self, address: int, host: Bytes, stream: Handle) -> None:
        """See `Device`."""
        with self._working("upload"):
            self._driver.memcpy_htod_async(address, host, stream.raw)

    def download(self, host: Bytes, address: int, stream: Handle) -> None:
        """See `Device`."""
        with self._working("download"):
            self._driver.memcpy_dtoh_async(host, address, stream.raw)

    def fill(self, address: int, value: int, nbytes: int, stream: Handle) -> None:
        """See `Device`."""
        with self._working("fill memory"):
            self._driver.memset_d8_async(address, value, nbytes, stream.raw)

    def record(self, event: Event, stream: Handle) -> None:
        """See `Device`."""
        with self._working("record an event"):
            event.raw.record(stream.raw)

    def wait(self, stream: Handle, event: Event) -> None:
        """See `Device`."""
        with self._working("wait for an event"):
            stream.raw.wait_for_event(event.raw)

    def synchronize(self, work: Event | Handle) -> None:
        """See `Device`."""
        with self._working("finish its work"):
            work.raw.synchronize()

    def run(self, launch: Launch, stream: Handle) -> None:
        """See `Device`."""
        with self._working(f"launch {launch.kernel}"):
            assert self._kernels is not None  # as long as the device is open
            self._kernels.run(launch, stream.raw)

    def capture(self, stream: Handle, body: Callable[[], None]) -> _Graph:
        """See `Device`."""
        with self._working("record a CUDA graph"):
            self._graphs.append(_Graph(self, CudaGraph(stream.handle, body)))
        return self._graphs[-1]

    def current(self) -> AbstractContextManager[None]:
        """See `Device`."""
        return self._working("work for a library")

    def memory(self) -> tuple[int, int]:
        """See `Device`."""
        with self._working("tell its memory"):
            free, total = self._driver.mem_get_info()
        return int(free), int(total)

    def close(self) -> None:
        """See `Device`."""
        if self._is_closed:
            return
        with suppress(DeviceError), self._working("finish its work"):
            self._context.synchronize()
        for graph in self._graphs[:]:
            graph.close()
        self._give_back([*self._memory.values(), *self._pinned.values()])
        things = [*(handle.raw for handle in self._handles), self._kernels]
        for handle in self._handles:
            handle.raw = None
        self._memory, self._pinned, self._handles, self._kernels = {}, {}, [], None
        self._give_back(things)
        self._is_closed = True

    def _give_back(self, things: list[Any]) -> None:
        """Free what can be, and let go of the rest while the context is current, as pycuda's destructors want it."""
        with suppress(DeviceError), self._working("free memory"):
            while things and not self._is_lost:
                thing = things.pop()
                if hasattr(thing, "free"):
                    thing.free()
                del thing
        for thing in things:  # on a lost GPU each destructor of pycuda's would write a warning
            _keep_for_ever(thing)

    @contextmanager
    def _working(self, doing: str) -> Iterator[None]:
        """The context current, and pycuda's errors turned into DeviceError."""
        if self._is_closed:
            raise ValueError("this device is closed; open another")
        is_outer = not self._is_current
        try:
            if is_outer:
                self._context.push()
                self._is_current = True
            try:
                yield
            finally:
                if is_outer:
                    self._is_current = False
                    self._context.pop()
        except DeviceError:
            self._is_lost = True
            raise
        except self._driver.Error as error:
            self._is_lost = True
            advice = "run it again, update the NVIDIA driver, or use --backend cpu"
            raise DeviceError(f"{self.name}: cannot {doing}: {error}; {advice}") from error


class _Graph:
    """A CudaGraph and its device."""

    def __init__(self, device: CudaDevice, graph: CudaGraph) -> None:
        self._device, self._graph = device, graph

    def launch(self, stream: Handle) -> None:
        with self._device._working("launch a CUDA graph"):
            self._graph.launch(stream.handle)

    def close(self) -> None:
        if self in self._device._graphs:
            self._device._graphs.remove(self)
            with suppress(DeviceError), self._device._working("free a CUDA graph"):
                self._graph.close()


@functools.cache
def _primary(driver: Any) -> tuple[str, str, Any]:
    """Name, compute capability and primary context of the first GPU, kept until the process ends, as torch does."""
    try:
        driver.init()
        gpu = driver.Device(0)
        try:
            flag_primary_context()
        except NoGpuError as error:  # all but video on the GPU works without
            logger.info("video on the GPU will be refused: %s", error)
        context = gpu.retain_primary_context()
        _keep_for_ever(context)  # pycuda 2026.1 ends it by cuCtxDetach, which is not for primary contexts, and warns
        return str(gpu.name()), "sm_{}{}".format(*gpu.compute_capability()), context
    except driver.Error as error:
        raise BackendError(f"CUDA: {error}; check the NVIDIA driver with nvidia-smi, or use --backend cpu") from error


def _keep_for_ever(thing: Any) -> None:
    """One reference too many, so that no destructor runs; the end of the process gives back what the thing held."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
