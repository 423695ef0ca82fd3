"""CUDA graphs, which pycuda does not offer: a frame's launches recorded once and put into a stream by one call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from engines.device import DeviceError

DRIVER = "libcuda.so.1"
THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: another thread may allocate meanwhile, as a decoder does."""
POINTER, OUT = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuStreamBeginCapture_v2": (POINTER, ctypes.c_int),
    "cuStreamEndCapture": (POINTER, OUT),
    "cuGraphInstantiateWithFlags": (OUT, POINTER, ctypes.c_ulonglong),
    "cuGraphLaunch": (POINTER, POINTER),
    "cuGraphExecDestroy": (POINTER,),
    "cuGraphDestroy": (POINTER,),
    "cuGetErrorName": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
}
"""Functions of the driver, all since CUDA 11.4, and what they take."""


class CudaGraph:
    """A recorded piece of a stream. The CUDA context of the stream is current in every call, `close` too."""

    def __init__(self, stream: int, body: Callable[[], None], library: str = DRIVER) -> None:
        """Record what `body` puts into a stream, a CUstream; it must not wait, allocate or copy from pageable memory.

        Raises DeviceError if the driver refuses, and what `body` raises.
        """
        self._driver = _open(library)
        self._executable: int | None = None
        graph = self._recorded(stream, body)
        try:
            executable = POINTER()
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, 0)
            self._executable = executable.value
        finally:
            self._driver.cuGraphDestroy(graph)  # the executable is a copy

    def launch(self, stream: int) -> None:
        """Put all of it into a stream, a CUstream. Raises DeviceError."""
        if self._executable is None:
            raise ValueError("this graph is closed; record another")
        self._call("cuGraphLaunch", self._executable, stream)

    def close(self) -> None:
        """Give it back; may be called twice. On a lost GPU the driver refuses, and the process's end does it."""
        executable, self._executable = self._executable, None
        if executable is not None:
            self._driver.cuGraphExecDestroy(executable)

    def _recorded(self, stream: int, body: Callable[[], None]) -> int:
        self._call("cuStreamBeginCapture_v2", stream, THREAD_LOCAL)
        graph = POINTER()
        try:
            body()
        except BaseException:  # whatever it is, the stream must not go on recording
            if not self._driver.cuStreamEndCapture(stream, ctypes.byref(graph)) and graph.value:
                self._driver.cuGraphDestroy(graph)
            raise
        self._call("cuStreamEndCapture", stream, ctypes.byref(graph))
        if not graph.value:
            raise DeviceError("recording a CUDA graph: the driver gave none; update the NVIDIA driver")
        return graph.value

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._driver, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorName(code, ctypes.byref(text))
            error = text.value.decode() if text.value else f"error {code}"
            raise DeviceError(f"{name}: {error}; run it again, update the NVIDIA driver, or use --backend cpu")


def _open(library: str) -> ctypes.CDLL:
    """The driver, its functions typed: a pointer given as a plain int would lose its upper half."""
    try:
        driver = ctypes.CDLL(library)
        for name, arguments in SIGNATURES.items():
            getattr(driver, name).argtypes = arguments
            getattr(driver, name).restype = ctypes.c_int
    except (OSError, AttributeError) as error:
        raise DeviceError(f"CUDA graphs: {error}; they need an NVIDIA driver of CUDA 11.4 or later") from error
    return driver
