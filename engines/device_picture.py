"""A picture in a device's memory, in place of arrays: only sources, fusers and sinks look inside."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engines.dlpack import CUDA, Lent, Tensor
from engines.launches import Plane

if TYPE_CHECKING:
    from engines.base import Flight
    from engines.device import Device, Stream

Table = NDArray[np.uint8]
"""(256,) uint8, one level for another."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """How luma is stored that is not full range. One value for each way, told apart by identity."""

    to_full: Table
    """The full-range level that each stored one stands for."""
    to_stored: Table
    """The way back."""


NEUTRAL = 128
"""Chroma of a gray picture."""
PITCH = 256
"""bytes that the rows of our own pictures begin at multiples of: as GPUs like to read them."""


@dataclass(frozen=True, slots=True, eq=False)
class DevicePicture:
    """An 8-bit picture as decoders and encoders of GPUs have it (NV12). Never written into once it is made."""

    luma: Plane
    chroma: Plane
    """Half the height, and U and V in turn: as wide as the luma, in bytes."""
    levels: Levels | None
    """Of the luma as stored; None for full range."""
    owner: object
    """Keeps the memory alive: to be held until the last kernel that reads it has run."""
    kind: int = CUDA
    """Whose memory, in the words of `engines.dlpack`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) px, as of an array."""
        return self.luma.height, self.luma.width

    @property
    def ndim(self) -> int:
        """2, as of an array."""
        return 2

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """uint8, as of an array."""
        return np.dtype(np.uint8)

    def lent(self) -> tuple[Lent, Lent]:
        """Luma and chroma for a library that takes DLPack; each keeps the memory until it is given back."""
        return self._lent(self.luma), self._lent(self.chroma)

    def _lent(self, plane: Plane) -> Lent:
        return Lent(Tensor(plane.address, (plane.height, plane.width), (plane.pitch, 1), self.kind, 0, self.owner))


@dataclass(frozen=True, slots=True)
class Onto:
    """How the pictures of a flight are to lie in the device's memory."""

    levels: Levels | None
    is_gray: bool
    """Chroma stays neutral; else it is that of VIS."""


@runtime_checkable
class PictureFuser(Protocol):
    """A fuser whose flights also take a `DevicePicture` for `ir` and for `vis`, each on its own."""

    def start_on_device(self, *, follows: bool, levels: Levels | None, is_gray: bool) -> Flight:
        """As `Fuser.start`; but `get` returns a `DevicePicture`, finished, with the chroma of VIS.

        levels: how its luma is stored. is_gray: neutral chroma; else `vis` must be put as a `DevicePicture`.
        """
        ...


class PictureRing:
    """Pictures to be written, of one size, each used again once nobody holds it any more. As many as are held at once.

    `take` from one thread; pictures may be let go of by any.
    """

    def __init__(self, device: Device, height: int, width: int, levels: Levels | None, kind: int = CUDA) -> None:
        """height, width: px, even. levels: how luma will be stored in them."""
        self._device, self._levels, self._kind = device, levels, kind
        self._size = height, width
        self._pitch = -(-width // PITCH) * PITCH
        self._made: list[int] = []
        self._free: deque[int] = deque()

    def take(self, stream: Stream) -> DevicePicture:
        """A picture to write; its chroma is neutral, or what it was when it was used before.

        stream: where a new one is filled, and where it is to be written. Raises DeviceMemoryError.
        """
        (height, width), pitch = self._size, self._pitch
        try:
            address = self._free.popleft()
        except IndexError:
            address = self._made_one(stream)
        # One allocation, one pitch, chroma right behind luma: NVENC is told of the luma's address alone.
        luma, chroma = Plane(address, pitch, height, width), Plane(address + pitch * height, pitch, height // 2, width)
        return DevicePicture(luma, chroma, self._levels, _Lease(address, self._free), self._kind)

    def close(self) -> None:
        """Give the memory back; nobody may hold a picture any more. May be called twice."""
        while self._made:
            self._device.free(self._made.pop())
        self._free = deque()

    def _made_one(self, stream: Stream) -> int:
        (height, _), pitch = self._size, self._pitch
        address = self._device.allocate(pitch * (height + height // 2))
        self._made.append(address)
        self._device.fill(address + pitch * height, NEUTRAL, pitch * (height // 2), stream)
        return address


class _Lease:
    """The right to one picture of a ring: it goes back with the last reference."""

    def __init__(self, address: int, free: deque[int]) -> None:
        self._address, self._free = address, free

    def __del__(self) -> None:
        self._free.append(self._address)
