"""The training loop: what decides a run, one step of it, and the run in its folder. Read it from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.checkpoint import CheckpointError, Point, load_checkpoint, restore, save_checkpoint, write_curve
from training.data import ImagePair, draw_batch
from training.loss import WINDOW, reconstruction_loss, ssim
from training.network import JCAE, MARGIN, channels_last
from training.processes import Processes
from training.vgg import load_vgg, start_from_vgg

T = TypeVar("T")
Goal = Literal["reconstruction", "fusion"]
PREFETCH = 4
"""Batches read ahead by a thread, so that a GPU does not wait for the disk."""


class SettingsError(ValueError):
    """A setting that no run can have."""


class DivergedError(ArithmeticError):
    """The loss is no number any more."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the result of a run; kept in the checkpoint. Raises SettingsError."""

    steps: int = 2000
    batch: int = 4
    """Pairs a step, over all processes."""
    crop: int = 112
    """Side of the crop that is rebuilt, px; `MARGIN` px of context are read around it."""
    rate: float = 3e-4
    """Adam's learning rate, as in the paper."""
    cooldown: float = 0.25
    """Share of the steps, at the end, over which the rate falls to zero; 0 keeps the paper's constant rate."""
    seed: int = 0
    validation: float = 0.05
    """Share of the pairs that is held back."""
    goal: Goal = "reconstruction"
    """`reconstruction` is the paper's training; `fusion` judges the fused picture."""

    def __post_init__(self) -> None:
        for name, holds, allowed in (
            ("steps", self.steps >= 1, "1 or more"),
            ("batch", self.batch >= 1, "1 or more"),
            ("crop", self.crop % 2 == 0 and self.crop > WINDOW, f"even, above the {WINDOW} px of the SSIM window"),
            ("rate", 0 < self.rate < math.inf, "above 0"),
            ("cooldown", 0 <= self.cooldown <= 1, "0 to 1"),
            ("seed", self.seed >= 0, "0 or more"),
            ("goal", self.goal in get_args(Goal), " or ".join(get_args(Goal))),
            ("validation", 0 <= self.validation < 1, "0 to below 1"),
        ):
            if not holds:
                raise SettingsError(f"{name} {getattr(self, name)}: must be {allowed}")


def learning_rate(settings: Settings, step: int) -> float:
    """The rate of a step: constant, then linear to zero over the cooldown."""
    left = settings.steps - step
    return settings.rate * min(1.0, left / max(1.0, settings.cooldown * settings.steps))


def loss_of(network: Callable[..., Any], ir: Tensor, vis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 5 over both pictures, and their two SSIM. ir, vis: (N, 1, S + 16, S + 16) float in 0..1."""
    with precision(ir.device):
        rebuilt_ir, rebuilt_vis = network(ir, vis)  # (N, 1, S, S)
    rebuilt_ir, rebuilt_vis = rebuilt_ir.float(), rebuilt_vis.float()
    ir, vis = (x[..., MARGIN:-MARGIN, MARGIN:-MARGIN] for x in (ir, vis))
    loss = reconstruction_loss(rebuilt_ir, ir) + reconstruction_loss(rebuilt_vis, vis)
    with torch.no_grad():
        return loss, ssim(rebuilt_ir, ir).mean(), ssim(rebuilt_vis, vis).mean()


def batches(
    pairs: Sequence[ImagePair], settings: Settings, processes: Processes, start: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process' share of each batch from step `start` on, (N, 1, S + 16, S + 16) float in 0..1."""
    share, size = processes.share(settings.batch), settings.crop + 2 * MARGIN

    def draw(step: int) -> tuple[Tensor, Tensor]:
        pair = draw_batch(pairs, size=size, count=settings.batch, seed=settings.seed, step=step, share=share)
        ir, vis = (torch.from_numpy(x).float() / 255 for x in pair)
        return ir, vis

    return read_ahead(draw, range(start, settings.steps))


def read_ahead(make: Callable[[int], T], steps: range) -> Iterator[T]:
    """make(step) for each step in order, made by one thread up to `PREFETCH` steps ahead."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(make, step) for step in steps[:PREFETCH]]
        for step in steps:
            if step + PREFETCH < steps.stop:
                waiting.append(pool.submit(make, step + PREFETCH))
            yield waiting.pop(0).result()


class Run:
    """One training run in its folder: built or resumed, then stepped."""

    def __init__(self, folder: Path, settings: Settings, processes: Processes, start: Path | None) -> None:
        """start: weights to start from, VGG19's here; not read if resumed. Raises CheckpointError, VggError."""
        self.folder, self.settings, self.processes = folder, settings, processes
        self.checkpoint = folder / "checkpoint.pt"
        torch.manual_seed(settings.seed)
        self.network = channels_last(JCAE().to(processes.device))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.rate)
        self.step, self.curve = 0, list[Point]()
        self.average: dict[str, Tensor] | None = None
        """A running average of the weights, if the run keeps one: better than the last of them."""
        if self.checkpoint.exists():
            self._resume()
        else:
            self.begin(start)

    def begin(self, start: Path | None) -> None:
        """Take the first weights of a new run. Raises VggError."""
        if start is not None:
            start_from_vgg(self.network, load_vgg(start))

    def module(self) -> nn.Module:
        """What several processes share the gradients of."""
        return self.network

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint)
        state["settings"] = {**asdict(Settings()), **state["settings"]}  # of before a setting was there
        if state["settings"] != asdict(self.settings):
            raise CheckpointError(
                f"{self.checkpoint}: made with {state['settings']}, asked for {asdict(self.settings)}; "
                "resume with the same options or give another folder"
            )
        restore(self.checkpoint, state, self.network, self.optimizer)
        self.step, self.curve, self.average = state["step"], state["curve"], state.get("average")
        if self.average is not None:
            self.average = {name: value.to(self.processes.device) for name, value in self.average.items()}

    def save(self) -> None:
        """Checkpoint and curve. For the first process alone. Raises SaveError."""
        settings = asdict(self.settings)
        save_checkpoint(
            self.checkpoint, self.network, self.optimizer, settings, self.step, self.curve, average=self.average
        )
        write_curve(self.folder, self.curve, is_fusion=self.settings.goal == "fusion")

    def train(
        self,
        pairs: Sequence[ImagePair],
        *,
        every: int,
        progress: Callable[[Point], None] = lambda point: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the steps that are left, or those until `stop` says so in any process, and save at the end of them.

        every: steps between checkpoints. Raises DataError, DivergedError, SaveError; the last checkpoint stays.
        """
        is_alone = self.processes.world == 1
        network = self.module() if is_alone else DistributedDataParallel(self.module())
        began = time.monotonic() - (self.curve[-1].seconds if self.curve else 0)
        for ir, vis in batches(pairs, self.settings, self.processes, self.step):
            measured = self.take_step(network, ir.to(self.processes.device), vis.to(self.processes.device))
            numbers = torch.stack([*measured, measured[0].new_tensor(float(stop()))])
            loss, ssim_ir, ssim_vis, stopped = self.processes.mean(numbers).tolist()
            if not math.isfinite(loss):
                raise DivergedError(f"step {self.step}: the loss is {loss}; the last checkpoint stays, lower --rate")
            self.curve.append(Point(self.step, loss, ssim_ir, ssim_vis, time.monotonic() - began))
            progress(self.curve[-1])
            is_last = stopped > 0 or self.step == self.settings.steps
            if self.processes.is_first and (is_last or self.step % every == 0):
                self.save()
            if stopped > 0:
                return

    def take_step(self, network: Callable[..., Any], ir: Tensor, vis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of Adam on this process' share; its loss and two SSIM, before the step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, self.step)
        loss, ssim_ir, ssim_vis = loss_of(network, ir, vis)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.detach(), ssim_ir, ssim_vis

    def measure(self, ir: Tensor, vis: Tensor) -> tuple[Tensor, Tensor]:
        """SSIM of the reconstruction of both pictures."""
        with torch.no_grad():
            return loss_of(self.network, ir, vis)[1:]


def validate(run: Run, pairs: Sequence[ImagePair]) -> tuple[float, float]:
    """Mean of the run's two SSIM of a crop of each held-back pair, IR and VIS; nan without pairs."""
    if not pairs:
        return float("nan"), float("nan")
    settings = run.settings
    size = settings.crop + 2 * MARGIN
    totals = torch.zeros(2)
    for number, pair in enumerate(pairs):
        ir, vis = (
            torch.from_numpy(x).float().to(run.processes.device) / 255
            for x in draw_batch([pair], size=size, count=1, seed=settings.seed, step=number)
        )
        totals += torch.stack(run.measure(ir, vis)).cpu()
    mean_ir, mean_vis = (totals / len(pairs)).tolist()
    return mean_ir, mean_vis


def precision(device: torch.device) -> Any:
    """bf16 for convolutions on CUDA, where it doubles the rate; the loss is float32 everywhere."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
