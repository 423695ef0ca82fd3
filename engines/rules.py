"""The two fusion rules in numpy: the reference that every other implementation is held against.

JCAE paper, Eq. 8 (private features) and Eq. 9 (common features). Features are (..., M, h, w) float, not negative;
leading axes are independent pairs, so that no picture depends on its batch neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ACTIVITY_RATIO = 0.6
"""T / (h w) of Eq. 9: a map whose activity reaches this in both pictures is redundant."""
HYSTERESIS = 0.03
"""Half width of the band around the ratio that a map of a stream must leave to change its rule, in units of h w."""

Features = NDArray[np.floating[Any]]


def fuse_private(ir: Features, vis: Features) -> Features:
    """Eq. 8: the elementwise maximum. Same shape as both inputs."""
    return np.maximum(ir, vis)


def fuse_common(ir: Features, vis: Features, averaged: NDArray[np.bool_]) -> Features:
    """Eq. 9: the weighted average where `averaged` (..., M) holds, else the elementwise maximum."""
    share = average_weight(ir, vis)
    return np.where(averaged[..., None, None], share * ir + (1 - share) * vis, np.maximum(ir, vis))


def average_weight(ir: Features, vis: Features) -> Features:
    """w1 of Eq. 9, (..., 1, h, w): C_IR / (C_IR + C_VIS) with C = sum over maps; 0.5 where both sums are 0.

    The paper leaves 0 / 0 open; any weight gives 0 there, as all maps are 0 in both pictures.
    """
    sum_ir, sum_vis = ir.sum(-3, keepdims=True), vis.sum(-3, keepdims=True)
    total = sum_ir + sum_vis
    return np.where(total > 0, sum_ir / np.where(total > 0, total, 1), np.asarray(0.5, ir.dtype))


def activity(ir: Features, vis: Features) -> NDArray[np.float32]:
    """min(L_IR, L_VIS) / (h w) of each map, (..., M) float32 in 0..1; L counts the positions that are not zero.

    The count is exact and the division rounded once, so that 60 of 100 positions equal the float32 ratio 0.6.
    """
    area = np.float32(ir.shape[-2] * ir.shape[-1])
    counts = np.minimum(np.count_nonzero(ir, axis=(-2, -1)), np.count_nonzero(vis, axis=(-2, -1)))
    return counts.astype(np.float32) / area


def averaged_maps(activity: NDArray[np.float32], threshold: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which maps reach their threshold in both pictures; reaching it exactly counts. Shapes (..., M) and (M,)."""
    return activity >= threshold


def next_threshold(
    averaged: NDArray[np.bool_] | None, *, maps: int, ratio: float = ACTIVITY_RATIO, band: float = HYSTERESIS
) -> NDArray[np.float32]:
    """(M,) float32 thresholds for a pair, given which maps were averaged in the pair before it.

    None, for a single picture or the first of a stream, gives the paper's ratio. In a stream a map that was averaged
    stays so down to ratio - band, another becomes so from ratio + band. The paper has no word on video.
    """
    if averaged is None:
        return np.full(maps, ratio, np.float32)
    return np.where(averaged, ratio - band, ratio + band).astype(np.float32)
