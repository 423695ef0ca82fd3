"""A training run of one process that looks at what was held back: built or resumed by its kind, then stepped."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.checkpoint import CheckpointError, Point, load_checkpoint, restore, save_checkpoint
from training.data import ImagePair
from training.run import DivergedError, Settings, learning_rate, read_ahead

OPTIONS = ("steps", "batch", "crop", "rate", "cooldown", "seed", "validation")
"""The settings that such a run takes."""
KEPT_PICTURES = 1024
"""Decoded pictures kept in memory: a crop of 88 px took 15 ms to decode from 1280x1024, more than its step."""
Progress = Callable[[int, float, Point | None], None]
Batch = tuple[Tensor, ...]
Sets = tuple[Sequence[ImagePair], Sequence[ImagePair]]
"""To train on, and held back."""


class SingleRun(ABC):
    """One network under training. Its curve holds what is seen on the pairs held back, every so many steps."""

    network: nn.Module
    average: dict[str, Tensor] | None = None
    """Running average of the weights, where the kind keeps one."""

    def __init__(self, folder: Path, settings: Settings, device: torch.device, **more: object) -> None:
        """more: what decides the result beside the settings. Seeds torch, for the network that the kind makes next."""
        self.folder, self.device, self._settings = folder, device, settings
        self.checkpoint = folder / "checkpoint.pt"
        self.settings: dict[str, Any] = {name: getattr(settings, name) for name in OPTIONS} | more
        """What decides the result."""
        self.step, self.curve = 0, list[Point]()
        torch.manual_seed(settings.seed)

    def begin(self, learned: Iterable[nn.Parameter], *, largest_gradient: float | None = None) -> None:
        """Make the optimizer, and resume if there is a checkpoint. largest_gradient: norm at which it is cut.

        Raises CheckpointError.
        """
        self._learned, self._largest = list(learned), largest_gradient
        self.optimizer = torch.optim.Adam(self._learned, lr=self._settings.rate)
        if not self.checkpoint.exists():
            return
        state = load_checkpoint(self.checkpoint)
        if state["settings"] != self.settings:
            raise CheckpointError(
                f"{self.checkpoint}: made with {state['settings']}, asked for {self.settings}; "
                "resume with the same options or give another folder"
            )
        restore(self.checkpoint, state, self.network, self.optimizer)
        self.step, self.curve = state["step"], state["curve"]
        if self.average is not None:
            self.average = {name: value.to(self.device) for name, value in state["average"].items()}

    def save(self) -> None:
        """The checkpoint, whole or not at all. Raises SaveError."""
        save_checkpoint(
            self.checkpoint, self.network, self.optimizer, self.settings, self.step, self.curve, average=self.average
        )

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
        for batch in read_ahead(lambda step: self.batch(pairs, step), range(self.step, self._settings.steps)):
            loss = self._take_step(tuple(part.to(self.device) for part in batch))
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

    @abstractmethod
    def batch(self, pairs: Sequence[ImagePair], step: int) -> Batch:
        """What a step is taken on; drawn by seed and step alone."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """A scalar; what is drawn for it depends on seed and step alone."""

    @abstractmethod
    def look(self, held: Sequence[ImagePair]) -> tuple[float, float, float]:
        """Loss, and SSIM of the fused picture to infrared and to visible; means over what was held back."""

    def _take_step(self, batch: Batch) -> float:
        """One step of Adam; the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self._settings, self.step)
        loss = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        if self._largest is not None:
            nn.utils.clip_grad_norm_(self._learned, self._largest)
        self.optimizer.step()
        self.step += 1
        self.stepped()
        return float(loss.detach())

    def words(self, point: Point) -> str:
        """A look's loss, as it is printed."""
        return f"held back {point.loss:.4g}"

    def stepped(self) -> None:  # noqa: B027  # most kinds have nothing to do
        """Called after each step."""
