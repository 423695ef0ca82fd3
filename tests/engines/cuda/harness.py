"""The kernels of rules.cu as a CPU library, and memory that notices an access beside it."""

import ctypes
import mmap
import subprocess
from pathlib import Path

import numpy as np

from engines.kernels import SOURCE
from engines.launches import THREADS

HERE = Path(__file__).parent
PAGE = mmap.PAGESIZE
CANARY = 0x5A
"""What lies before a buffer."""
RUBBISH = 0xEE
"""What a buffer holds before a kernel writes it."""


def build(folder, maps, source=SOURCE, *, may_warn=False):
    """Compile a CUDA source behind the shim into a library of its own and return its path; a warning fails."""
    library = folder / f"{Path(source).stem}_{maps}.so"
    # Own copies of the shim's variables in each library: g++ makes inline ones unique to the process otherwise.
    private = ["-fvisibility=hidden", "-fno-gnu-unique"]
    strict = ["-ffp-contract=off", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Wno-unknown-pragmas"]
    defines = [f"-DMAPS={maps}", f"-DTHREADS={THREADS}", f'-DRULES="{source}"']
    command = ["g++", *strict, *private, *defines, "-shared", "-fPIC", HERE / "entry.cpp", "-o", library]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert may_warn or not done.stderr, f"g++ warns: {done.stderr}"
    return library


class Buffer:
    """Memory that ends where a page begins that nobody may touch: reading past the end ends the process."""

    def __init__(self, data):
        self.size = len(data)
        self.front = -self.size % PAGE
        self._map = mmap.mmap(-1, self.front + self.size + PAGE)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.address = self.base + self.front
        self._map[: self.front] = bytes([CANARY]) * self.front
        self._map[self.front : self.front + self.size] = data
        self._protect(0)

    def read(self):
        return self._map[self.front : self.front + self.size]

    def release(self):
        """Give the page back and say whether what lies before the buffer is as it was."""
        self._protect(mmap.PROT_READ | mmap.PROT_WRITE)
        assert self._map[: self.front] == bytes([CANARY]) * self.front, "a kernel wrote before the start of a buffer"

    def _protect(self, how):
        guard = ctypes.c_void_p(self.base + self.front + self.size)
        assert ctypes.CDLL(None, use_errno=True).mprotect(guard, PAGE, how) == 0


class CpuDevice:
    """Runs launches on fibers. order: 0 forwards, 1 backwards, else the seed of a shuffle. Use in a `with`."""

    def __init__(self, library, maps, order=0):
        self.maps, self.order = maps, order
        self._launch = ctypes.CDLL(str(library)).launch
        self._launch.restype = ctypes.c_char_p
        self._buffers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        buffers, self._buffers = self._buffers.values(), {}
        for buffer in buffers:
            buffer.release()

    def upload(self, array):
        """The address of a copy of an array."""
        buffer = Buffer(np.ascontiguousarray(array).tobytes())
        self._buffers[buffer.address] = buffer
        return buffer.address

    def empty(self, shape, dtype):
        """The address of an array that holds rubbish."""
        return self.upload(np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, RUBBISH, np.uint8))

    def download(self, address, shape, dtype):
        """A copy of the array at an address."""
        return np.frombuffer(self._buffers[address].read(), dtype).reshape(shape)

    def run(self, launch):
        """Run to the end; AssertionError if threads and barriers do not fit."""
        sizes = [(ctypes.c_uint * 3)(*size) for size in (launch.grid, launch.block)]
        packed = launch.packed()
        size = ctypes.c_size_t(len(packed))
        error = self._launch(launch.kernel.encode(), *sizes, packed, size, self.order).decode()
        assert not error, f"{launch.kernel}: {error}"
