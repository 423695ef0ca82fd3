"""A GPU as the fuser sees it: memory, streams, events, kernels. The real one is `cuda_device.CudaDevice`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.base import CrotalusError

if TYPE_CHECKING:
    from engines.launches import Launch

Bytes = NDArray[np.uint8]


class DeviceError(CrotalusError, RuntimeError):
    """The GPU failed in the middle of its work; nothing on it can be used any more."""


class DeviceMemoryError(CrotalusError, MemoryError):
    """Something does not fit into the GPU's memory."""

    exit_code = 2

    def __init__(self, needed: int, free: int, *, what: str = "buffer", advice: str = "close other programs") -> None:
        """needed, free: bytes. what: needs it. advice: what to do."""
        super().__init__(f"{what}: {_size(needed)} of GPU memory needed, {_size(free)} free; {advice}")
        self.needed, self.free = needed, free


class Stream(Protocol):
    """What is put in runs in order; streams run beside each other, and beside the default stream."""

    @property
    def handle(self) -> int:
        """The CUstream, for libraries that take one."""
        ...


Event = Any
"""A mark in a stream, of `Device.event`."""


class Recording(Protocol):
    """Work recorded once and launched many times, with the same addresses each time."""

    def launch(self, stream: Stream) -> None:
        """Put all of it into a stream and return at once."""
        ...

    def close(self) -> None:
        """Give it back; may be called twice and never raises. It must not be running."""
        ...


class Device(Protocol):
    """One GPU. Copies, fills and launches are put into a stream and return at once. One thread at a time.

    Each method raises DeviceError if the GPU has failed, also in work put in before, save `free`, `unpin`, `close`.
    """

    name: str
    """E.g. `NVIDIA H200`."""
    target: str
    """Compute capability, e.g. `sm_90`."""

    def allocate(self, nbytes: int) -> int:
        """Address of uninitialised memory on the device, a multiple of 256. Raises DeviceMemoryError."""
        ...

    def free(self, address: int) -> None:
        """Give an allocation back; nothing in a stream may use it any more. Never raises."""
        ...

    def pinned(self, shape: tuple[int, ...]) -> Bytes:
        """Uninitialised uint8 on the host that copies may run from and to beside the caller."""
        ...

    def unpin(self, host: Bytes) -> None:
        """Give a pinned array back; neither a stream nor anyone may read it any more. Never raises."""
        ...

    @property
    def kind(self) -> int:
        """What its memory is called in `engines.dlpack`."""
        ...

    def default_stream(self) -> Stream:
        """The stream 0 of CUDA, where FFmpeg puts its work. Only to `record`: what is run there holds others up."""
        ...

    def stream(self) -> Stream:
        """A new stream; it lasts as long as the device."""
        ...

    def event(self) -> Event:
        """A new event; it lasts as long as the device."""
        ...

    def upload(self, address: int, host: Bytes, stream: Stream) -> None:
        """Copy a contiguous pinned array to the device; it must stay as it is until the copy is done."""
        ...

    def download(self, host: Bytes, address: int, stream: Stream) -> None:
        """Copy to a contiguous pinned array; it must not be touched until the copy is done."""
        ...

    def fill(self, address: int, value: int, nbytes: int, stream: Stream) -> None:
        """Set each of nbytes bytes to value, 0..255."""
        ...

    def record(self, event: Event, stream: Stream) -> None:
        """Mark the work put into a stream so far."""
        ...

    def wait(self, stream: Stream, event: Event) -> None:
        """What is put into the stream from now on runs after the event's mark."""
        ...

    def synchronize(self, work: Event | Stream) -> None:
        """Return when an event's mark, or all of a stream, is done."""
        ...

    def run(self, launch: Launch, stream: Stream) -> None:
        """Put a kernel of rules.cu into a stream."""
        ...

    def capture(self, stream: Stream, body: Callable[[], None]) -> Recording:
        """What `body` puts into the stream, recorded and not run."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """The GPU's context current in the calling thread, for a library that calls CUDA itself."""
        ...

    def memory(self) -> tuple[int, int]:
        """Bytes free and in all."""
        ...

    def close(self) -> None:
        """Wait for what is under way and give everything back; may be called twice, never raises."""
        ...


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**30:.1f} GB" if nbytes >= 2**30 else f"{nbytes / 2**20:.1f} MB"
