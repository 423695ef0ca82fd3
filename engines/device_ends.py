"""Pairs that begin in the device's memory, and pictures that end there: what the slots of a fuser do not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engines.device_picture import DevicePicture, Levels, Onto, PictureRing
from engines.launches import Plane, copy_plane

if TYPE_CHECKING:
    from engines.base import Picture
    from engines.device import Bytes, Device, Stream


class Ends:
    """Tables and output pictures of one fuser. Calls are put into its compute stream."""

    def __init__(self, device: Device, stream: Stream) -> None:
        self._device, self._stream = device, stream
        self._decoded = device.event()
        self._tables: dict[Levels, tuple[int, Bytes]] = {}
        self._rings: dict[tuple[int, int, Onto], PictureRing] = {}
        # Kept until the end: an encoder may hold pictures of the size before.

    def await_decoder(self) -> None:
        """Let the stream wait for what FFmpeg's decoder has put into the default stream: it copies frames there."""
        self._device.record(self._decoded, self._device.default_stream())
        self._device.wait(self._stream, self._decoded)

    def source(self, given: Picture, plane: Plane) -> tuple[Plane, int | None]:
        """Where a picture is read, and by which table. plane: where an array was uploaded to."""
        if not isinstance(given, DevicePicture):
            return plane, None
        return given.luma, None if given.levels is None else self._table(given.levels)

    def target(self, vis: Picture, onto: Onto | None) -> DevicePicture | None:
        """A picture to write the fused one to, chroma being under way; None if it is to go to the host.

        That is so for a VIS array, whose chroma is on the host, unless the result is gray.
        """
        if onto is None or not (onto.is_gray or isinstance(vis, DevicePicture)):
            return None
        height, width = vis.shape
        key = height, width, onto
        if key not in self._rings:
            self._rings[key] = PictureRing(self._device, height, width, onto.levels, self._device.kind)
        picture = self._rings[key].take(self._stream)
        if isinstance(vis, DevicePicture) and not onto.is_gray:
            self._device.run(copy_plane(vis.chroma, picture.chroma), self._stream)
        return picture

    def stored_table(self, picture: DevicePicture) -> int | None:
        """The table by which levels are stored in a picture."""
        return None if picture.levels is None else self._table(picture.levels) + 256

    def close(self) -> None:
        """Give all memory back; nothing is under way, and nobody holds a picture."""
        for ring in self._rings.values():
            ring.close()
        for address, host in self._tables.values():
            self._device.free(address)
            self._device.unpin(host)
        self._tables, self._rings = {}, {}

    def _table(self, levels: Levels) -> int:
        """Address of both tables, to full range first."""
        if levels not in self._tables:
            host = self._device.pinned((512,))
            host[:] = np.concatenate([levels.to_full, levels.to_stored])
            address = self._device.allocate(512)
            self._device.upload(address, host, self._stream)
            self._tables[levels] = address, host
        return self._tables[levels][0]
