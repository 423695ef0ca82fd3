"""The values that pass through the pipeline: frames, pairs, and what a stream says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.base import CrotalusError

MAX_SIDE = 16384
"""Largest width or height accepted, px: the limit of common encoders, and far past any thermal camera."""

UNSPECIFIED = 2
"""The code point for `unspecified` of ITU-T H.273, for primaries, transfer and matrix alike."""


class InputError(CrotalusError, ValueError):
    """An input or option that cannot be used; nothing has been written."""

    exit_code = 2


class OutputError(CrotalusError, OSError):
    """The output could not be written on; what was written so far is kept."""


Chroma = tuple[NDArray[np.uint8], NDArray[np.uint8]] | None
"""U and V planes, or None for gray."""


@dataclass(frozen=True, slots=True)
class Colour:
    """How the samples of a video are meant, in the code points of ITU-T H.273."""

    full_range: bool = False
    """True: luma 0..255; False: luma 16..235, chroma 16..240. Of the file: a Frame's luma is always full range."""
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a source says of its frames, or a sink is told of them. Sizes are as displayed (rotation applied)."""

    name: str
    """What messages call it, e.g. `ir.mp4`."""
    width: int
    height: int
    time_base: Fraction
    """Seconds per unit of `Frame.pts`."""
    rate: Fraction | None = None
    """Nominal frames per second, exact (30000/1001 stays so); None if unknown."""
    bits: int = 8
    """8, or 16 for raw thermal."""
    frames: int | None = None
    """How many frames the file promises; None if it does not say."""
    colour: Colour = field(default_factory=Colour)
    sample_aspect: Fraction = Fraction(1)
    """Width of a sample over its height."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Common tags worth carrying to the output: title, creation_time, location, ..."""
    start_pts: int = 0
    """pts of the stream's first frame: zero of the output's timeline."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture and when it was taken. Planes may be views of a decoder's buffer: never write into them."""

    luma: NDArray[np.uint8] | NDArray[np.uint16]
    """(H, W) uint8, 0 black to 255 white whatever the file's range; or uint16 raw thermal counts.

    From a device's decoder to its encoder, a `DevicePicture` stands here, and for the chroma: only sources, fusers and
    sinks look inside, all others pass it on or bring it to the host by `device_frames.on_host`.
    """
    chroma: Chroma
    """U and V, (ceil H/2, ceil W/2) uint8 from video, (H, W) from images, in the file's own range; None if gray."""
    pts: int
    """When, in units of the source's time_base: exact."""
    time: float
    """When, s on the source's clock: pts * time_base, for comparing."""
    index: int
    """Place in the source, counted from 0 over the frames it yielded."""
    name: str = ""
    """File name of an image in a folder; empty for video."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An IR and a VIS frame that belong together."""

    ir: Frame
    vis: Frame
    skew: float
    """s, ir.time + offset - vis.time."""


class Source(Protocol):
    """Opened frames. `frames()` may be iterated once, by one thread; `close()` may be called twice."""

    @property
    def info(self) -> StreamInfo: ...

    def frames(self) -> Iterator[Frame]:
        """Frames with strictly increasing pts. Raises InputError if not a single one can be decoded."""
        ...

    def complaints(self) -> list[str]:
        """After the last frame: one line each for what was not as the file promised; empty if all was well."""
        ...

    def remarks(self) -> list[str]:
        """After the last frame: one line each for what is odd, but no promise broken."""
        ...

    def close(self) -> None: ...


class Sink(Protocol):
    """An opened output. `write` from one thread; `close` finishes the file, may be called twice."""

    def write(self, frame: Frame) -> None:
        """Store one frame (full-range luma; chroma as the output's colour says). Raises OutputError."""
        ...

    def notes(self) -> list[str]:
        """One line each for what could not be carried over (audio of a codec the file type cannot hold, ...)."""
        ...

    def close(self) -> None: ...
