"""The training of one baseline in its folder: built or resumed, then stepped, and looked at on pairs held back."""

from __future__ import annotations

import csv
import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.baselines.base import Baseline, inner
from training.checkpoint import CheckpointError, Point, SaveError, load_checkpoint, restore, save_checkpoint
from training.data import ImagePair, draw_batch, read_luma
from training.loss import ssim
from training.run import DivergedError, Settings, learning_rate, read_ahead
from training.vgg import load_vgg

OPTIONS = ("steps", "batch", "crop", "rate", "cooldown", "seed", "validation")
"""The settings that a baseline takes."""
KEPT_PICTURES = 1024
"""Decoded pictures kept in memory: a crop of 88 px took 15 ms to decode from 1280x1024, more than its step."""
DICE = 10_000_019
"""Between the random numbers of one seed and of the next; a power of two would not do, as torch's generator on the CPU
heeds 32 bits of its seed only."""
Progress = Callable[[int, float, Point | None], None]


class Run:
    """One baseline under training. Its curve holds what is seen on the pairs held back, every so many steps."""

    def __init__(
        self, folder: Path, kind: type[Baseline], settings: Settings, device: torch.device, vgg: Path | None
    ) -> None:
        """vgg: weights to start from, not read if the run is resumed. Raises CheckpointError, VggError."""
        self.folder, self.device, self._settings = folder, device, settings
        self.checkpoint = folder / "checkpoint.pt"
        taken = {name: getattr(settings, name) for name in OPTIONS}
        self.settings: dict[str, Any] = {**taken, "network": _family(kind), "from_vgg": vgg is not None}
        """What decides the result."""
        torch.manual_seed(settings.seed)
        self.network = kind()
        if vgg is not None:
            self.network.start_from(load_vgg(vgg))
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        learned = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(learned, lr=settings.rate)
        self.step, self.curve = 0, list[Point]()
        self._read = functools.lru_cache(KEPT_PICTURES)(read_luma)
        if self.checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint)
        if state["settings"] != self.settings:
            raise CheckpointError(
                f"{self.checkpoint}: made with {state['settings']}, asked for {self.settings}; "
                "resume with the same options or give another folder"
            )
        restore(self.checkpoint, state, self.network, self.optimizer)
        self.step, self.curve = state["step"], state["curve"]

    def save(self) -> None:
        """Checkpoint and curve. Raises SaveError."""
        save_checkpoint(self.checkpoint, self.network, self.optimizer, self.settings, self.step, self.curve)
        write_losses(self.folder / "loss.csv", self.curve)

    def train(
        self,
        pairs: Sequence[ImagePair],
        held: Sequence[ImagePair],
        *,
        every: int,
        progress: Progress = lambda step, loss, point: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the steps that are left, or those until `stop` says so, and save at the end of them.

        every: steps between checkpoints and looks at `held`. Raises DataError, DivergedError, SaveError; the last
        checkpoint stays.
        """
        began = time.monotonic() - (self.curve[-1].seconds if self.curve else 0)
        steps = range(self.step, self._settings.steps)
        for ir, vis in read_ahead(functools.partial(self._batch, pairs), steps):
            loss = self._take_step(ir.to(self.device), vis.to(self.device))
            if not math.isfinite(loss):
                raise DivergedError(f"step {self.step}: the loss is {loss}; the last checkpoint stays, lower --rate")
            is_last = stop() or self.step == self._settings.steps
            looks = bool(held) and (self.step % every == 0 or self.step == self._settings.steps)
            if looks:
                self.curve.append(Point(self.step, *self.look(held), time.monotonic() - began))
            progress(self.step, loss, self.curve[-1] if looks else None)
            if is_last or self.step % every == 0:
                self.save()
            if is_last:
                return

    def look(self, held: Sequence[ImagePair]) -> tuple[float, float, float]:
        """Means over a crop of each pair held back: loss, and SSIM of the fused crop to infrared and to visible."""
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

    def _take_step(self, ir: Tensor, vis: Tensor) -> float:
        """One step of Adam; the loss before it. What is drawn depends on seed and step alone."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self._settings, self.step)
        loss = self.network.loss(ir, vis, self._dice(self.step))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def _batch(self, pairs: Sequence[ImagePair], step: int) -> tuple[Tensor, Tensor]:
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
