"""What a page shows of a fused clip: its brightness over time and a few of its frames, kept as it is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.metrics.brightness_jump import brightness

WIDTH = 400
"""Of a kept frame, px."""
Luma = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Series:
    """Of one clip and one method."""

    brightness: NDArray[np.float64]
    """(frames,) mean level"""
    places: tuple[int, ...]
    """Which frames are kept."""
    frames: tuple[Luma, ...]
    """At most `WIDTH` px wide."""


def keep_series(path: Path, ir: Sequence[Luma], fused: Sequence[Luma]) -> None:
    """Write the series of fused frames; a reader sees all of it or nothing. Raises OSError."""
    places = shown_frames(ir)
    kept = np.stack([_smaller(fused[place]) for place in places])
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez_compressed(file, brightness=brightness(fused), places=places, frames=kept)
    os.replace(part, path)


def read_series(path: Path) -> Series | None:
    """A series that was kept; None if there is none or it cannot be read."""
    try:
        with np.load(path) as kept:
            return Series(kept["brightness"], tuple(kept["places"].tolist()), tuple(kept["frames"]))
    except (OSError, ValueError, KeyError, EOFError):
        return None


def shown_frames(ir: Sequence[Luma]) -> list[int]:
    """The frames before and after IR's largest jump of brightness, and the last."""
    after = int(np.abs(np.diff(brightness(ir))).argmax()) + 1
    return sorted({after - 1, after, len(ir) - 1})


def _smaller(picture: Luma) -> Luma:
    height, width = picture.shape
    if width <= WIDTH:
        return picture
    size = WIDTH, max(1, round(height * WIDTH / width))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
