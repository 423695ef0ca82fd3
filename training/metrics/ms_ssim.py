"""MS-SSIM of a fused picture. Ma, Zeng, Wang: Quality assessment for multi-exposure fusion, IEEE TIP 24(11), 2015.

In each window of 11x11, every source gives contrast c_k = |x_k - mean x_k| and structure s_k = (x_k - mean x_k) / c_k.
What is wanted of F there is the structure r: the sum of w_k s_k, scaled to the largest contrast, where

    w_k ~ (c_k / 11)^p,   p = tan(pi/2 R), at most 10,   R = |sum of all x_k - mean| / sum of all c_k
    Q   = mean over windows of (2 cov(r, F) + C) / (var r + var F + C),   C = (0.03 * 255)^2

var and cov with a Gaussian of sigma 1.5: structure and contrast, no brightness. The picture's value is the product of
Q^weight over 3 scales, halved by means of 2x2. As in the field's toolboxes: a constant of 0.001 beside each c_k.

Window by window that takes minutes. Every window's r is a sum of the sources less constants, so all that is needed of
it follows from means and covariances of the sources, which are whole-picture filters.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = 11
SIGMA = 1.5
WEIGHTS = np.array([0.0448, 0.2856, 0.3001]) / (0.0448 + 0.2856 + 0.3001)
"""Of the scales, finest first: the first three of Wang, Simoncelli, Bovik (2003)."""
C = (0.03 * 255) ** 2
LEAST_CONTRAST = 0.001
LARGEST_POWER = 10.0
TINY = float(np.finfo(np.float64).eps)
LEAST_SIDE = WINDOW * 2 ** (len(WEIGHTS) - 1)
"""px"""
Plane = NDArray[np.float64]


def ms_ssim(ir: NDArray[np.uint8], vis: NDArray[np.uint8], fused: NDArray[np.uint8]) -> float | None:
    """How well a picture (H, W) has the structure of both sources, 0..1; None if a side is below `LEAST_SIDE`.

    A scale with a negative mean counts as 0; the published code gives a complex number there.
    """
    if min(fused.shape) < LEAST_SIDE:
        return None
    planes = [picture.astype(np.float64) for picture in (ir, vis, fused)]
    value = 1.0
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            planes = [_halved(plane) for plane in planes]
        value *= max(0.0, _quality(*planes)) ** float(weight)
    return value


def _quality(a: Plane, b: Plane, f: Plane) -> float:
    """Q of one scale."""
    area = WINDOW**2
    mean_a, mean_b, flat_ab = _box(a), _box(b), _box(a * b)
    square_a, square_b = (np.maximum(area * (_box(x * x) - m * m), 0) for x, m in ((a, mean_a), (b, mean_b)))
    product = area * (flat_ab - mean_a * mean_b)
    contrast_a, contrast_b = np.sqrt(square_a), np.sqrt(square_b)
    whole = np.sqrt(np.maximum(square_a + square_b + 2 * product, 0))
    R = np.clip((whole + TINY) / (contrast_a + contrast_b + TINY), TINY, 1 - TINY)
    p = np.minimum(np.tan(np.pi / 2 * R), LARGEST_POWER)
    contrast_a += LEAST_CONTRAST
    contrast_b += LEAST_CONTRAST
    weight_a, weight_b = (contrast_a / WINDOW) ** p + TINY, (contrast_b / WINDOW) ** p + TINY
    share_a = weight_a / (weight_a + weight_b)
    u, v = share_a / contrast_a, (1 - share_a) / contrast_b  # r = u a + v b, but for a constant
    length = np.sqrt(np.maximum(u * u * square_a + 2 * u * v * product + v * v * square_b, 0))
    grown = np.where(length > 0, np.maximum(contrast_a, contrast_b) / np.where(length > 0, length, 1), 1)
    u, v = u * grown, v * grown
    inside = [_gauss(x) for x in (a, b, f)]
    var_a, var_b, var_f, cov_ab, cov_af, cov_bf = (
        _gauss(x * y) - inside[i] * inside[j]
        for x, y, i, j in ((a, a, 0, 0), (b, b, 1, 1), (f, f, 2, 2), (a, b, 0, 1), (a, f, 0, 2), (b, f, 1, 2))
    )
    var_r = u * u * var_a + 2 * u * v * cov_ab + v * v * var_b
    cov = u * cov_af + v * cov_bf
    return float(((2 * cov + C) / (np.maximum(var_r, 0) + np.maximum(var_f, 0) + C)).mean())


def _gauss(x: Plane) -> Plane:
    half = WINDOW // 2
    return np.asarray(cv2.GaussianBlur(x, (WINDOW, WINDOW), SIGMA), np.float64)[half:-half, half:-half]


def _box(x: Plane) -> Plane:
    half = WINDOW // 2
    return np.asarray(cv2.blur(x, (WINDOW, WINDOW)), np.float64)[half:-half, half:-half]


def _halved(x: Plane) -> Plane:
    """Means of 2x2; an odd last row or column is taken twice."""
    height, width = x.shape
    x = np.pad(x, ((0, height % 2), (0, width % 2)), "edge")
    return np.asarray((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4, np.float64)
