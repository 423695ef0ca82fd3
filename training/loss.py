"""The paper's loss (Eq. 5-7): root mean square error on the 0..255 scale plus 100 (1 - SSIM)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LAMBDA = 100.0
"""Weight of the structural term, section 3.2: makes both terms of one order of magnitude."""
WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
"""(K1 L)^2 with L = 1: luma is in 0..1 here."""
C2 = 0.03**2
TINY = 1e-8
"""Keeps the gradient of the root finite at a perfect reconstruction."""


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each pair, (N,). Inputs (N, 1, H, W) in 0..1, H and W at least 11.

    Wang et al. 2004: Gaussian window 11x11, sigma 1.5, averaged over the area the window fits into.
    """
    window = _gaussian(x)
    stack = torch.cat([x, y, x * x, y * y, x * y])
    blurred = functional.conv2d(functional.conv2d(stack, window), window.transpose(2, 3))
    mean_x, mean_y, xx, yy, xy = blurred.chunk(5)
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + C1) * (2 * cov + C2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))
    return similarity.mean((1, 2, 3))


def rmse(x: Tensor, y: Tensor) -> Tensor:
    """Root mean square error of each pair on the 0..255 scale, (N,). Inputs (N, 1, H, W) in 0..1.

    Eq. 6 as printed is a mean of signed differences, which has no minimum; the square and root are ours.
    """
    return 255 * torch.sqrt(((x - y) ** 2).mean((1, 2, 3)) + TINY)


def reconstruction_loss(rebuilt: Tensor, original: Tensor) -> Tensor:
    """Eq. 5 for one modality: mean over the batch of RMSE + 100 (1 - SSIM), a scalar.

    A mean of terms of single pictures, so that the gradient of a batch split over processes is the same.
    """
    return (rmse(rebuilt, original) + LAMBDA * (1 - ssim(rebuilt, original))).mean()


def _gaussian(like: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    return (weights / weights.sum()).view(1, 1, WINDOW, 1)
