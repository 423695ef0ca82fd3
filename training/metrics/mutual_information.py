"""Mutual information of the fused picture with its sources. Qu, Zhang, Yan: Electronics Letters 38(7), 2002."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 256


def mutual_information(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> float:
    """I(X; Y) in bits of two pictures of one shape, from their joint histogram of 256 x 256 levels; 0 or more."""
    joint = np.bincount(x.ravel().astype(np.int64) * LEVELS + y.ravel(), minlength=LEVELS * LEVELS)
    p = joint.reshape(LEVELS, LEVELS) / x.size
    product = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    seen = p > 0
    return max(0.0, float((p[seen] * np.log2(p[seen] / product[seen])).sum()))  # rounding may leave -1e-16


def fusion_mi(ir: NDArray[np.uint8], vis: NDArray[np.uint8], fused: NDArray[np.uint8]) -> float:
    """I(F; IR) + I(F; VIS), bits: the paper's MI column. Rewards copying one source."""
    return mutual_information(ir, fused) + mutual_information(vis, fused)
