"""A run that teaches a light network, in its folder: built or resumed, then stepped."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.checkpoint import CheckpointError, Point
from training.data import ImagePair
from training.distil.borrow import windows_of
from training.distil.export import load_light
from training.distil.loss import distil_loss, psnr
from training.distil.network import LightNetwork, Shape
from training.distil.teacher import Luma, read_triple
from training.loss import ssim
from training.run import Settings
from training.single_run import KEPT_PICTURES, Batch, SingleRun

LARGEST_GRADIENT = 30.0
"""Norm at which the gradient is cut."""
MEMORY = 0.998
"""Of the running average of the weights, which is what a run gives."""
PLACES = 1024
"""Of a whole picture, by which its rules are told: a share is known to 1.5 % then."""


class DistilRun(SingleRun):
    """One light network under training."""

    network: LightNetwork
    average: dict[str, Tensor]

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        shape: Shape,
        *,
        teacher: str,
        device: torch.device,
        start: Path | None,
        borrow: int = 0,
    ) -> None:
        """teacher: what stands for it, kept with the settings. start: a light model, not read if the run is resumed.

        borrow: how many windows `self.borrow` is given at most, kept with the settings, too. Raises CheckpointError,
        ModelError.
        """
        super().__init__(folder, settings, device, **asdict(shape), teacher=teacher, borrow=borrow)
        self.network = LightNetwork(shape)
        if start is not None and not self.checkpoint.exists():
            first = load_light(start)
            if first.shape != shape:
                raise CheckpointError(f"{start}: its shape is {first.shape}, asked for {shape}; ask for the same")
            self.network.load_state_dict(first.state_dict())
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._read = functools.lru_cache(KEPT_PICTURES)(read_triple)
        self._start_average()
        self.begin(self.network.parameters(), largest_gradient=LARGEST_GRADIENT)

    def _start_average(self) -> None:
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def borrow(self, weight: Tensor, bias: Tensor) -> None:
        """Take these windows (k, stem, stem), (k,) for the first common maps, which training then leaves alone."""
        if self.step == 0:
            self.network.borrow(weight.to(self.device), bias.to(self.device))
            self._start_average()
        self.network.keep_borrowed(len(bias))

    def words(self, point: Point) -> str:
        """How far from the teacher."""
        return f"to the teacher {-point.loss:.2f} dB"

    def result(self) -> LightNetwork:
        """The network with the averaged weights."""
        network = LightNetwork(self.network.shape)
        network.load_state_dict(self.average)
        return network

    def look(self, held: Sequence[ImagePair]) -> tuple[float, float, float]:
        """Over whole pictures; the first is how far from the teacher's, as -PSNR in dB."""
        network, totals = self.result().eval(), torch.zeros(3)
        for picture in held:
            triple = self._read(picture.ir)
            height, width = (side // self.network.shape.block * self.network.shape.block for side in triple.shape[1:])
            ir, vis, wanted = _parts(torch.from_numpy(triple[None, :, :height, :width].copy()))
            with torch.no_grad():
                fused = network(ir, vis)
                inner = [_inner(x, network.shape.margin) for x in (wanted, ir, vis)]
                near = [ssim(fused, x).mean() for x in inner[1:]]
                totals += torch.stack([-psnr(fused, inner[0]).mean(), *near])
        far, ssim_ir, ssim_vis = (totals / len(held)).tolist()
        return far, ssim_ir, ssim_vis

    def loss(self, batch: Batch) -> Tensor:
        """Of crops, with the rules that whole pictures follow."""
        (ir, vis, wanted), windows = _parts(batch[0]), batch[1]
        rng = np.random.default_rng((self._settings.seed, self.step, 1))
        averaged = None if self.network.shape.layers else self.network.averaged(windows.float() / 255)
        network = functools.partial(self.network, averaged=averaged)
        return distil_loss(network, (ir, vis), _inner(wanted, self.network.shape.margin), self.step, rng)[0]

    @torch.no_grad()
    def stepped(self) -> None:
        """Move the average of the weights towards them, faster in the first steps."""
        kept = min(MEMORY, self.step / (self.step + 9))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - kept)

    def batch(self, pairs: Sequence[ImagePair], step: int) -> Batch:
        """(N, 3, S + 2 margin, S + 2 margin) uint8: crops of IR, VIS and the teacher's, flipped alike.

        And windows of the whole pictures they are from, (N, 2, places, stem^2) uint8: the rules look at those.
        """
        shape, rng = self.network.shape, np.random.default_rng((self._settings.seed, step))
        size = self._settings.crop + 2 * shape.margin
        triples = [self._read(pairs[int(rng.integers(len(pairs)))].ir) for _ in range(self._settings.batch)]
        crops = [_crop(triple, size, rng) for triple in triples]
        windows = [[windows_of(x, shape.stem, shape.block, PLACES, rng) for x in triple[:2]] for triple in triples]
        return torch.from_numpy(np.stack(crops)), torch.from_numpy(np.array(windows))


def _crop(triple: Luma, size: int, rng: np.random.Generator) -> Luma:
    top, left = (int(rng.integers(side - size + 1)) for side in triple.shape[1:])
    down, across = (int(k) for k in rng.choice((-1, 1), 2))
    return triple[:, top : top + size, left : left + size][:, ::down, ::across]


def _parts(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3, H, W) uint8 as IR, VIS and the teacher's, (N, 1, H, W) float in 0..1."""
    ir, vis, wanted = (batch.float() / 255).split(1, dim=1)
    return ir, vis, wanted


def _inner(x: Tensor, margin: int) -> Tensor:
    return x[..., margin:-margin, margin:-margin]
