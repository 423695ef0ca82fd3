"""Nabf, edges that no source has, lower is better. Shreyamsha Kumar: Signal, Image and Video Processing 7, 2013.

    Nabf = sum over pixels whose edge in F is stronger than in both sources of
           ((1 - Q_ir) w_ir + (1 - Q_vis) w_vis) / sum(w_ir + w_vis)
    Q_k  = sqrt(0.9999 / (1 + exp(-19 (G - 0.5))) * 0.9995 / (1 + exp(-22 (A - 0.5))))
    G    = weaker over stronger of the edge strengths of source k and F, 0 where one is 0
    A    = | |angle of source k - angle of F| - pi/2 | / (pi/2)
    w_k  = strength^1.5, or 0.001 where it is below 2

Strength and angle by Sobel / 8, mirrored at the border, on levels 0..255. Rewards averaging.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
WEAK = 2.0
"""An edge below this has next to no weight, levels a pixel."""
LEAST_WEIGHT = 0.001


def nabf(ir: NDArray[np.uint8], vis: NDArray[np.uint8], fused: NDArray[np.uint8]) -> float:
    """Weight of the artificial edges over that of the sources' edges, 0 or more; defined for constant pictures too."""
    edges = [_edges(picture) for picture in (ir, vis, fused)]
    artificial = (edges[2][0] > edges[0][0]) & (edges[2][0] > edges[1][0])
    added = total = 0.0
    for source in edges[:2]:
        strength = source[0]
        weight = np.where(strength >= WEAK, strength**1.5, LEAST_WEIGHT)
        lost = (1 - _preserved(*(plane[artificial] for plane in (*source, *edges[2])))) * weight[artificial]
        added += float(lost.sum())
        total += float(weight.sum())
    return added / total


def _edges(picture: NDArray[np.uint8]) -> tuple[Plane, Plane]:
    """Strength and angle of the edges (H, W)."""
    f = picture.astype(np.float64)
    x, y = (cv2.Sobel(f, cv2.CV_64F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    upright = y == 0
    angle = np.where(upright, np.where(x == 0, 0, np.pi / 2), np.arctan(x / np.where(upright, 1, y)))
    return np.asarray(cv2.magnitude(x, y), np.float64), angle


def _preserved(strength: Plane, angle: Plane, fused_strength: Plane, fused_angle: Plane) -> Plane:
    """Q of pixels whose edge is stronger in F."""
    G = strength / fused_strength
    A = np.abs(np.abs(angle - fused_angle) - np.pi / 2) / (np.pi / 2)
    return np.asarray(np.sqrt(0.9999 / (1 + np.exp(-19 * (G - 0.5))) * 0.9995 / (1 + np.exp(-22 * (A - 0.5)))))
