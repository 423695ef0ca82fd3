"""The training of one baseline in its folder: built or resumed, then stepped, and looked at on pairs held back."""

from __future__ import annotations

import csv
import functools
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from training.baselines.base import Baseline, inner
from training.checkpoint import Point, SaveError
from training.data import ImagePair, draw_batch, read_luma
from training.loss import ssim
from training.run import Settings
from training.single_run import KEPT_PICTURES, Batch, SingleRun
from training.vgg import load_vgg

DICE = 10_000_019
"""Between the random numbers of one seed and of the next; a power of two would not do, as torch's generator on the CPU
heeds 32 bits of its seed only."""


class Run(SingleRun):
    """One baseline under training."""

    network: Baseline

    def __init__(
        self, folder: Path, kind: type[Baseline], settings: Settings, device: torch.device, vgg: Path | None
    ) -> None:
        """vgg: weights to start from, not read if the run is resumed. Raises CheckpointError, VggError."""
        super().__init__(folder, settings, device, network=_family(kind), from_vgg=vgg is not None)
        self.network = kind()
        if vgg is not None:
            self.network.start_from(load_vgg(vgg))
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._read = functools.lru_cache(KEPT_PICTURES)(read_luma)
        self.begin(parameter for parameter in self.network.parameters() if parameter.requires_grad)

    def save(self) -> None:
        """Checkpoint and curve. Raises SaveError."""
        super().save()
        write_losses(self.folder / "loss.csv", self.curve)

    def look(self, held: Sequence[ImagePair]) -> tuple[float, float, float]:
        """Of a crop of each pair."""
        totals = torch.zeros(3)
        self.network.eval()
        for number, pair in enumerate(held):
            ir, vis = (x.to(self.device) for x in self._crops([pair], count=1, step=number))
            with torch.no_grad():
                loss = self.network.held_loss(ir, vis, self._dice(number))
                fused = self.network(ir, vis).float().clamp(0, 1)
                near = (ssim(fused, inner(x, self.network.margin)).mean() for x in (ir, vis))
                totals += torch.stack([loss, *near]).cpu()
        self.network.train()
        loss, ssim_ir, ssim_vis = (totals / len(held)).tolist()
        return loss, ssim_ir, ssim_vis

    def loss(self, batch: Batch) -> Tensor:
        """Of crops of IR and VIS."""
        ir, vis = batch
        return self.network.loss(ir, vis, self._dice(self.step))

    def batch(self, pairs: Sequence[ImagePair], step: int) -> Batch:
        """Crops of IR and VIS."""
        return self._crops(pairs, count=self._settings.batch, step=step)

    def _crops(self, pairs: Sequence[ImagePair], *, count: int, step: int) -> tuple[Tensor, Tensor]:
        """(count, 1, crop + 2 margin, crop + 2 margin) float in 0..1, twice."""
        size = self._settings.crop + 2 * self.network.margin
        drawn = draw_batch(pairs, size=size, count=count, seed=self._settings.seed, step=step, read=self._read)
        ir, vis = (torch.from_numpy(x).float() / 255 for x in drawn)
        return ir, vis

    def _dice(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(self._settings.seed * DICE + step)


def write_losses(path: Path, curve: Sequence[Point]) -> None:
    """The curve as CSV, whole or not at all. Raises SaveError."""
    part = path.with_suffix(".part")
    try:
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(Point.__dataclass_fields__))
            writer.writeheader()
            writer.writerows(asdict(point) for point in curve)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SaveError(f"{path}: not written ({error.strerror or error}); the checkpoint is") from error


def _family(kind: type[Baseline]) -> str:
    """The class that holds the weights: networks that differ in a rule without weights share a run."""
    parents = [parent for parent in kind.__mro__ if issubclass(parent, Baseline) and parent is not Baseline]
    return parents[-1].__name__
