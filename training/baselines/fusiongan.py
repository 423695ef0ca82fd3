"""FusionGAN: Ma, Yu, Liang, Li, Jiang, "FusionGAN: A generative adversarial network for infrared and visible image
fusion", Information Fusion 48, 2019.

As published: five layers (5x5, 5x5, 3x3, 3x3, 1x1; batch normalisation, leaky ReLU, tanh) make a picture of both,
which is to have infrared's brightness and visible's gradients; a second network, which tells visible pictures from
fused ones, pulls it further towards visible detail. What differs: a quarter of the maps in the generator (64, 32, 16,
8), so that it trains on a CPU and is small; our pairs instead of TNO, on which it is measured here; both networks take
a step together, instead of two of the second for one of the first; the second ends in a mean over places before its
linear layer; convolutions of the generator are unpadded.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.baselines.base import Baseline, Layer, inner
from training.graph import Graph

SLOPE = 0.2
"""Of the leaky ReLU."""
WIDTHS = (64, 32, 16, 8)
"""Maps of the generator."""
XI = 5.0
"""Weight of gradients against brightness."""
LAMBDA = 100.0
"""Weight of the content against the opponent."""
REAL, FAKE = (0.7, 1.2), (0.0, 0.3)
"""Ranges that the labels of visible and of fused pictures are drawn from."""


class FusionGAN(Baseline):
    """Generator of 60,000 weights, and its opponent, which is left behind after training."""

    margin = 6

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        layers = [
            Layer(x, y, n, slope=SLOPE, is_normalised=True) for x, y, n in ((2, a, 5), (a, b, 5), (b, c, 3), (c, d, 3))
        ]
        self.generate = nn.Sequential(*layers, Layer(d, 1, 1, slope=None))
        self.opponent = Opponent()

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """See `Baseline`."""
        return torch.tanh(self.generate(torch.cat([ir, vis], 1))) / 2 + 0.5

    def loss(self, ir: Tensor, vis: Tensor, dice: torch.Generator) -> Tensor:
        """That of the generator and that of its opponent; neither reaches the other's weights."""
        fused, ir, vis = self(ir, vis), inner(ir, self.margin), inner(vis, self.margin)
        self.opponent.requires_grad_(False)
        generator = _miss(self.opponent(fused), REAL, dice) + LAMBDA * content_loss(fused, ir, vis)
        self.opponent.requires_grad_(True)
        opponent = _miss(self.opponent(vis), REAL, dice) + _miss(self.opponent(fused.detach()), FAKE, dice)
        return generator + opponent

    def held_loss(self, ir: Tensor, vis: Tensor, dice: torch.Generator) -> Tensor:
        """The content alone: the opponent's opinion changes as it learns."""
        return content_loss(self(ir, vis), inner(ir, self.margin), inner(vis, self.margin))

    def write(self, graph: Graph) -> None:
        """See `Baseline`."""
        graph.add("Concat", "ir_luma", "vis_luma", out="both", axis=1)
        graph.add("Tanh", self.add(graph, "generate", "both", "fused"), out="tanh")
        half = graph.constant("half", 0.5, np.float32)
        graph.add("Mul", "tanh", half, out="tanh_half")
        graph.add("Add", "tanh_half", half, out="luma")


class Opponent(nn.Module):
    """Tells visible pictures from fused ones: four layers of stride 2 and a linear one."""

    def __init__(self) -> None:
        super().__init__()
        widths, layers = (1, 32, 64, 128, 256), list[nn.Module]()
        for k, (a, b) in enumerate(itertools.pairwise(widths)):
            norm = nn.BatchNorm2d(b) if k else nn.Identity()
            layers += [nn.Conv2d(a, b, 3, stride=2), norm, nn.LeakyReLU(SLOPE)]
        self.layers, self.last = nn.Sequential(*layers), nn.Linear(widths[-1], 1)

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in 0..1, 31 px or more -> (N,): about 1 for visible, about 0 for fused."""
        return self.last(self.layers(2 * luma - 1).mean((2, 3)))[:, 0]


def content_loss(fused: Tensor, ir: Tensor, vis: Tensor) -> Tensor:
    """Mean square distance to infrared, and XI times that of the Laplacian to visible's; luma as in -1..1. A scalar."""
    brightness = ((2 * (fused - ir)) ** 2).mean()
    return brightness + XI * (_laplacian(2 * (fused - vis)) ** 2).mean()


def _laplacian(x: Tensor) -> Tensor:
    kernel = x.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    return functional.conv2d(x, kernel)


def _miss(found: Tensor, labels: tuple[float, float], dice: torch.Generator) -> Tensor:
    """Mean square distance to labels drawn from a range."""
    low, high = labels
    wanted = low + (high - low) * torch.rand(len(found), generator=dice).to(found.device)
    return ((found - wanted) ** 2).mean()
