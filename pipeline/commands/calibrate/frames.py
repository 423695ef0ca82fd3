"""What the calibration looks at: a recording's frames, all of one size, 8-bit luma with the thermal gain applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame, InputError, StreamInfo
from pipeline.image_source import ImageSource
from pipeline.source import open_source
from pipeline.thermal import Agc, Gain


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a recording."""

    index: int
    """Place in the recording, from 0."""
    time: float
    """s on the recording's clock."""
    luma: NDArray[np.uint8]
    """(H, W) uint8, 0..255; a view that must not be written to."""


class Recording:
    """An opened video, folder or glob. `frames` or `shots` may be iterated once, by one thread. A context manager."""

    def __init__(
        self,
        path: str,
        *,
        gain: Gain | None = None,
        start: float | None = None,
        end: float | None = None,
        rate: Fraction | None = None,
    ) -> None:
        """gain: of 16-bit counts, percentile if None. start, end: s. rate: frames/s of images. Raises InputError."""
        self._source = open_source(path, start=start, end=end, rate=rate)
        self._agc = Agc(gain, inertia=0.0)  # each picture for itself: a folder of poses is no stream
        self.is_images = isinstance(self._source, ImageSource)
        """Whether it is a folder or a glob; the frames have names then."""

    @property
    def info(self) -> StreamInfo:
        """Name, size, rate and number of frames, as the source has them."""
        return self._source.info

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.info.width, self.info.height

    @property
    def duration(self) -> float | None:
        """s, of all frames; None if the source does not say."""
        if self.info.frames is None or self.info.rate is None:
            return None
        return float(self.info.frames / self.info.rate)

    def frames(self) -> Iterator[Frame]:
        """All frames, 8-bit. Raises InputError if one has another size than the first, or none can be decoded."""
        for frame in self._source.frames():
            height, width = frame.luma.shape
            if (width, height) != self.size:
                raise InputError(
                    f"{self.info.name}: {frame.name or f'frame {frame.index}'} has {width}x{height}, the first "
                    f"{self.size[0]}x{self.size[1]}; give pictures of one size, as the camera makes them"
                )
            yield self._agc.apply(frame)

    def shots(self) -> Iterator[Shot]:
        """The same, of each only what a calibration looks at."""
        for frame in self.frames():
            yield Shot(frame.index, frame.time, np.asarray(frame.luma, np.uint8))

    def complaints(self) -> list[str]:
        """After the last frame: a line for what could not be read."""
        return self._source.complaints()

    def close(self) -> None:
        """Close the source; may be called twice."""
        self._source.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
