"""Terms of the fusion loss on edges and structure. Luma (N, 1, H, W) in 0..1; each gives a scalar.

They are smooth forms of `training.metrics`: what is measured there with hard angles and counts is differentiable here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.fusion.filters import box_inside, gaussian, gradient

WINDOW = 11
SIGMA = 1.5
SCALES = (0.0448, 0.2856, 0.3001)
"""Weights of MS-SSIM's scales, finest first, before they are made to sum to 1."""
C = (0.03 * 255) ** 2
LARGEST_POWER = 10.0
TINY = 1e-3


def gradient_loss(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """Mean distance of the fused gradient from that of the source with the stronger edge at each pixel."""
    of_ir, of_vis, of_fused = (gradient(x) for x in (ir, vis, fused))
    is_ir = of_ir[0].abs() + of_ir[1].abs() > of_vis[0].abs() + of_vis[1].abs()
    parts = ((f - torch.where(is_ir, a, b)).abs().mean() for a, b, f in zip(of_ir, of_vis, of_fused, strict=True))
    return sum(parts, fused.new_zeros(()))


def edge_share(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """Qabf with the angle between two edges in place of a difference of angles: 0..1."""
    fx, fy = (4 * 255 * g for g in gradient(fused))
    strength = torch.sqrt(fx * fx + fy * fy + TINY)
    kept = whole = fused.new_zeros(len(fused))
    for source in (ir, vis):
        sx, sy = (4 * 255 * g for g in gradient(source))
        own = torch.sqrt(sx * sx + sy * sy + TINY)
        G = torch.minimum(own, strength) / torch.maximum(own, strength)
        cosine = ((sx * fx + sy * fy).abs() / (own * strength)).clamp(0, 0.9999)
        A = 1 - torch.acos(cosine) / (math.pi / 2)
        Q = 0.9994 * torch.sigmoid(15 * (G - 0.5)) * 0.9879 * torch.sigmoid(22 * (A - 0.8))
        kept, whole = kept + (Q * own).sum((1, 2, 3)), whole + own.sum((1, 2, 3))
    return (kept / (whole + TINY)).mean()


def ms_ssim(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """`training.metrics.ms_ssim` of a batch, its mean over windows taken over the whole batch."""
    value = fused.new_ones(())
    for scale, weight in enumerate(SCALES):
        if scale:
            ir, vis, fused = (functional.avg_pool2d(x, 2) for x in (ir, vis, fused))
        quality = _quality(255 * ir, 255 * vis, 255 * fused).clamp_min(TINY)
        value = value * quality ** (weight / sum(SCALES))
    return value


def _quality(a: Tensor, b: Tensor, f: Tensor) -> Tensor:
    """Q of one scale: r = u a + v b is wanted, but for a constant."""
    with torch.no_grad():
        u, v = _wanted(a, b)
        mean_a, mean_b = _gauss(a), _gauss(b)
        var_a, var_b = _gauss(a * a) - mean_a**2, _gauss(b * b) - mean_b**2
        cov_ab = _gauss(a * b) - mean_a * mean_b
        var_r = (u * u * var_a + 2 * u * v * cov_ab + v * v * var_b).clamp_min(0)
    mean_f = _gauss(f)
    var_f = (_gauss(f * f) - mean_f**2).clamp_min(0)
    cov = u * (_gauss(a * f) - mean_a * mean_f) + v * (_gauss(b * f) - mean_b * mean_f)
    return ((2 * cov + C) / (var_r + var_f + C)).mean()


def _wanted(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The sources' shares of the structure that is wanted in each window."""
    area = WINDOW**2
    mean_a, mean_b, mean_ab = (box_inside(x, WINDOW) for x in (a, b, a * b))
    square_a, square_b = (
        (area * (box_inside(x * x, WINDOW) - m * m)).clamp_min(0) for x, m in ((a, mean_a), (b, mean_b))
    )
    product = area * (mean_ab - mean_a * mean_b)
    contrast_a, contrast_b = square_a.sqrt(), square_b.sqrt()
    whole = (square_a + square_b + 2 * product).clamp_min(0).sqrt()
    R = ((whole + 1e-9) / (contrast_a + contrast_b + 1e-9)).clamp(1e-9, 1 - 1e-6)
    p = torch.tan(math.pi / 2 * R).clamp_max(LARGEST_POWER)
    contrast_a, contrast_b = contrast_a + TINY, contrast_b + TINY
    share = torch.sigmoid(p * (torch.log(contrast_a / WINDOW) - torch.log(contrast_b / WINDOW)))
    u, v = share / contrast_a, (1 - share) / contrast_b
    length = (u * u * square_a + 2 * u * v * product + v * v * square_b).clamp_min(1e-12).sqrt()
    grown = torch.maximum(contrast_a, contrast_b) / length
    return u * grown, v * grown


def _gauss(x: Tensor) -> Tensor:
    return gaussian(x, WINDOW, SIGMA)
