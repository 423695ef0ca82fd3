"""How far the mean brightness of a video jumps from one frame to the next: a camera's gain step, or a fuser's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def brightness(video: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Mean level of each frame, (frames,)."""
    return np.array([frame.mean() for frame in video])


def largest_jump(video: Sequence[NDArray[np.uint8]]) -> float:
    """max over t of |mean F[t] - mean F[t-1]|, levels. Raises ValueError for fewer than two frames."""
    if len(video) < 2:
        raise ValueError(f"{len(video)} frames; a jump needs two")
    return float(np.abs(np.diff(brightness(video))).max())
