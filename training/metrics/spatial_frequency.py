"""Spatial frequency (SF). Eskicioglu, Fisher: IEEE Transactions on Communications 43(12), 1995.

SF = sqrt(RF^2 + CF^2), where RF^2 and CF^2 are the sums of the squared differences of neighbours along the rows and
the columns, over H W: all pixels, not all differences. Rewards noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spatial_frequency(fused: NDArray[np.uint8]) -> float:
    """Root of the mean squared step from pixel to pixel of a picture (H, W), levels; 0 if it is constant."""
    f = fused.astype(np.float64)
    squares = (np.diff(f, axis=1) ** 2).sum() + (np.diff(f, axis=0) ** 2).sum()
    return float(np.sqrt(squares / f.size))
