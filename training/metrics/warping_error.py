"""Warping error of a fused video along the motion of its sources, lower is better. After Lai et al., ECCV 2018.

    error = sqrt(mean over time and followed pixels of (F[t] - F[t-1] moved along the flow)^2)

Two sources, two flows (DIS: Kroeger et al., ECCV 2016), and neither speaks for what only the other camera sees. So the
pixel takes the flow that explains both sources better, and counts only where that flow explains both of them, and
there and back ends within a pixel of where it began: a warm target over a still background, which no single motion
explains, is left out; so is what is covered or uncovered, and a scene cut. What then changes in F is its own: flicker,
trails, noise. Set it beside plain mean on the same clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING = 1.5
"""Sigma of the blur of a source's error, so that grain does not count as motion, px."""
EXPLAINED = 6.0
"""Largest error of a source along a flow that explains it, levels."""
RETURN = 1.0
"""Largest way between a pixel and where there and back leads, px."""
LEAST_SIDE = 16
"""px; the flow needs some."""
Luma = NDArray[np.uint8]
Video = Sequence[Luma]
Plane = NDArray[np.float32]


def warping_error(
    ir: Video, vis: Video, fused: Video, *, motions: Sequence[tuple[Plane, NDArray[np.bool_]]] | None = None
) -> float | None:
    """Root mean square of what the motion does not explain, levels, of frames (H, W); None if nothing can be followed.

    motions: from each frame but the first to the one before it, if they are known: they are most of the work. Raises
    ValueError for videos of different lengths or sizes, or sides below `LEAST_SIDE`.
    """
    sizes = {frame.shape for video in (ir, vis, fused) for frame in video}
    if not len(ir) == len(vis) == len(fused) or len(sizes) > 1 or any(min(size) < LEAST_SIDE for size in sizes):
        raise ValueError(f"videos that differ, or smaller than {LEAST_SIDE} px; give three with the same frames")
    energy = count = 0.0
    for t in range(1, len(fused)):
        flow, followed = motions[t - 1] if motions else motion((ir[t - 1], vis[t - 1]), (ir[t], vis[t]))
        change = (fused[t].astype(np.float64) - moved(fused[t - 1], flow))[followed]
        energy += float((change**2).sum())
        count += change.size
    return float(np.sqrt(energy / count)) if count else None


def motion(before: tuple[Luma, Luma], now: tuple[Luma, Luma]) -> tuple[Plane, NDArray[np.bool_]]:
    """Where each pixel (H, W) of now was before, (H, W, 2) px, x first, and whether that can be relied on."""
    best: Plane | None = None
    for a, b in zip(before, now, strict=True):
        back, forth = _flow(b, a), _flow(a, b)
        away = np.hypot(*np.moveaxis(back + _sampled(forth, back), -1, 0))
        errors = [_smooth(np.abs(y - moved(x, back))) for x, y in zip(before, now, strict=True)]
        error = np.where(away <= RETURN, np.maximum(*errors), np.float32(np.inf))
        if best is None:
            best, flow = error, back
        else:
            flow = np.where((error < best)[..., None], back, flow)
            best = np.minimum(error, best)
    assert best is not None
    return flow, best <= EXPLAINED


def moved(picture: Luma, flow: Plane) -> Plane:
    """The picture (H, W) at where each pixel was, float32."""
    return _sampled(picture.astype(np.float32), flow)


def _sampled(values: Plane, flow: Plane) -> Plane:
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    at = columns + flow[..., 0], rows + flow[..., 1]
    return np.asarray(cv2.remap(values, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _flow(a: Luma, b: Luma) -> Plane:
    """Of each pixel of a, to b."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)  # DIS asserts it
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(dis.calc(a, b, None), np.float32)  # type: ignore[call-overload]


def _smooth(error: Plane) -> Plane:
    return np.asarray(cv2.GaussianBlur(error, (0, 0), SMOOTHING), np.float32)
