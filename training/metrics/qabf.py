"""Qabf, the edges kept. Xydeas, Petrovic: Objective image fusion performance measure, Electronics Letters 36(4), 2000.

    Qabf = sum(Q_ir g_ir + Q_vis g_vis) / sum(g_ir + g_vis)
    Q_k  = 0.9994 / (1 + exp(-15 (G - 0.5))) * 0.9879 / (1 + exp(-22 (A - 0.8)))
    G    = weaker over stronger of the edge strengths of source k and F
    A    = 1 - |angle of source k - angle of F| / (pi / 2)

Strength and angle by Sobel with zeros outside, as in the VIFB benchmark; its angles are atan(y / x) in -pi/2..pi/2
without wrapping, pi/2 where x is 0. Rewards copying the source with more edges.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]


def qabf(ir: NDArray[np.uint8], vis: NDArray[np.uint8], fused: NDArray[np.uint8]) -> float | None:
    """Share of the sources' edges that the fused picture has, 0..0.99; None if both sources have none."""
    edges = _edges(fused)
    kept = weight = 0.0
    for source in (ir, vis):
        strength, angle = _edges(source)
        kept += float((_preserved(strength, angle, *edges) * strength).sum())
        weight += float(strength.sum())
    return kept / weight if weight else None


def _edges(picture: NDArray[np.uint8]) -> tuple[Plane, Plane]:
    """Strength and angle of the edges (H, W)."""
    f = picture.astype(np.float64)
    x, y = (cv2.Sobel(f, cv2.CV_64F, *order, borderType=cv2.BORDER_CONSTANT) for order in ((1, 0), (0, 1)))
    upright = x == 0
    angle = np.arctan(-y / np.where(upright, 1, x))  # y upwards: it decides on which side of pi/2 an edge lies
    return np.asarray(cv2.magnitude(x, y), np.float64), np.where(upright, np.pi / 2, angle)


def _preserved(strength: Plane, angle: Plane, fused_strength: Plane, fused_angle: Plane) -> Plane:
    """Q of each pixel; without an edge in the source its value does not count."""
    stronger = np.maximum(strength, fused_strength)
    G = np.minimum(strength, fused_strength) / np.where(stronger == 0, 1, stronger)
    A = 1 - np.abs(angle - fused_angle) / (np.pi / 2)
    return np.asarray(0.9994 / (1 + np.exp(-15 * (G - 0.5))) * 0.9879 / (1 + np.exp(-22 * (A - 0.8))), np.float64)
