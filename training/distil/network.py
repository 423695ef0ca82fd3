"""The light network: private and common features of blocks, the same two rules, and a decoder that does the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.rules import ACTIVITY_RATIO
from training.fusion.through import fused_common
from training.network import Features

MAPS = 8, 16, 32, 64, 128, 256
"""Of a branch, as engines/rules.cu can have them."""
BRANCH_NAMES = "private_ir", "private_vis", "common"


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a light network."""

    block: int = 4
    """Pixels of luma, across and down, that one position of the features stands for."""
    maps: int = 16
    """Of a branch."""
    stem: int = 12
    """Side of a branch's window on the luma, px."""
    layers: int = 0
    """Separable layers of a branch behind its stem."""
    width: int = 48
    """Maps inside the decoder."""
    depth: int = 2
    """Separable layers of the decoder between its first and its last."""

    def rules(self) -> dict[str, tuple[bool, str]]:
        """Whether each size is one that a network can have, and which those are."""
        return {
            "block": (self.block in (2, 4), "2 or 4"),
            "maps": (self.maps in MAPS, f"one of {', '.join(map(str, MAPS))}"),
            "stem": (
                self.stem % (2 * self.block) == self.block,
                f"{self.block}, {3 * self.block}, {5 * self.block} or so on",
            ),
            "layers": (self.layers >= 0, "0 or more"),
            "width": (self.width >= 2 * self.block**2, f"{2 * self.block**2} or more"),
            "depth": (self.depth >= 0, "0 or more"),
        }

    @property
    def margin(self) -> int:
        """Pixels that the unpadded convolutions eat at each border."""
        return (self.stem - self.block) // 2 + self.block * (self.layers + self.depth + 2)


class Separable(nn.Sequential):
    """An unpadded 3x3 convolution of each map by itself, then a mix of the maps: about a ninth of the work of one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, inputs, 3, groups=inputs), nn.Conv2d(inputs, outputs, 1))

    @torch.no_grad()
    def pass_on(self, mix: Tensor) -> None:
        """Start as a mix of the first maps, (outputs, inputs), with a tenth of what chance gave beside it."""
        outputs, inputs = mix.shape
        weights = dict(self.named_parameters())
        for name in ("0.bias", "1.bias"):
            weights[name].zero_()
        weights["0.weight"][:inputs] *= 0.1
        weights["0.weight"][:inputs, 0, 1, 1] += 1
        weights["1.weight"][:outputs] *= 0.1
        weights["1.weight"][:outputs, :inputs, 0, 0] += mix


class LightBranch(nn.Module):
    """Encoder of one branch: one window a position, a block apart, as most of the time goes into moving features."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.block = shape.block
        self.stem = nn.Conv2d(self.block**2, shape.maps, shape.stem // self.block)
        self.layers = nn.ModuleList(Separable(shape.maps, shape.maps) for _ in range(shape.layers))

    def forward(self, luma: Tensor) -> Tensor:
        """luma (N, 1, H, W) float in 0..1, sides whole blocks -> features (N, maps, h, w), not negative."""
        # export makes these two one strided window
        x = functional.relu(self.stem(functional.pixel_unshuffle(luma, self.block)))
        for layer in self.layers:
            x = functional.relu(layer(x))
        return x


class LightDecoder(nn.Module):
    """Both fused stacks back to luma. It runs once a pair, a branch four times: so it is the deeper one."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.common = Separable(shape.maps, shape.width)
        self.private = Separable(shape.maps, shape.width)
        self.layers = nn.ModuleList(Separable(shape.width, shape.width) for _ in range(shape.depth))
        self.block = shape.block
        self.last = Separable(shape.width, self.block**2)

    def forward(self, common: Tensor, private: Tensor) -> Tensor:
        """common, private (N, maps, h, w) -> luma (N, 1, H, W), nominally in 0..1."""
        x = functional.relu(self.common(common) + self.private(private))
        for layer in self.layers:
            x = functional.relu(layer(x))
        return functional.pixel_shuffle(self.last(x), self.block)


class LightNetwork(nn.Module):
    """Luma in 0..1 in and out; outputs are `shape.margin` px smaller than inputs on every side."""

    def __init__(self, shape: Shape = Shape()) -> None:
        super().__init__()
        self.shape = shape
        self.private_ir = LightBranch(shape)
        self.private_vis = LightBranch(shape)
        self.common = LightBranch(shape)
        self.decoder = LightDecoder(shape)
        self._start_as_pixels()

    def encode(self, ir: Tensor, vis: Tensor) -> Features:
        """Features of a pair of (N, 1, H, W) luma."""
        common_ir, common_vis = self.common(torch.cat([ir, vis])).chunk(2)
        return Features(self.private_ir(ir), self.private_vis(vis), common_ir, common_vis)

    def decode(self, common: Tensor, private: Tensor) -> Tensor:
        """Luma (N, 1, H, W) of both fused stacks."""
        luma: Tensor = self.decoder(common, private)
        return luma

    def forward(self, ir: Tensor, vis: Tensor, averaged: Tensor | None = None) -> Tensor:
        """The fused picture (N, 1, H - 2 margin, W - 2 margin), Eq. 8 and 9 inside.

        averaged: the maps that Eq. 9 averages, (N, maps) bool; by the activity in these pictures if not given.
        """
        f = self.encode(ir, vis)
        private = torch.maximum(f.private_ir, f.private_vis)  # Eq. 8
        return self.decode(fused_common(f.common_ir, f.common_vis, averaged), private)

    @torch.no_grad()
    def averaged(self, windows: Tensor) -> Tensor:
        """The maps that Eq. 9 averages, (N, maps), from windows (N, 2, places, stem^2) of IR and VIS in 0..1.

        Of branches without layers behind the stem.
        """
        stem = self.common.stem
        taps = functional.pixel_shuffle(stem.weight, self.shape.block).flatten(1)  # (maps, stem^2)
        active = (functional.linear(windows, taps, stem.bias) > 0).float().mean(2)
        return active.amin(1) >= ACTIVITY_RATIO

    @torch.no_grad()
    def borrow(self, weight: Tensor, bias: Tensor) -> None:
        """Let the first common maps be these windows, (k, stem, stem) and (k,)."""
        stem, count = self.common.stem, len(weight)
        if not count:  # torch has no picture of no channels
            return
        stem.weight[:count] = functional.pixel_unshuffle(weight[:, None], self.shape.block)
        cast(Tensor, stem.bias)[:count] = bias

    def keep_borrowed(self, count: int) -> None:
        """Let training leave the first common maps alone, from now on."""
        for value in (self.common.stem.weight, cast(nn.Parameter, self.common.stem.bias)):
            value.register_hook(lambda gradient: torch.cat([torch.zeros_like(gradient[:count]), gradient[count:]]))

    @torch.no_grad()
    def _start_as_pixels(self) -> None:
        """Let the first maps be the pixels of a block, and the decoder draw the mean of what the rules make of them.

        With maps enough the private ones are those of IR and then those of VIS: the maximum of a map that only one
        picture has is that map, so both reach the decoder whole. With fewer, private maps are the larger pixels, and
        common ones, active nearly everywhere, their weighted mean. All else starts small beside it: 300 steps from here
        led further than 300 from random weights, by 4 dB.
        """
        pixels, middle = self.shape.block**2, self.shape.stem // self.shape.block // 2
        count, is_enough = min(pixels, self.shape.maps), self.shape.maps >= 2 * pixels
        starts = {"private_ir": 0, "private_vis": pixels} if is_enough else dict.fromkeys(BRANCH_NAMES, 0)
        for name, start in starts.items():
            stem = cast(LightBranch, getattr(self, name)).stem
            stem.weight *= 0.1
            cast(Tensor, stem.bias).zero_()
            for k in range(count):
                stem.weight[start + k, k, middle, middle] = 1
        both, first = torch.eye(2 * pixels), torch.eye(2 * pixels)[:, :count]
        for layer in (*self.private_ir.layers, *self.private_vis.layers):
            cast(Separable, layer).pass_on(torch.eye(min(self.shape.maps, 2 * pixels)))
        self.decoder.private.pass_on(both if is_enough else first)
        self.decoder.common.pass_on(torch.zeros(2 * pixels, 2 * pixels) if is_enough else first.roll(pixels, 0))
        for layer in self.decoder.layers:
            cast(Separable, layer).pass_on(both)
        self.decoder.last.pass_on(torch.eye(pixels).repeat(1, 2) / 2)
