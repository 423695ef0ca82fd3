"""Standard deviation (SD). Rao: Measurement Science and Technology 8(4), 355, 1997.

SD = sqrt(mean((F - mean F)^2)), over all pixels. Rewards stretched contrast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def deviation(fused: NDArray[np.uint8]) -> float:
    """Standard deviation of a picture (H, W), levels, 0..127.5."""
    return float(fused.std(dtype=np.float64))
