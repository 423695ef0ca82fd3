"""Pictures that are each sharp where the other is blurred, made of sharp ones: what multi-focus fusion learns from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RADIUS = 6
"""px of the Gaussian's window: three times the smallest, twice the largest deviation."""
DEVIATIONS = (1.0, 3.0)
"""px, the range that the blur is drawn from."""
PATCHES = (2, 6)
"""Cells along a side of the noise that the sharp regions are cut from; the last is not drawn."""


def blurred(sharp: Tensor, dice: torch.Generator) -> Tensor:
    """(N, 1, H, W) by a Gaussian whose deviation is drawn once for all N; reflected at the border."""
    low, high = DEVIATIONS
    deviation = low + (high - low) * torch.rand(1, generator=dice).item()
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=sharp.dtype, device=sharp.device)
    window = torch.exp(-(offsets**2) / (2 * deviation**2))
    window = (window / window.sum()).view(1, 1, -1, 1)
    padded = functional.pad(sharp, [RADIUS] * 4, mode="reflect")
    return functional.conv2d(functional.conv2d(padded, window), window.transpose(2, 3))


def half_blurred(sharp: Tensor, dice: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """First, second and mask of (N, 1, H, W): the first is sharp where the mask is True, the second elsewhere."""
    soft = blurred(sharp, dice)
    cells = int(torch.randint(*PATCHES, (1,), generator=dice))
    noise = torch.randn(len(sharp), 1, cells, cells, generator=dice).to(sharp.device)
    mask = functional.interpolate(noise, sharp.shape[2:], mode="bicubic") > 0
    return torch.where(mask, sharp, soft), torch.where(mask, soft, sharp), mask
