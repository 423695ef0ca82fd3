"""Average gradient (AG). Cui, Feng, Xu, Li, Chen: Optics Communications 341, 2015.

AG = sum sqrt((Fx^2 + Fy^2) / 2) / ((H - 1) (W - 1)), with central differences, one-sided at the border, summed over
all H W pixels: the VIFB benchmark's reading. Rewards noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def average_gradient(fused: NDArray[np.uint8]) -> float | None:
    """Mean slope of a picture (H, W), levels a pixel; 0 if it is constant, None if a side is below 2 px."""
    height, width = fused.shape
    if min(height, width) < 2:
        return None
    down, across = np.gradient(fused.astype(np.float64))
    return float(np.sqrt((down**2 + across**2) / 2).sum() / ((height - 1) * (width - 1)))
