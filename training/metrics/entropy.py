"""Entropy (EN). Roberts, van Aardt, Ahmed: Journal of Applied Remote Sensing 2(1), 023522, 2008.

EN = -sum p(k) log2 p(k) over the 256 levels of the fused picture. Rewards noise and stretched contrast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def entropy(fused: NDArray[np.uint8]) -> float:
    """Bits a pixel of the histogram of a picture (H, W), 0..8; 0 if it is constant."""
    counts = np.bincount(fused.ravel(), minlength=256)
    p = counts[counts > 0] / fused.size
    return max(0.0, float(-(p * np.log2(p)).sum()))  # not -0
