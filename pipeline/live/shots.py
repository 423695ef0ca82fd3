"""What comes out of an opened live source: a decoded picture with the times that are known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from av.video.frame import VideoFrame

from engines.base import CrotalusError
from pipeline.frames import Colour, InputError
from pipeline.live.address import Address
from pipeline.video_decode import check_size
from pipeline.video_planes import Chroma, Luma, PlaneReader, layout_of


class SourceLostError(CrotalusError, OSError):
    """A source that does not answer, broke off or sends nothing usable; worth another try. Holds no credentials."""


class SourceRefusedError(InputError):
    """A source that gives something else than was asked for; trying again would not help. Holds no credentials."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a live source."""

    luma: Luma
    """(H, W) uint8 full range, or uint16 raw counts."""
    chroma: Chroma
    arrived: float
    """s, time.monotonic, when the decoder gave it out."""
    pts: float | None
    """s on the source's own clock; None if it does not say."""
    taken: float | None = None
    """s, time.monotonic, when it was taken if that is known for certain, as of a file that is played."""
    colour: Colour = field(default_factory=Colour)
    """What its chroma planes mean."""


class Shots(Protocol):
    """An opened source. One thread from its opening to its end, which is the end of its context."""

    @property
    def is_timed(self) -> bool:
        """Whether its time stamps are its own; else arrivals are all there is."""
        ...

    def shots(self) -> Iterator[Shot]:
        """Pictures as they come, each as soon as it can be told; ends with a file. Raises SourceLostError and
        SourceRefusedError.
        """
        ...


OpenShots = Callable[..., AbstractContextManager[Shots]]
"""What opens an address: `open_shots(address, clock=..., epoch=..., wait=..., on_odd=...)`."""

OnOdd = Callable[[str, str], None]
"""Told a kind and a line of what is odd: repeated if it recurs, the listener keeps count."""


class ShotPlanes:
    """Reads planes out of decoded frames that may change their size and pixel format. One thread."""

    def __init__(self, address: Address, on_odd: OnOdd) -> None:
        self._address, self._on_odd = address, on_odd
        self._reader: PlaneReader | None = None
        self._kind: tuple[object, ...] = ()

    @property
    def colour(self) -> Colour:
        """Of the planes read last."""
        return Colour() if self._reader is None else self._reader.layout.colour

    def read(self, frame: VideoFrame) -> tuple[Luma, Chroma]:
        """Planes as `PlaneReader.read`, in the frame's own size. Raises SourceRefusedError for 8 bits where 16 were
        asked for, InputError for what cannot be converted or is too large.
        """
        kind = (frame.format.name, frame.width, frame.height, frame.color_range)
        if self._reader is None or kind != self._kind:
            self._reader = self._reader_for(frame)
            self._kind = kind
        return self._reader.read(frame)

    def _reader_for(self, frame: VideoFrame) -> PlaneReader:
        check_size(frame.width, frame.height, self._address.place)
        layout = layout_of(frame)
        if self._address.is_deep and layout.bits == 8:
            asked = f"fmt={self._address.fmt}" if self._address.fmt else "bits=16"
            given = f"{self._address.place}: sends {layout.source} of 8 bits where {asked} was asked for"
            raise SourceRefusedError(f"{given}; set the camera to 16-bit gray, or leave the option out")
        if self._kind:
            name, width, height, _ = self._kind
            now = f"{frame.width}x{frame.height} {frame.format.name}"
            self._on_odd("format", f"its pictures are now {now}, were {width}x{height} {name}; followed")
        return PlaneReader(layout, self._address.place)
