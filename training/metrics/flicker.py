"""Flicker of a fused video where neither source changes: ours, lower is better.

    flicker = sqrt(mean over time and resting pixels of (F[t-1] - 2 F[t] + F[t+1])^2 / 6)

The second difference over time passes what is fast and stops what stays or drifts steadily; over sqrt(6), grain of
standard deviation s gives s. A pixel rests where both sources, smoothed so that their own grain counts little, change
by at most `STEADY` from t-1 to t and from t to t+1, and so do its neighbours. Set it beside plain mean on the same
clip: the sources' grain is in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING = 2.0
"""Sigma of the blur before a change is sought, px; grain falls to a seventh."""
STEADY = 4.0
"""Most that a smoothed source at rest changes from frame to frame, levels."""
NEIGHBOURS = 5
"""Side of the square that must be at rest, px."""
Video = Sequence[NDArray[np.uint8]]


def flicker(ir: Video, vis: Video, fused: Video) -> float | None:
    """Root mean square of the fast changes, levels, of frames (H, W); None if no pixel rests for three frames.

    Raises ValueError for videos of different lengths or sizes.
    """
    if not len(ir) == len(vis) == len(fused) or len({frame.shape for video in (ir, vis, fused) for frame in video}) > 1:
        raise ValueError("flicker of videos that differ in length or size; give three with the same frames")
    energy = count = 0.0
    for t, rests in enumerate(resting(ir, vis), start=1):
        before, now, after = (frame.astype(np.float64)[rests] for frame in fused[t - 1 : t + 2])
        energy += float(((before - 2 * now + after) ** 2).sum()) / 6
        count += float(rests.sum())
    return float(np.sqrt(energy / count)) if count else None


def resting(ir: Video, vis: Video) -> Iterator[NDArray[np.bool_]]:
    """Masks (H, W) of the pixels at rest around each frame but the first and the last."""
    square = np.ones((NEIGHBOURS, NEIGHBOURS), np.uint8)
    earlier: NDArray[np.bool_] | None = None
    smooth = None
    for frames in zip(ir, vis, strict=True):
        last, smooth = smooth, [cv2.GaussianBlur(frame.astype(np.float32), (0, 0), SMOOTHING) for frame in frames]
        if last is None:
            continue
        steady = np.logical_and(*(np.abs(a - b) <= STEADY for a, b in zip(last, smooth, strict=True)))
        if earlier is not None:
            yield cv2.erode((steady & earlier).astype(np.uint8), square) > 0
        earlier = steady
