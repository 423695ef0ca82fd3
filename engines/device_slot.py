"""Memory of one pair on its way through a GPU, and which size of picture fits where another does not."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from engines.device import DeviceMemoryError
from engines.launches import Plane
from engines.model import ModelInfo
from engines.profile import Size, padded

if TYPE_CHECKING:
    from engines.base import Picture
    from engines.device import Device, Event, Recording
    from engines.device_network import DeviceNetwork
    from engines.device_picture import DevicePicture

SLOTS = 3
"""Pairs under way: one goes up, one is computed, one comes down."""
HEADROOM = 0.9
"""Share of the free memory that a size is advised for: allocations are rounded up, and others take some."""


class Slot:
    """Where one pair lies: infrared, visible and fused luma, on the host and on the device."""

    def __init__(self, device: Device, size: tuple[int, int], events: tuple[Event, Event, Event]) -> None:
        """size: (height, width) px. Raises DeviceMemoryError."""
        height, width = size
        self._device = device
        self.uploaded, self.computed, self.downloaded = events
        self.address = device.allocate(self.memory(size))
        """Of the three planes on the device, one behind the other without gaps."""
        self.host = device.pinned((3, height, width))
        """The same on the host."""
        addresses = (self.address + k * height * width for k in range(3))
        self.ir, self.vis, self.fused = (Plane(address, width, height, width) for address in addresses)
        self.given: tuple[Picture, ...] = ()
        """What was put in last: pictures on the device are held while they are read."""
        self.picture: DevicePicture | None = None
        """Where the fused one goes if it stays on the device."""
        self.recording: Recording | None = None
        """What computes the pair, once that has been recorded."""

    @staticmethod
    def memory(size: tuple[int, int]) -> int:
        """Bytes on the device for a (height, width)."""
        return 3 * size[0] * size[1]

    def close(self) -> None:
        """Give all back; nothing of the pair is under way."""
        if self.recording is not None:
            self.recording.close()
        self._device.free(self.address)
        self._device.unpin(self.host)


def too_large(
    size: tuple[int, int], info: ModelInfo, network: DeviceNetwork, free: int, error: DeviceMemoryError
) -> DeviceMemoryError:
    """What a (height, width) needs, what is free when nothing of ours is held, and which size would fit.

    free: bytes. error: of the allocation that failed.
    """
    height, width = size
    columns, rows = padded((width, height), info)
    networks = network.memory(rows, columns)
    # An error of one buffer comes on top of those made before it; torch's names all that the network takes.
    found = error.needed if error.needed >= networks else free - error.free + error.needed
    needed = max(networks + SLOTS * Slot.memory(size), found, free + 1)
    fitting = fitting_size((width, height), info, HEADROOM * free / needed)
    advice = "close other programs, or use --backend cpu"
    if fitting is not None:
        advice = f"fuse at --size {fitting[0]}x{fitting[1]} or smaller, or close other programs"
    return DeviceMemoryError(needed, free, what=f"{width}x{height}", advice=advice)


def fitting_size(size: Size, info: ModelInfo, share: float) -> Size | None:
    """The largest picture of the aspect of `size` that takes at most `share` of its memory; None if there is none.

    Memory grows by the pixel that the encoders see. Sides are even, as videos have them.
    """
    width, height = size

    def sides(narrower: int) -> Size:
        return narrower, max(round(height * narrower / width), 1)

    def area(narrower: int) -> int:
        columns, rows = padded(sides(narrower), info)
        return columns * rows

    found = bisect_right(range(1, width), share * area(width), key=area)
    even = [side - side % 2 for side in sides(found)]
    return (even[0], even[1]) if min(even) else None
