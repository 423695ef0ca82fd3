"""What every baseline network is: what it computes, what it learns, and how its graph is written."""

from __future__ import annotations

from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.graph import Graph
from training.vgg import Weights


class Layer(nn.Module):
    """An unpadded convolution, a batch normalisation if it has one, and a ReLU, leaky ReLU or nothing."""

    def __init__(
        self, inputs: int, outputs: int, size: int = 3, *, slope: float | None = 0.0, is_normalised: bool = False
    ) -> None:
        """slope: of the negative side, 0 for a plain ReLU; None for no ReLU at all."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size)
        self.norm = nn.BatchNorm2d(outputs) if is_normalised else None
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H - size + 1, W - size + 1)."""
        x = self.conv(x)
        x = x if self.norm is None else self.norm(x)
        return x if self.slope is None else functional.leaky_relu(x, self.slope)


class Baseline(nn.Module):
    """A network that fuses two lumas in 0..1. Unpadded, as ours is: callers give `margin` pixels of context."""

    margin: ClassVar[int]
    """Pixels that the convolutions eat at each border."""
    multiple: ClassVar[int] = 1
    """Sides of what goes in are multiples of this, px."""
    from_vgg: ClassVar[bool] = False
    """Whether it can start from VGG19's first layer."""

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """Fused luma (N, 1, H - 2 margin, W - 2 margin), nominally in 0..1, of two (N, 1, H, W)."""
        raise NotImplementedError

    def loss(self, ir: Tensor, vis: Tensor, dice: torch.Generator) -> Tensor:
        """What training makes small, a scalar. dice: for what is drawn at random; the same give the same loss."""
        raise NotImplementedError

    def held_loss(self, ir: Tensor, vis: Tensor, dice: torch.Generator) -> Tensor:
        """What tells on pairs held back whether it still learns: the loss, unless an opponent is part of that."""
        return self.loss(ir, vis, dice)

    def start_from(self, weights: Weights) -> None:
        """Take over VGG19's weights, in place; only where `from_vgg`."""
        raise NotImplementedError

    def write(self, graph: Graph) -> None:
        """Append the nodes that make `luma` of `ir_luma` and `vis_luma`: what `forward` does."""
        raise NotImplementedError

    def add(self, graph: Graph, path: str, x: str, tag: str) -> str:
        """Append the `Layer` at a path of this network, or the sequence of them; its output's name.

        tag: tells apart the uses of weights that are used twice.
        """
        part = self.get_submodule(path)
        if isinstance(part, nn.Sequential):
            for number in range(len(part)):
                x = self.add(graph, f"{path}.{number}", x, tag)
            return x
        layer = cast(Layer, part)
        x = graph.conv(x, path, f"{tag}/{path}")
        if layer.slope is None:
            return x
        if layer.slope == 0:
            return graph.add("Relu", x, out=f"{tag}/{path}/relu")
        return graph.add("LeakyRelu", x, out=f"{tag}/{path}/relu", alpha=layer.slope)


def inner(x: Tensor, margin: int) -> Tensor:
    """(N, C, H, W) without `margin` pixels at each border."""
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]


def add_inner(graph: Graph, x: str, margin: int, out: str) -> str:
    """`inner` as a node."""
    ends = (
        graph.constant(f"from_{margin}", [margin] * 2, np.int64),
        graph.constant(f"to_{margin}", [-margin] * 2, np.int64),
        graph.constant("axes_space", [2, 3], np.int64),
    )
    return graph.add("Slice", x, *ends, out=out)


def folded_weights(network: Baseline) -> dict[str, NDArray[np.float32]]:
    """`<path>.weight` and `<path>.bias` of every `Layer`, its batch normalisation folded in. The network is in eval."""
    weights: dict[str, NDArray[np.float32]] = {}
    for path, layer in network.named_modules():
        if isinstance(layer, Layer):
            conv = layer.conv if layer.norm is None else fuse_conv_bn_eval(layer.conv, layer.norm)
            for kind in ("weight", "bias"):
                weights[f"{path}.{kind}"] = np.ascontiguousarray(getattr(conv, kind).detach().numpy())
    return weights
