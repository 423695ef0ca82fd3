"""IFCNN: Zhang, Liu, Sun, Yan, Zhao, Zhang, "IFCNN: A general image fusion framework ...", Information Fusion 54, 2020.

As published: a first layer that is not learned, a second, the maximum of both pictures' 64 maps, a third and a 1x1
layer; it learns to make one sharp picture of two that are each partly blurred, and fuses infrared and visible with the
same weights. What differs: the first layer is VGG19's (3x3) and not ResNet101's (7x7), or random and learned where no
VGG19 file is given; the second and third have no batch normalisation, whose statistics over batches as small as ours
hide the brightness (the error stayed at 13 levels); the sharp pictures are those of our pairs and not of NYU-D2, the
blurred regions random and not by depth; the loss is the mean square error alone, without the perceptual one; Adam
instead of SGD; convolutions are unpadded.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.baselines.base import Baseline, Layer, inner
from training.baselines.focus import half_blurred
from training.graph import Graph
from training.vgg import Weights

MAPS = 64


class IFCNN(Baseline):
    """Two layers each, the maximum, two layers: 75,000 weights."""

    margin = 3
    from_vgg = True

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Layer(1, MAPS, slope=None)
        self.conv2 = Layer(MAPS, MAPS)
        self.conv3 = Layer(MAPS, MAPS)
        self.conv4 = Layer(MAPS, 1, 1, slope=None)

    def start_from(self, weights: Weights) -> None:
        """The first layer of VGG19, its three input channels summed, as they see the same luma; it is then kept."""
        kernel = torch.from_numpy(weights["block1_conv1.weight"]).double().sum(1, keepdim=True).float()
        self.conv1.conv.load_state_dict({"weight": kernel, "bias": torch.from_numpy(weights["block1_conv1.bias"])})
        self.conv1.requires_grad_(False)

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """See `Baseline`. The same for both orders of its inputs."""
        first, second = self.conv2(self.conv1(torch.cat([ir, vis]))).chunk(2)
        return self.conv4(self.conv3(torch.maximum(first, second)))

    def loss(self, ir: Tensor, vis: Tensor, dice: torch.Generator) -> Tensor:
        """Mean square error in squared levels, of making either camera's picture of two half blurred ones."""
        sharp = torch.cat([ir, vis])
        first, second, _ = half_blurred(sharp, dice)
        return 255**2 * functional.mse_loss(self(first, second), inner(sharp, self.margin))

    def write(self, graph: Graph) -> None:
        """See `Baseline`."""
        both = []
        for name in ("ir", "vis"):
            both.append(self.add(graph, "conv2", self.add(graph, "conv1", f"{name}_luma", name), name))
        graph.add("Max", *both, out="larger")
        graph.add(
            "Identity", self.add(graph, "conv4", self.add(graph, "conv3", "larger", "fused"), "fused"), out="luma"
        )
