"""Laplacian pyramid: the stronger detail of each scale, the mean of what is left.

The pyramid: P. J. Burt and E. H. Adelson, "The Laplacian pyramid as a compact image code", IEEE Trans. Communications
31(4), 1983. The rules are the usual ones.

    G_0 = picture, G_{k+1} = reduce(G_k), L_k = G_k - expand(G_{k+1})       k = 0 .. LEVELS - 1
    F_k = the one of L_k(ir), L_k(vis) of larger magnitude, F_LEVELS = (G_LEVELS(ir) + G_LEVELS(vis)) / 2
    fused = F_0 + expand(F_1 + expand(F_2 + ...))
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Luma
from engines.classical.fuser import to_luma

LEVELS = 4
"""Of detail, as in the usual OpenCV recipe and in the paper of LPSR; fewer where a side is used up before."""
Plane = NDArray[np.float32]


def laplacian(ir: Luma, vis: Luma) -> Luma:
    """The picture fused band by band. (H, W) uint8 each."""
    *ir_bands, ir_base = bands(ir)
    *vis_bands, vis_base = bands(vis)
    fused = [np.where(np.abs(a) >= np.abs(b), a, b) for a, b in zip(ir_bands, vis_bands, strict=True)]
    return to_luma(collapse([*fused, (ir_base + vis_base) / np.float32(2)]))


def bands(luma: Luma) -> list[Plane]:
    """Detail bands from fine to coarse, then what is left."""
    level, found = luma.astype(np.float32), []
    for _ in range(LEVELS):
        if min(level.shape) < 2:
            break
        coarse = np.asarray(cv2.pyrDown(level), np.float32)
        found.append(level - _expanded(coarse, level.shape))
        level = coarse
    return [*found, level]


def collapse(levels: list[Plane]) -> Plane:
    """The picture whose `bands` these are; the inverse to float32's rounding, whatever the levels hold."""
    *details, level = levels
    for detail in reversed(details):
        level = _expanded(level, detail.shape) + detail
    return level


def _expanded(level: Plane, shape: tuple[int, ...]) -> Plane:
    return np.asarray(cv2.pyrUp(level, dstsize=(shape[1], shape[0])), np.float32)
