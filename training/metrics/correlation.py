"""Correlation (CC) and the sum of the correlations of differences (SCD: Aslantas, Bendes, AEU 69(12), 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pearson(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Pearson's correlation of two arrays of one shape, -1..1; 0 if one of them is constant, where it is undefined."""
    if x.min() == x.max() or y.min() == y.max():  # the mean of equal floats may be off by a bit
        return 0.0
    a, b = (z.astype(np.float64) - z.mean(dtype=np.float64) for z in (x, y))
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def fusion_cc(ir: NDArray[np.uint8], vis: NDArray[np.uint8], fused: NDArray[np.uint8]) -> float:
    """Mean of the two correlations. Rewards averaging. The paper's CC column cannot be had with this formula."""
    return (pearson(ir, fused) + pearson(vis, fused)) / 2


def scd(ir: NDArray[np.uint8], vis: NDArray[np.uint8], fused: NDArray[np.uint8]) -> float:
    """r(F - VIS, IR) + r(F - IR, VIS): how much of each source the fused picture adds to the other, -2..2."""
    f = fused.astype(np.float64)
    return pearson(f - vis, ir) + pearson(f - ir, vis)
