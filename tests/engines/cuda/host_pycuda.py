"""As much of pycuda.driver as `engines.cuda_device` uses, on the driver of libcuda.c, with pycuda's own traps.

What it makes belongs to the context that is current then; freed without one, it warns, which is an error here.
"""

import ctypes
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

SOURCE = Path(__file__).with_name("libcuda.c")


def host_driver(folder, *more, name="hostcuda.so"):
    """A CUDA driver on host memory, of a test's own. more: further C sources.

    Not under its real name: a process that has loaded a libcuda.so.1 is given that one by every later test, too.
    """
    library = folder / name
    command = ["gcc", "-w", "-shared", "-fPIC", SOURCE, *more, "-o", library]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError:
        pytest.skip("no gcc; apt-get install gcc to test CUDA calls without a GPU")
    return library


def host_pycuda(library):
    """A module in place of pycuda.driver."""
    cuda = ctypes.CDLL(str(library))
    cuda.fake_held.restype = cuda.fake_notes.restype = ctypes.c_char_p
    cuda.fake_need_context()

    class Error(Exception):
        pass

    class CudaMemoryError(Error):
        pass

    def call(name, *arguments):
        code = getattr(cuda, name)(*arguments)
        if code:
            raise (CudaMemoryError if code == 2 else Error)(f"{name} failed: {code}")

    def made(name, *arguments):
        handle = ctypes.c_void_p()
        call(name, ctypes.byref(handle), *arguments)
        return handle

    class Held:
        """What goes with its last reference, under a context."""

        end = None

        def __init__(self, handle, end):
            self.pointer, self.end = handle, end

        def __del__(self):
            if self.end:
                call(self.end, self.pointer)

    class Memory(Held):
        """What is freed by hand, too, and once."""

        def free(self):
            end, self.end = self.end, None
            call(end, self.pointer)

        def __int__(self):
            return self.pointer.value

    class Pinned(Memory):
        def __init__(self, shape):
            size = ctypes.c_size_t(int(np.prod(shape)))
            super().__init__(made("cuMemHostAlloc", size, 0), "cuMemFreeHost")
            place = self.pointer.value, False
            self.__array_interface__ = {"shape": shape, "typestr": "|u1", "data": place, "version": 3}

    class Stream(Held):
        def __init__(self, flags):
            super().__init__(made("cuStreamCreate", flags), "cuStreamDestroy_v2")
            self.handle = self.pointer.value

        def synchronize(self):
            call("cuStreamSynchronize", self.pointer)

        def wait_for_event(self, event):
            call("cuStreamWaitEvent", self.pointer, event.pointer, 0)

    class Event(Held):
        def __init__(self, flags):
            super().__init__(made("cuEventCreate", flags), "cuEventDestroy_v2")

        def record(self, stream):
            call("cuEventRecord", self.pointer, stream.pointer if stream else None)

        def synchronize(self):
            call("cuEventSynchronize", self.pointer)

    class Module(Held):
        def __init__(self, image):
            super().__init__(made("cuModuleLoadDataEx", image, 0, None, None), "cuModuleUnload")

        def get_function(self, name):
            return Function(self)

    class Function:
        def __init__(self, module):
            self.module = module

        def prepare(self, form):
            return self

        def prepared_async_call(self, grid, block, stream, *arguments):
            call("cuLaunchKernel", self.module.pointer, *grid, *block, 0, stream.pointer, None, None)

    class Context:
        def push(self):
            call("cuCtxPushCurrent_v2", None)

        def pop(self):
            call("cuCtxPopCurrent_v2", None)

        def synchronize(self):
            call("cuCtxSynchronize")

    def mem_get_info():
        sizes = ctypes.c_size_t(), ctypes.c_size_t()
        call("cuMemGetInfo_v2", *map(ctypes.byref, sizes))
        return tuple(size.value for size in sizes)

    def htod(dest, src, stream):
        assert src.flags.c_contiguous
        call("cuMemcpyHtoDAsync_v2", *addresses(dest, src), ctypes.c_size_t(src.nbytes), stream.pointer)

    def dtoh(dest, src, stream):
        assert dest.flags.c_contiguous
        call("cuMemcpyDtoHAsync_v2", *addresses(dest, src), ctypes.c_size_t(dest.nbytes), stream.pointer)

    def addresses(*places):
        return [ctypes.c_void_p(place if isinstance(place, int) else place.ctypes.data) for place in places]

    def fill(dest, data, size, stream):
        call("cuMemsetD8Async", ctypes.c_void_p(dest), data, ctypes.c_size_t(size), stream.pointer)

    def retain():
        call("cuDevicePrimaryCtxRetain", ctypes.byref(ctypes.c_void_p()), 0)
        return Context()

    gpu = SimpleNamespace(name=lambda: "Host GPU", compute_capability=lambda: (9, 0), retain_primary_context=retain)
    driver = ModuleType("pycuda.driver")
    driver.cuda, driver.Error, driver.MemoryError, driver.Stream, driver.Event = (
        cuda,
        Error,
        CudaMemoryError,
        Stream,
        Event,
    )
    driver.init, driver.Device, driver.module_from_buffer = lambda: None, lambda ordinal: gpu, Module
    driver.mem_alloc = lambda size: Memory(made("cuMemAlloc_v2", ctypes.c_size_t(size)), "cuMemFree_v2")
    driver.pagelocked_empty = lambda shape, dtype: np.asarray(Pinned(shape))
    driver.mem_get_info, driver.memcpy_htod_async, driver.memcpy_dtoh_async = mem_get_info, htod, dtoh
    driver.memset_d8_async = fill
    return driver
