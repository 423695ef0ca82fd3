"""Small filters that the terms of the fusion loss share. Planes are (N, 1, H, W)."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional


def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel / 4 across and down, the border reflected: a ramp of one a pixel gives 2."""
    kernel = x.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])[None, None] / 4
    x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    return functional.conv2d(x, kernel), functional.conv2d(x, kernel.transpose(2, 3))


def gaussian(x: Tensor, size: int, sigma: float) -> Tensor:
    """Weighted mean in each window of size x size that fits."""
    window = _gaussian_row(size, sigma).to(x)
    return functional.conv2d(functional.conv2d(x, window), window.transpose(2, 3))


def box(x: Tensor, size: int) -> Tensor:
    """Mean in a window of size x size around each pixel, the border reflected."""
    half = size // 2
    return functional.avg_pool2d(functional.pad(x, (half,) * 4, mode="reflect"), size, 1)


def box_inside(x: Tensor, size: int) -> Tensor:
    """Mean in each window of size x size that fits."""
    return functional.avg_pool2d(x, size, 1)


@functools.cache
def _gaussian_row(size: int, sigma: float) -> Tensor:
    offsets = torch.arange(size) - (size - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return (weights / weights.sum()).view(1, 1, 1, size)
