"""Structural similarity. Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, IEEE TIP 13(4), 2004."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


def ssim(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> float:
    """Mean structural similarity of two (H, W) uint8 pictures, H and W at least 11, in -1..1; 1 if equal.

    Gaussian window 11x11 with sigma 1.5, L = 255, K1 = 0.01, K2 = 0.03, over the area where the window fits. Raises
    ValueError if it fits nowhere or the shapes differ.
    """
    if x.shape != y.shape or x.ndim != 2 or min(x.shape) < WINDOW:
        raise ValueError(f"SSIM of {x.shape} and {y.shape}; give two pictures (H, W) of one shape, {WINDOW} px or more")
    a, b = x.astype(np.float64), y.astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    cov = _blur(a * b) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + C1) * (2 * cov + C2)
    similarity /= (mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2)
    return float(similarity.mean())


def fusion_ssim(ir: NDArray[np.uint8], vis: NDArray[np.uint8], fused: NDArray[np.uint8]) -> float:
    """Mean of the fused picture's SSIM to each source: the paper's SSIM column. Rewards averaging."""
    return (ssim(fused, ir) + ssim(fused, vis)) / 2


def _blur(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    half = WINDOW // 2
    return np.asarray(cv2.GaussianBlur(picture, (WINDOW, WINDOW), SIGMA), np.float64)[half:-half, half:-half]
