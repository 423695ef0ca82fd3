"""DeepFuse: Prabhakar, Srikar, Babu, "DeepFuse: A Deep Unsupervised Approach for Exposure Fusion", ICCV 2017.

As published: the same two layers (5x5, 7x7) see both pictures, their 32 maps are added, three layers (7x7, 5x5, 5x5)
make the picture, and the loss is MEF-SSIM, which needs no ideal result. What differs: the authors learned from pairs
of exposures, ours learns from infrared and visible pairs; convolutions are unpadded; the weights of the two structures
are a fixed power of their contrast, where MEF-SSIM adapts the power; and as MEF-SSIM without its luminance leaves
brightness open, a term holds it to the mean of both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.baselines.base import Baseline, Layer, inner
from training.graph import Graph

WINDOW = 8
"""px, MEF-SSIM's patch (Ma, Zeng, Wang 2015)."""
C = 0.03**2
"""Stabiliser of SSIM's second factor, with luma in 0..1."""
POWER = 2
"""Structures are weighted by this power of their contrast."""
BRIGHTNESS = 1.0
"""Weight of the brightness term, whose unit is the range of luma."""
TINY = 1e-6
"""A variance far below that of one level."""


class DeepFuse(Baseline):
    """Two shared layers, the sum, three layers: 89,000 weights."""

    margin = 12

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(Layer(1, 16, 5), Layer(16, 32, 7))
        self.decode = nn.Sequential(Layer(32, 32, 7), Layer(32, 16, 5), Layer(16, 1, 5, slope=None))

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """See `Baseline`. The same for both orders of its inputs."""
        first, second = self.encode(torch.cat([ir, vis])).chunk(2)
        return self.decode(first + second)

    def loss(self, ir: Tensor, vis: Tensor, dice: torch.Generator) -> Tensor:
        """1 - MEF-SSIM of the fused picture, and its brightness."""
        fused, ir, vis = self(ir, vis), inner(ir, self.margin), inner(vis, self.margin)
        brightness = (_mean(fused) - (_mean(ir) + _mean(vis)) / 2).abs().mean()
        return 1 - mef_ssim(ir, vis, fused) + BRIGHTNESS * brightness

    def write(self, graph: Graph) -> None:
        """See `Baseline`."""
        both = [self.add(graph, "encode", f"{name}_luma", name) for name in ("ir", "vis")]
        graph.add("Add", *both, out="added")
        graph.add("Identity", self.add(graph, "decode", "added", "fused"), out="luma")


def mef_ssim(first: Tensor, second: Tensor, fused: Tensor) -> Tensor:
    """Structural similarity of (N, 1, H, W) to the patch wanted of both: largest contrast, weighted structure.

    The wanted patch is c (a1 y1 + a2 y2) / |a1 y1 + a2 y2| with y the patches less their means, c the larger of their
    deviations, a their deviations to the power of `POWER` - 1. A scalar, 1 at most.
    """
    mean_1, mean_2, mean_f = (_mean(x) for x in (first, second, fused))
    var_1, var_2 = (((_mean(x * x) - m * m).clamp_min(0) + TINY) for x, m in ((first, mean_1), (second, mean_2)))
    a1, a2 = (var ** ((POWER - 1) / 2) for var in (var_1, var_2))
    cov_12 = _mean(first * second) - mean_1 * mean_2
    cov_1f, cov_2f = _mean(first * fused) - mean_1 * mean_f, _mean(second * fused) - mean_2 * mean_f
    length = (a1**2 * var_1 + a2**2 * var_2 + 2 * a1 * a2 * cov_12).clamp_min(TINY**POWER).sqrt()
    contrast = torch.maximum(var_1, var_2).sqrt()
    cov = contrast * (a1 * cov_1f + a2 * cov_2f) / length
    var_f = _mean(fused * fused) - mean_f**2
    return ((2 * cov + C) / (contrast**2 + var_f + C)).mean()


def _mean(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, WINDOW, stride=1)
