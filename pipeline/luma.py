"""The two tables between a video's limited luma range and the full range that everything inside works on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.device_picture import Levels

BLACK = 16
"""Luma of black in limited range, 8 bits (ITU-R BT.601, BT.709)."""

WHITE = 235
"""Luma of white in limited range, 8 bits."""


def _table(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Round half up, clip to 0..255 and freeze: (256,) float to (256,) uint8."""
    table = np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
    table.setflags(write=False)
    return table


TO_FULL = _table((np.arange(256) - BLACK) * (255 / (WHITE - BLACK)))
"""(256,) uint8, limited-range luma to full range: 16 becomes 0, 235 becomes 255, what lies outside is clipped."""

TO_LIMITED = _table(np.arange(256) * ((WHITE - BLACK) / 255) + BLACK)
"""(256,) uint8, full-range luma to limited range 16..235. `TO_LIMITED[TO_FULL[y]] == y` for every y in 16..235."""

LIMITED = Levels(TO_FULL, TO_LIMITED)
"""Both, for pictures in a device's memory."""
