"""Which of two places luma itself speaks for: measures that laying a picture by its outlines does not look at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.outlines import Plane
from calibration.rig import Matrix

WHOLE_BINS, PART_BINS = 24, 12
"""Of the luma, for the information of the whole picture and of a part."""
PARTS = 6, 4
"""Across and down."""
WINDOW = 6.0
"""px, sigma of the neighbourhood within which luma is correlated."""
NOISE = 4.0
"""Levels squared, variance below which there is nothing to correlate."""
MARGIN = 13
"""px at the border of what both places show that are left out."""
VOTES = 3

Mask = NDArray[np.bool_]


def luma_votes(ir: Plane, vis: Plane, first: Matrix, second: Matrix) -> int:
    """How many of three measures find VIS more like IR laid by the first map than by the second; both IR to VIS.

    Mutual information over the whole picture, its mean over the picture's parts, and the mean squared correlation of
    luma within a small window, each of the pixels that both maps show.
    """
    height, width = vis.shape
    laid, shown = [], np.ones((height, width), np.bool_)
    square = np.ones((MARGIN, MARGIN), np.uint8)
    for matrix in (first, second):
        laid.append(np.asarray(cv2.warpPerspective(ir, matrix, (width, height), flags=cv2.INTER_CUBIC), np.uint8))
        seen = cv2.warpPerspective(np.ones_like(ir), matrix, (width, height))
        shown &= cv2.erode(seen, square, borderType=cv2.BORDER_CONSTANT, borderValue=(0,)) > 0
    told = [_measures(picture, vis, shown) for picture in laid]
    return sum(mine > other for mine, other in zip(*told, strict=True))


def information(first: Plane, second: Plane, bins: int) -> float:
    """Normalised mutual information of two lists of luma, 1 (none) to 2 (one tells the other)."""
    table = np.histogram2d(first.ravel(), second.ravel(), bins=bins, range=((0, 256), (0, 256)))[0]
    table /= max(table.sum(), 1.0)
    return (_entropy(table.sum(axis=0)) + _entropy(table.sum(axis=1))) / max(_entropy(table), 1e-9)


def _measures(ir: Plane, vis: Plane, shown: Mask) -> tuple[float, float, float]:
    if not shown.any():
        return 0.0, 0.0, 0.0
    height, width = vis.shape
    parts = []
    for rows in np.array_split(np.arange(height), PARTS[1]):
        for columns in np.array_split(np.arange(width), PARTS[0]):
            part = np.ix_(rows, columns)
            if shown[part].mean() > 0.6:
                parts.append(information(ir[part][shown[part]], vis[part][shown[part]], PART_BINS))
    whole = information(ir[shown], vis[shown], WHOLE_BINS)
    return whole, float(np.mean(parts)) if parts else 0.0, float(_correlation(ir, vis)[shown].mean())


def _correlation(ir: Plane, vis: Plane) -> NDArray[np.float64]:
    """(H, W) squared correlation of luma about each pixel: whichever of the two is brighter."""
    a, b = ir.astype(np.float64), vis.astype(np.float64)
    mean_a, mean_b, aa, bb, ab = (cv2.GaussianBlur(plane, (0, 0), WINDOW) for plane in (a, b, a * a, b * b, a * b))
    varied = (aa - mean_a * mean_a + NOISE) * (bb - mean_b * mean_b + NOISE)
    return np.asarray((ab - mean_a * mean_b) ** 2 / varied)


def _entropy(shares: NDArray[np.float64]) -> float:
    held = shares[shares > 0]
    return float(-(held * np.log(held)).sum())
