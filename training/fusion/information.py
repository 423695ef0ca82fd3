"""Terms of the fusion loss on what the fused picture tells of its sources. Luma (N, 1, H, W) in 0..1; scalars."""

from __future__ import annotations

import torch
from torch import Tensor

from training.fusion.filters import gaussian

WINDOWS = (17, 9, 5, 3)
"""px, one a scale of VIF; sigma is a fifth."""
NOISE = 2.0
"""Variance of the visual noise, levels^2."""
TINY = 1e-3
BINS = 64
"""Of the joint histogram."""
SAMPLES = 20_000
"""Pixels of a picture that the histogram is made of, at most."""


def correlation(u: Tensor, v: Tensor) -> Tensor:
    """Mean over the batch of the pictures' Pearson correlation."""
    u, v = (x - x.mean((2, 3), keepdim=True) for x in (u, v))
    product, square_u, square_v = ((x).mean((2, 3)) for x in (u * v, u * u, v * v))
    return (product / torch.sqrt(square_u * square_v + 1e-6)).mean()


def scd(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """Sum of the correlations of differences, -2..2; see `training.metrics.correlation`."""
    return correlation(fused - vis, ir) + correlation(fused - ir, vis)


def vifp(reference: Tensor, picture: Tensor) -> Tensor:
    """Share of the reference's information that the picture has; see `training.metrics.vif`."""
    r, f = 255 * reference, 255 * picture
    kept = whole = f.new_zeros(len(f))
    for scale, size in enumerate(WINDOWS):
        if scale:
            r, f = (gaussian(x, size, size / 5)[..., ::2, ::2] for x in (r, f))
        if min(r.shape[2:]) < size:
            break
        mean_r, mean_f, rr, ff, rf = (gaussian(x, size, size / 5) for x in (r, f, r * r, f * f, r * f))
        var_r, var_f = (rr - mean_r**2).clamp_min(0), (ff - mean_f**2).clamp_min(0)
        cov = rf - mean_r * mean_f
        g = cov.clamp_min(0) / (var_r + TINY)
        rest = (var_f - g * cov).clamp_min(TINY)
        kept = kept + torch.log1p(g * g * var_r / (rest + NOISE)).sum((1, 2, 3))
        whole = whole + torch.log1p(var_r / NOISE).sum((1, 2, 3))
    return (kept / (whole + TINY)).mean()


def mutual_information(source: Tensor, fused: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Mean over the batch of the mutual information of two pictures, bits.

    Every pixel is shared among the four nearest cells of a histogram of `BINS` x `BINS`, so that it has a gradient.
    generator: draws the pixels of pictures that have more than `SAMPLES`.
    """
    total = fused.new_zeros(())
    for x, y in zip(source.flatten(1), fused.flatten(1), strict=True):
        if len(x) > SAMPLES:
            chosen = torch.randint(len(x), (SAMPLES,), generator=generator).to(x.device)
            x, y = x[chosen], y[chosen]
        joint = _joint_histogram(x, y)
        independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
        total = total + (joint * torch.log2((joint + 1e-9) / (independent + 1e-9))).sum()
    return total / len(fused)


def _joint_histogram(x: Tensor, y: Tensor) -> Tensor:
    """(BINS, BINS), sums to 1."""
    places = [value.clamp(0, 1) * (BINS - 1) for value in (x, y)]
    lower = [place.detach().floor().clamp(0, BINS - 2) for place in places]
    over_x, over_y = (place - low for place, low in zip(places, lower, strict=True))
    first = lower[0].long() * BINS + lower[1].long()
    histogram = x.new_zeros(BINS * BINS)
    for step_x, weight_x in ((0, 1 - over_x), (1, over_x)):
        for step_y, weight_y in ((0, 1 - over_y), (1, over_y)):
            histogram = histogram.index_add(0, first + step_x * BINS + step_y, weight_x * weight_y)
    return (histogram / histogram.sum()).view(BINS, BINS)
