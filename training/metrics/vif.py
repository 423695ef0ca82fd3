"""Visual information fidelity in pixels (vifp). Sheikh, Bovik: Image information and visual quality, IEEE TIP, 2006.

    vifp = sum log(1 + g^2 s_r^2 / (s_v^2 + s_n^2)) / sum log(1 + s_r^2 / s_n^2)    over 4 scales and all windows
    g    = cov(reference, F) / s_r^2,   s_v^2 = var F - g cov(reference, F),   s_n^2 = 2

Windows are Gaussian, 17, 9, 5 and 3 px wide with sigma a fifth of that, only where they fit; before each scale but the
first both pictures pass its window and every second pixel is kept. Rewards copying one source.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOWS = (17, 9, 5, 3)
"""px, one a scale."""
NOISE = 2.0
"""Variance of the visual noise, levels^2."""
LEAST_VARIANCE = 1e-10
LEAST_SIDE = 41
"""px; below it the last window does not fit."""


def vif(ir: NDArray[np.uint8], vis: NDArray[np.uint8], fused: NDArray[np.uint8]) -> float | None:
    """vifp(IR, F) + vifp(VIS, F); None if one of them is undefined."""
    parts = vifp(ir, fused), vifp(vis, fused)
    return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]


def vifp(reference: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float | None:
    """Share of the reference's information that a picture (H, W) holds: 1 if equal, more if its contrast is higher.

    None if the reference is constant, and so has none, or a side is below `LEAST_SIDE`.
    """
    if min(reference.shape) < LEAST_SIDE:
        return None
    r, f = reference.astype(np.float64), picture.astype(np.float64)
    kept = whole = 0.0
    for scale, window in enumerate(WINDOWS):
        if scale:
            r, f = _window(r, window)[::2, ::2], _window(f, window)[::2, ::2]
        mean_r, mean_f = _window(r, window), _window(f, window)
        var_r = np.maximum(_window(r * r, window) - mean_r**2, 0)
        var_f = np.maximum(_window(f * f, window) - mean_f**2, 0)
        cov = _window(r * f, window) - mean_r * mean_f
        used = (var_r >= LEAST_VARIANCE) & (var_f >= LEAST_VARIANCE) & (cov > 0)  # else F tells nothing of it
        g = np.where(used, cov, 0) / (var_r + LEAST_VARIANCE)
        rest = np.maximum(var_f - g * cov, LEAST_VARIANCE)
        kept += float(np.log1p(g * g * var_r / (rest + NOISE)).sum())
        whole += float(np.log1p(np.where(var_r < LEAST_VARIANCE, 0, var_r) / NOISE).sum())
    return kept / whole if whole else None


def _window(f: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Weighted mean in each window that fits."""
    half = size // 2
    return np.asarray(cv2.GaussianBlur(f, (size, size), size / 5), np.float64)[half:-half, half:-half]
