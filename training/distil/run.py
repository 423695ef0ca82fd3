"""A run that teaches a light network, in its folder: built or resumed, then stepped."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.checkpoint import CheckpointError, Point, load_checkpoint, restore, save_checkpoint
from training.data import ImagePair
from training.distil.export import load_light
from training.distil.loss import distil_loss, psnr
from training.distil.network import LightNetwork, Shape
from training.distil.teacher import Luma, read_triple
from training.loss import ssim
from training.run import DivergedError, Settings, learning_rate, read_ahead

LARGEST_GRADIENT = 30.0
"""Norm at which the gradient is cut."""
MEMORY = 0.998
"""Of the running average of the weights, which is what a run gives."""
KEPT_PICTURES = 1024
"""Decoded pictures kept in memory."""
TAKEN = "steps", "batch", "crop", "rate", "cooldown", "seed", "validation"
Progress = Callable[[int, float, Point | None], None]


class DistilRun:
    """One light network under training. Its curve holds what is seen on the pictures held back, every so many steps."""

    def __init__(
        self, folder: Path, settings: Settings, shape: Shape, *, teacher: str, device: torch.device, start: Path | None
    ) -> None:
        """teacher: what stands for it, kept with the settings. start: a light model, not read if the run is resumed.

        Raises CheckpointError, ModelError.
        """
        self.folder, self.device, self._settings = folder, device, settings
        self.checkpoint = folder / "checkpoint.pt"
        taken = {name: getattr(settings, name) for name in TAKEN}
        self.settings: dict[str, Any] = {**taken, **asdict(shape), "teacher": teacher}
        """What decides the result."""
        torch.manual_seed(settings.seed)
        self.network = LightNetwork(shape)
        is_new = not self.checkpoint.exists()
        if is_new and start is not None:
            first = load_light(start)
            if first.shape != shape:
                raise CheckpointError(f"{start}: its shape is {first.shape}, asked for {shape}; ask for the same")
            self.network.load_state_dict(first.state_dict())
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.rate)
        self.step, self.curve = 0, list[Point]()
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self._read = functools.lru_cache(KEPT_PICTURES)(read_triple)
        if not is_new:
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
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}

    def save(self) -> None:
        """The checkpoint, whole or not at all. Raises SaveError."""
        save_checkpoint(
            self.checkpoint, self.network, self.optimizer, self.settings, self.step, self.curve, average=self.average
        )

    def train(
        self,
        pictures: Sequence[ImagePair],
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
        for batch in read_ahead(functools.partial(self._batch, pictures), range(self.step, self._settings.steps)):
            loss = self._take_step(batch.to(self.device))
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

    def result(self) -> LightNetwork:
        """The network with the averaged weights."""
        network = LightNetwork(self.network.shape)
        network.load_state_dict(self.average)
        return network

    def look(self, held: Sequence[ImagePair]) -> tuple[float, float, float]:
        """Means over whole pictures: how far from the teacher's, as -PSNR in dB, and SSIM to IR and to VIS."""
        network, totals = self.result().eval(), torch.zeros(3)
        for picture in held:
            triple = self._read(picture.ir)
            height, width = (side // 2 * 2 for side in triple.shape[1:])
            ir, vis, wanted = _parts(torch.from_numpy(triple[None, :, :height, :width].copy()))
            with torch.no_grad():
                fused = network(ir, vis)
                inner = [_inner(x, network.shape.margin) for x in (wanted, ir, vis)]
                near = [ssim(fused, x).mean() for x in inner[1:]]
                totals += torch.stack([-psnr(fused, inner[0]).mean(), *near])
        far, ssim_ir, ssim_vis = (totals / len(held)).tolist()
        return far, ssim_ir, ssim_vis

    def _take_step(self, batch: Tensor) -> float:
        """One step of Adam; the loss before it. What is drawn depends on seed and step alone."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self._settings, self.step)
        ir, vis, wanted = _parts(batch)
        rng = np.random.default_rng((self._settings.seed, self.step, 1))
        wanted = _inner(wanted, self.network.shape.margin)
        loss, _ = distil_loss(self.network, (ir, vis), wanted, self.step, rng)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.step += 1
        self._remember()
        return float(loss.detach())

    @torch.no_grad()
    def _remember(self) -> None:
        """Move the average of the weights towards them, faster in the first steps."""
        kept = min(MEMORY, self.step / (self.step + 9))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - kept)

    def _batch(self, pictures: Sequence[ImagePair], step: int) -> Tensor:
        """(N, 3, S + 2 margin, S + 2 margin) uint8: crops of IR, VIS and the teacher's, flipped alike."""
        size, rng = (
            self._settings.crop + 2 * self.network.shape.margin,
            np.random.default_rng((self._settings.seed, step)),
        )
        crops = [self._crop(pictures[int(rng.integers(len(pictures)))], size, rng) for _ in range(self._settings.batch)]
        return torch.from_numpy(np.stack(crops))

    def _crop(self, picture: ImagePair, size: int, rng: np.random.Generator) -> Luma:
        triple = self._read(picture.ir)
        top, left = (int(rng.integers(side - size + 1)) for side in triple.shape[1:])
        down, across = (int(k) for k in rng.choice((-1, 1), 2))
        return triple[:, top : top + size, left : left + size][:, ::down, ::across]


def _parts(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3, H, W) uint8 as IR, VIS and the teacher's, (N, 1, H, W) float in 0..1."""
    ir, vis, wanted = (batch.float() / 255).split(1, dim=1)
    return ir, vis, wanted


def _inner(x: Tensor, margin: int) -> Tensor:
    return x[..., margin:-margin, margin:-margin]
