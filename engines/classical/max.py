"""The plain maximum: keeps what is bright in either source, and loses what is dark."""

from __future__ import annotations

import cv2
import numpy as np

from engines.base import Luma


def maximum(ir: Luma, vis: Luma) -> Luma:
    """The brighter of the two at each pixel. (H, W) uint8 each."""
    return np.asarray(cv2.max(ir, vis), np.uint8).reshape(ir.shape)
