"""Between a video's limited luma range and the full range that everything inside works on: as tables, and quickly."""

from __future__ import annotations

import cv2
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

_GAIN = 255 / (WHITE - BLACK)
# Products rounded and clipped, with SIMD: twice as fast as a table. No product of a whole number lies midway between
# two levels, where OpenCV would round otherwise than `_table`.
_FULL = np.array([[_GAIN, -BLACK * _GAIN]])
_LIMITED = np.array([[1 / _GAIN, BLACK]])


def to_full(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`TO_FULL[luma]`, (H, W) uint8, in a new array."""
    return np.asarray(cv2.transform(luma, _FULL), np.uint8)


def lay_limited(into: NDArray[np.uint8], luma: NDArray[np.uint8]) -> None:
    """Write `TO_LIMITED[luma]`, (H, W) uint8, into an array of this shape, whose rows may lie apart."""
    cv2.transform(luma, _LIMITED, dst=into)


LIMITED = Levels(TO_FULL, TO_LIMITED)
"""Both, for pictures in a device's memory."""
