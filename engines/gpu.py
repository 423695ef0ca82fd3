"""The first NVIDIA GPU as its driver tells of it, without pycuda: what `doctor` says and what decides on a backend."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER = "libcuda.so.1"
KERNEL_MODULE = Path("/proc/driver/nvidia/version")
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
BLOCKING = 4
"""CU_CTX_SCHED_BLOCKING_SYNC: a thread that waits for the GPU leaves its core to others."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What the driver says of a GPU."""

    name: str
    target: str
    """Compute capability, `sm_86`."""
    memory_bytes: int
    """Of the whole card."""
    cuda: str
    """The newest CUDA that the driver runs, `13.0`."""
    driver: str
    """The driver's own version, `580.65.06`; `unknown` where the system does not tell."""

    def __str__(self) -> str:
        """E.g. `NVIDIA L4, sm_89, 22.5 GiB, driver 580.65.06 (CUDA 13.0)`."""
        memory = f"{self.memory_bytes / 2**30:.1f} GiB"
        return f"{self.name}, {self.target}, {memory}, driver {self.driver} (CUDA {self.cuda})"


class NoGpuError(RuntimeError):
    """There is no GPU to be used; the text says why."""


def find_gpu(library: str = DRIVER) -> Gpu:
    """The first GPU that CUDA sees. Raises NoGpuError where there is no driver or no GPU."""
    cuda = open_driver(library)
    count = ctypes.c_int()
    _check(cuda, cuda.cuDeviceGetCount(ctypes.byref(count)), "count GPUs")
    if not count.value:
        raise NoGpuError("the NVIDIA driver sees no GPU; check CUDA_VISIBLE_DEVICES")
    device, version, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    _check(cuda, cuda.cuDeviceGet(ctypes.byref(device), 0), "take the first GPU")
    _check(cuda, cuda.cuDeviceGetName(name, len(name), device), "read its name")
    _check(cuda, cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "read its memory")
    _check(cuda, cuda.cuDriverGetVersion(ctypes.byref(version)), "read its version")
    capability = [_attribute(cuda, which, device) for which in (CAPABILITY_MAJOR, CAPABILITY_MINOR)]
    return Gpu(
        name.value.decode(errors="replace"),
        "sm_{}{}".format(*capability),
        memory.value,
        f"{version.value // 1000}.{version.value % 1000 // 10}",
        driver_version(),
    )


def present_target(library: str = DRIVER) -> str | None:
    """Compute capability of the first GPU, `sm_86`; None without a driver or a GPU."""
    try:
        return find_gpu(library).target
    except NoGpuError:
        return None


def flag_primary_context(library: str = DRIVER) -> None:
    """Have the primary context of the first GPU wait as FFmpeg has it wait, before it is made or after.

    FFmpeg decodes and encodes in a primary context with this flag and no other, and refuses one that somebody made
    without (`Primary context already active with incompatible flags`). Raises NoGpuError.
    """
    cuda, device = open_driver(library), ctypes.c_int()
    _check(cuda, cuda.cuDeviceGet(ctypes.byref(device), 0), "take the first GPU")
    try:
        code = cuda.cuDevicePrimaryCtxSetFlags_v2(device, BLOCKING)
    except AttributeError as error:
        raise NoGpuError(f"the NVIDIA driver is of before CUDA 11 ({error})") from error
    _check(cuda, code, "have a context wait without spinning")


def open_driver(library: str = DRIVER) -> Any:
    """The driver's library, initialised. Raises NoGpuError."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        raise NoGpuError(f"no NVIDIA driver ({error})") from error
    _check(cuda, cuda.cuInit(0), "start")
    return cuda


def driver_version(file: Path = KERNEL_MODULE) -> str:
    """The version of the driver's kernel module; `unknown` where it does not tell."""
    try:
        found = re.search(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)", file.read_text())
    except OSError:
        return "unknown"
    return found[1] if found else "unknown"


def _attribute(cuda: Any, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _check(cuda, cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device), "read its compute capability")
    return value.value


def _check(cuda: Any, code: int, doing: str) -> None:
    if not code:
        return
    text = ctypes.c_char_p()
    cuda.cuGetErrorName(code, ctypes.byref(text))
    name = text.value.decode() if text.value else "no name"
    raise NoGpuError(f"the NVIDIA driver cannot {doing}: error {code} ({name})")
