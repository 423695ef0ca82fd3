"""MFCNN: Liu, Chen, Peng, Wang, "Multi-focus image fusion with a deep convolutional neural network", Information
Fusion 36, 2017.

As published: a network sees a patch of 16x16 px of both pictures through the same layers and says which is sharper;
run over all patches and averaged where they overlap, this gives a map of decisions, which is made consistent, smoothed
by a guided filter and used to take each pixel from one picture or the other. It learns from sharp and blurred patches,
and on infrared and visible takes what has more detail. What differs: a quarter of the maps and a smaller linear layer
(155,000 weights in all), so that it is small; the sharp patches are those of our pairs, not of ImageNet, and flat ones,
which no blur changes, are left out; convolutions are unpadded; and small regions of the map are removed by a majority
vote over 17x17 px, as a graph cannot measure the area of a region.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.baselines.base import Baseline, Layer, add_inner, inner
from training.baselines.focus import blurred
from training.graph import Graph

PATCH = 16
"""px; its score is known at every second pixel."""
OVERLAP = PATCH // 2
"""Scores along a side that see the same two pixels."""
RADIUS = 8
"""px of the vote and of the guided filter."""
EPSILON = 0.1
"""Of the guided filter, with luma in 0..1, as published."""
FLAT = 1 / 255
"""A patch that blurring changes by less on average has no right answer."""


class MFCNN(Baseline):
    """Which of two is sharper, everywhere."""

    margin = PATCH - 2 + 3 * RADIUS
    multiple = 2

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(Layer(1, 16), Layer(16, 32))
        self.coarse = Layer(32, 64)
        self.judge = nn.Sequential(Layer(128, 64, 4), Layer(64, 1, 1, slope=None))

    def logits(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, 1, H, W) twice -> (N, 1, H/2 - 7, W/2 - 7), above 0 where the first is sharper: one for each patch."""
        x = self.coarse(functional.max_pool2d(self.fine(torch.cat([first, second])), 2))
        return self.judge(torch.cat(x.chunk(2), 1))

    def decisions(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, 1, H - 44, W - 44) of 0 and 1, 1 where the first is taken: overlapping scores averaged, then the vote."""
        scores = functional.avg_pool2d(torch.sigmoid(self.logits(first, second)), OVERLAP, stride=1)
        scores = functional.interpolate(scores, scale_factor=2.0, mode="nearest")  # (N, 1, H-28, W-28)
        return (_box((scores > 0.5).float()) > 0.5).float()

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """See `Baseline`."""
        taken = self.decisions(ir, vis)
        ir, vis = (inner(x, PATCH - 2 + RADIUS) for x in (ir, vis))
        guide = torch.where(taken > 0.5, ir, vis)
        mean_guide, mean_taken = _box(guide), _box(taken)
        a = (_box(guide * taken) - mean_guide * mean_taken) / (_box(guide * guide) - mean_guide**2 + EPSILON)
        b = mean_taken - a * mean_guide
        ir, vis, guide = (inner(x, 2 * RADIUS) for x in (ir, vis, guide))
        share = (_box(a) * guide + _box(b)).clamp(0, 1)
        return share * ir + (1 - share) * vis

    def loss(self, ir: Tensor, vis: Tensor, dice: torch.Generator) -> Tensor:
        """Cross entropy over all patches of both cameras' pictures, the sharp one put first or second at random."""
        sharp = torch.cat([ir, vis])
        soft = blurred(sharp, dice)
        is_first = (torch.rand(len(sharp), 1, 1, 1, generator=dice) < 0.5).to(sharp.device)
        logits = self.logits(torch.where(is_first, sharp, soft), torch.where(is_first, soft, sharp))
        change = functional.avg_pool2d((sharp - soft).abs(), PATCH, stride=2)
        weight = (change > FLAT).float()
        right = is_first.float().expand_as(logits)
        entropy = functional.binary_cross_entropy_with_logits(logits, right, weight, reduction="sum")
        return entropy / weight.sum().clamp_min(1)

    def write(self, graph: Graph) -> None:
        """See `Baseline`."""
        _write_decisions(self, graph)
        for name in ("ir", "vis"):
            add_inner(graph, f"{name}_luma", PATCH - 2 + RADIUS, f"{name}_near")
            add_inner(graph, f"{name}_near", 2 * RADIUS, f"{name}_inner")
        _write_filter(graph)
        graph.add("Sub", graph.constant("one", 1, np.float32), "share", out="rest")
        graph.add("Mul", "share", "ir_inner", out="ir_part")
        graph.add("Mul", "rest", "vis_inner", out="vis_part")
        graph.add("Add", "ir_part", "vis_part", out="luma")


def _box(x: Tensor) -> Tensor:
    """Mean over 17x17 px, one axis after the other."""
    side = 2 * RADIUS + 1
    return functional.avg_pool2d(functional.avg_pool2d(x, (side, 1), stride=1), (1, side), stride=1)


def _add_box(graph: Graph, x: str, out: str) -> str:
    side = 2 * RADIUS + 1
    graph.add("AveragePool", x, out=f"{out}_rows", kernel_shape=[side, 1])
    return graph.add("AveragePool", f"{out}_rows", out=out, kernel_shape=[1, side])


def _write_decisions(network: MFCNN, graph: Graph) -> None:
    """`ir_luma`, `vis_luma` -> `is_taken`, `taken`."""
    both = []
    for name in ("ir", "vis"):
        x = network.add(graph, "fine", f"{name}_luma", name)
        graph.add("MaxPool", x, out=f"{name}_pool", kernel_shape=[2, 2], strides=[2, 2])
        both.append(network.add(graph, "coarse", f"{name}_pool", name))
    graph.add("Concat", *both, out="both", axis=1)
    graph.add("Sigmoid", network.add(graph, "judge", "both", "both"), out="score")
    graph.add("AveragePool", "score", out="score_mean", kernel_shape=[OVERLAP] * 2)
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    graph.add("Resize", "score_mean", "", graph.constant("twice", [1, 1, 2, 2], np.float32), out="score_full", **how)
    half = graph.constant("half", 0.5, np.float32)
    graph.add("Greater", "score_full", half, out="is_sharper")
    graph.add("Cast", "is_sharper", out="sharper", to=1)
    graph.add("Greater", _add_box(graph, "sharper", "vote"), half, out="is_taken")
    graph.add("Cast", "is_taken", out="taken", to=1)


def _write_filter(graph: Graph) -> None:
    """The guided filter: `is_taken`, `taken`, `ir_near`, `vis_near` -> `share`."""
    graph.add("Where", "is_taken", "ir_near", "vis_near", out="guide")
    graph.add("Mul", "guide", "taken", out="product")
    graph.add("Mul", "guide", "guide", out="square")
    for name in ("guide", "taken", "product", "square"):
        _add_box(graph, name, f"{name}_mean")
    graph.add("Mul", "guide_mean", "taken_mean", out="mean_product")
    graph.add("Mul", "guide_mean", "guide_mean", out="mean_square")
    graph.add("Sub", "product_mean", "mean_product", out="covariance")
    graph.add("Sub", "square_mean", "mean_square", out="variance")
    graph.add("Add", "variance", graph.constant("epsilon", EPSILON, np.float32), out="divisor")
    graph.add("Div", "covariance", "divisor", out="a")
    graph.add("Mul", "a", "guide_mean", out="a_mean_guide")
    graph.add("Sub", "taken_mean", "a_mean_guide", out="b")
    graph.add("Mul", _add_box(graph, "a", "a_mean"), add_inner(graph, "guide", 2 * RADIUS, "guide_inner"), out="slope")
    graph.add("Add", "slope", _add_box(graph, "b", "b_mean"), out="share_raw")
    limits = graph.constant("black", 0, np.float32), graph.constant("one", 1, np.float32)
    graph.add("Clip", "share_raw", *limits, out="share")
