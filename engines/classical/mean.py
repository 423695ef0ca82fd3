"""The plain mean: what every other method must beat, and what SSIM and CC reward most."""

from __future__ import annotations

import cv2
import numpy as np

from engines.base import Luma


def mean(ir: Luma, vis: Luma) -> Luma:
    """(ir + vis) / 2, half up. (H, W) uint8 each."""
    # The quarter makes halves round up and leaves whole numbers alone: OpenCV rounds halves to even.
    return np.asarray(cv2.addWeighted(ir, 0.5, vis, 0.5, 0.25), np.uint8).reshape(ir.shape)
