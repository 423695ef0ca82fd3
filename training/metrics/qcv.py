"""Qcv, lower is better. Chen, Varshney: A human perception inspired quality metric, Information Fusion 8(2), 2007.

    Qcv = sum(L_ir D_ir + L_vis D_vis) / sum(L_ir + L_vis)    over blocks of 16x16
    L_k = sum |Sobel of source k|^5                            how salient the block is in the source
    D_k = mean (CSF * (source k - F))^2                        how visible the difference is

As Liu et al. (IEEE TPAMI 34(1), 2012) and the VIFB benchmark have it: every picture is first stretched to 0..255 and
rounded, the last blocks and Sobel's border are filled up with zeros, and the contrast sensitivity is Mannos and
Sakrison's, S(r) = 2.6 (0.0192 + 0.144 r) exp(-(0.144 r)^1.1), with r a quarter of the cycles a picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK = 16
"""px"""
SALIENCY = 5
"""Exponent of the edge strength."""
CYCLES = 4
"""Cycles a picture that make one of the contrast sensitivity's."""


def qcv(ir: NDArray[np.uint8], vis: NDArray[np.uint8], fused: NDArray[np.uint8]) -> float | None:
    """Squared levels of the visible difference where a source is salient, 0 or more; None if both are constant."""
    pictures = [stretched(picture) for picture in (ir, vis, fused)]
    saliency = [_block_sums(_edges(picture) ** SALIENCY) for picture in pictures[:2]]
    weight = float(sum(s.sum() for s in saliency))
    if weight == 0:
        return None
    sensitivity = _sensitivity(*fused.shape)
    difference = [_seen(picture - pictures[2], sensitivity) for picture in pictures[:2]]
    return float(sum((s * d).sum() for s, d in zip(saliency, difference, strict=True))) / weight


def stretched(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The picture from 0 to 255 in whole levels; a constant one as it is."""
    low, high = int(picture.min()), int(picture.max())
    f = picture.astype(np.float64)
    return np.floor((f - low) / (high - low) * 255 + 0.5) if high > low else f  # half up, as in the reference


def _edges(f: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sobel's edge strength, zeros outside."""
    across, down = (cv2.Sobel(f, cv2.CV_64F, *order, borderType=cv2.BORDER_CONSTANT) for order in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(across, down), np.float64)


def _sensitivity(height: int, width: int) -> NDArray[np.float64]:
    """S(r) for each frequency of a real Fourier transform, (H, W // 2 + 1)."""
    rows, columns = np.fft.fftfreq(height, 1 / height), np.fft.rfftfreq(width, 1 / width)
    r = 0.144 * np.hypot(rows[:, None], columns) / CYCLES
    return np.asarray(2.6 * (0.0192 + r) * np.exp(-(r**1.1)), np.float64)


def _seen(difference: NDArray[np.float64], sensitivity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean square of the filtered difference in each block."""
    filtered = np.fft.irfft2(np.fft.rfft2(difference) * sensitivity, difference.shape)
    return _block_sums(filtered**2) / BLOCK**2


def _block_sums(f: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = f.shape
    full = np.pad(f, ((0, -height % BLOCK), (0, -width % BLOCK)))
    rows, columns = full.shape
    return np.asarray(full.reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK).sum((1, 3)), np.float64)
