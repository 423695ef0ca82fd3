"""DenseFuse: Li, Wu, "DenseFuse: A Fusion Approach to Infrared and Visible Images", IEEE TIP 28(5), 2019 (2018 online).

As published: an auto-encoder learns to rebuild single pictures; its encoder is one layer and a block of three in which
each sees all before it (16, 32, 48 maps in, 64 out); the maps of two pictures are fused by a rule without weights,
addition or the l1-norm, and decoded by four layers. What differs: it learned from our pairs, both cameras' pictures,
instead of MS-COCO; convolutions are unpadded; the pixel loss is the root of the mean square in levels, beside
100 (1 - SSIM); and addition takes half the sum, so that two equal pictures come back as they are.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.baselines.base import Baseline, Layer, add_inner, inner
from training.graph import Graph
from training.loss import reconstruction_loss

BLOCK = 3
"""Layers of the dense block."""
GROWTH = 16
"""Maps that each adds."""
DEPTH = 8
"""px that encoder and decoder eat: 1 + 3, 4."""
TINY = 1e-6
"""Makes the l1 weights of two empty places one half."""


class DenseFuse(Baseline):
    """Dense encoder, addition, decoder: 74,000 weights."""

    margin = DEPTH

    def __init__(self) -> None:
        super().__init__()
        self.first = Layer(1, GROWTH)
        self.dense = nn.ModuleList(Layer(GROWTH * (k + 1), GROWTH) for k in range(BLOCK))
        widths = (GROWTH * (BLOCK + 1), 64, 32, 16)
        last = Layer(widths[-1], 1, slope=None)
        self.decode = nn.Sequential(*(Layer(a, b) for a, b in itertools.pairwise(widths)), last)

    def encode(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 64, H - 8, W - 8), not negative."""
        x = self.first(luma)  # (N, 16, H-2, W-2)
        for layer in self.dense:
            x = torch.cat([inner(x, 1), layer(x)], 1)
        return x

    def fuse(self, ir: Tensor, vis: Tensor) -> Tensor:
        """The rule: half the sum of (N, 64, h, w)."""
        return (ir + vis) / 2

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """See `Baseline`."""
        return self.decode(self.fuse(self.encode(ir), self.encode(vis)))

    def loss(self, ir: Tensor, vis: Tensor, dice: torch.Generator) -> Tensor:
        """Of rebuilding both pictures, each for itself; the rule takes no part."""
        both = torch.cat([ir, vis])
        return reconstruction_loss(self.decode(self.encode(both)), inner(both, DEPTH))

    def write(self, graph: Graph) -> None:
        """See `Baseline`."""
        for name in ("ir", "vis"):
            x = self.add(graph, "first", f"{name}_luma", name)
            for k in range(BLOCK):
                before, more = add_inner(graph, x, 1, f"{name}/inner{k}"), self.add(graph, f"dense.{k}", x, name)
                x = graph.add("Concat", before, more, out=f"{name}/dense{k}", axis=1)
            graph.add("Identity", x, out=f"{name}_features")
        self.write_rule(graph)
        graph.add("Identity", self.add(graph, "decode", "features", "fused"), out="luma")

    def write_rule(self, graph: Graph) -> None:
        """`ir_features`, `vis_features` -> `features`: what `fuse` does."""
        graph.add("Add", "ir_features", "vis_features", out="added")
        graph.add("Mul", "added", graph.constant("half", 0.5, np.float32), out="features")


class DenseFuseL1(DenseFuse):
    """The same network with the other rule: each place weighted by the sum of its maps, smoothed 3x3."""

    margin = DEPTH + 1

    def fuse(self, ir: Tensor, vis: Tensor) -> Tensor:
        """(N, 64, h, w) twice -> (N, 64, h - 2, w - 2)."""
        activity_ir, activity_vis = (functional.avg_pool2d(x.sum(1, keepdim=True), 3, stride=1) for x in (ir, vis))
        share = (activity_ir + TINY) / (activity_ir + activity_vis + 2 * TINY)
        return share * inner(ir, 1) + (1 - share) * inner(vis, 1)

    def write_rule(self, graph: Graph) -> None:
        """See `DenseFuse`."""
        maps, tiny = graph.constant("axis_channel", [1], np.int64), graph.constant("tiny", TINY, np.float32)
        for name in ("ir", "vis"):
            graph.add("ReduceSum", f"{name}_features", maps, out=f"{name}_sum", keepdims=1)
            graph.add("AveragePool", f"{name}_sum", out=f"{name}_mean", kernel_shape=[3, 3])
            graph.add("Add", f"{name}_mean", tiny, out=f"{name}_activity")
            add_inner(graph, f"{name}_features", 1, f"{name}_inner")
        graph.add("Add", "ir_activity", "vis_activity", out="activity")
        graph.add("Div", "ir_activity", "activity", out="share")
        graph.add("Sub", graph.constant("one", 1, np.float32), "share", out="rest")
        graph.add("Mul", "share", "ir_inner", out="ir_part")
        graph.add("Mul", "rest", "vis_inner", out="vis_part")
        graph.add("Add", "ir_part", "vis_part", out="features")
