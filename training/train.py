"""Train the network on pairs: `python -m training.train --pairs DIR... -o MODEL_DIR`. Read it from top to bottom."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from training.checkpoint import CheckpointError, Point, load_checkpoint, save_checkpoint, write_curve
from training.data import DataError, ImagePair, PairList, draw_batch, find_pairs, split
from training.loss import reconstruction_loss, ssim
from training.network import JCAE, MARGIN, channels_last
from training.vgg import VggError, load_vgg, start_from_vgg

T = TypeVar("T")
PREFETCH = 4
"""Batches read ahead by a thread, so that a GPU does not wait for the disk."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the result of a run; kept in the checkpoint."""

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


def learning_rate(settings: Settings, step: int) -> float:
    """The rate of a step: constant, then linear to zero over the cooldown."""
    left = settings.steps - step
    return settings.rate * min(1.0, left / max(1.0, settings.cooldown * settings.steps))


def loss_of(network: Callable[..., Any], ir: Tensor, vis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 5 over both pictures, and their two SSIM. ir, vis: (N, 1, S + 16, S + 16) float in 0..1."""
    with _precision(ir.device):
        rebuilt_ir, rebuilt_vis = network(ir, vis)  # (N, 1, S, S)
    rebuilt_ir, rebuilt_vis = rebuilt_ir.float(), rebuilt_vis.float()
    ir, vis = (x[..., MARGIN:-MARGIN, MARGIN:-MARGIN] for x in (ir, vis))
    loss = reconstruction_loss(rebuilt_ir, ir) + reconstruction_loss(rebuilt_vis, vis)
    with torch.no_grad():
        return loss, ssim(rebuilt_ir, ir).mean(), ssim(rebuilt_vis, vis).mean()


def batches(pairs: list[ImagePair], settings: Settings, start: int) -> Iterator[tuple[Tensor, Tensor]]:
    """This process' share of each batch from step `start` on, (N, 1, S + 16, S + 16) float in 0..1."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    each = settings.batch // world
    share = slice(rank * each, (rank + 1) * each)
    size = settings.crop + 2 * MARGIN

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

    def __init__(self, folder: Path, settings: Settings, device: torch.device, vgg: Path | None) -> None:
        self.folder, self.settings, self.device = folder, settings, device
        self.checkpoint = folder / "checkpoint.pt"
        torch.manual_seed(settings.seed)
        self.network = channels_last(JCAE().to(device))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.rate)
        self.step, self.curve = 0, list[Point]()
        if self.checkpoint.exists():
            self._resume()
        elif vgg is not None:
            start_from_vgg(self.network, load_vgg(vgg))

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint, self.device)
        if state["settings"] != asdict(self.settings):
            raise CheckpointError(
                f"{self.checkpoint}: made with {state['settings']}, asked for {asdict(self.settings)}; "
                "resume with the same options or give another folder"
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.curve = state["step"], state["curve"]

    def save(self) -> None:
        """Checkpoint and curve, by the first process alone."""
        save_checkpoint(self.checkpoint, self.network, self.optimizer, asdict(self.settings), self.step, self.curve)
        write_curve(self.folder, self.curve)

    def train(self, pairs: list[ImagePair], *, every: int, progress: Callable[[Point], None]) -> None:
        """Take the steps that are left; a checkpoint every `every` steps and at the end."""
        is_first = not dist.is_initialized() or dist.get_rank() == 0
        network = DistributedDataParallel(self.network) if dist.is_initialized() else self.network
        began = time.monotonic() - (self.curve[-1].seconds if self.curve else 0)
        for ir, vis in batches(pairs, self.settings, self.step):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.settings, self.step)
            loss, ssim_ir, ssim_vis = loss_of(network, ir.to(self.device), vis.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.step += 1
            point = Point(self.step, loss.item(), ssim_ir.item(), ssim_vis.item(), time.monotonic() - began)
            self.curve.append(point)
            progress(point)
            if is_first and (self.step % every == 0 or self.step == self.settings.steps):
                self.save()


def validate(network: JCAE, pairs: list[ImagePair], settings: Settings, device: torch.device) -> tuple[float, float]:
    """Mean SSIM of the reconstruction of held-back crops, IR and VIS; nan without pairs."""
    if not pairs:
        return float("nan"), float("nan")
    size = settings.crop + 2 * MARGIN
    totals = torch.zeros(2)
    for step in range(len(pairs)):
        ir, vis = (
            torch.from_numpy(x).float().to(device) / 255
            for x in draw_batch(pairs, size=size, count=1, seed=settings.seed, step=step)
        )
        with torch.no_grad():
            totals += torch.stack(loss_of(network, ir, vis)[1:]).cpu()
    mean_ir, mean_vis = (totals / len(pairs)).tolist()
    return mean_ir, mean_vis


def _precision(device: torch.device) -> Any:
    """bf16 for convolutions on CUDA, where it doubles the rate; the loss is float32 everywhere."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def _join_processes(device: str, batch: int) -> torch.device:
    """The device of this process; joins the others when started by torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if batch % world:
        raise DataError(f"a batch of {batch} over {world} processes; give a multiple of {world}")
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if world > 1:
        dist.init_process_group("nccl" if chosen.startswith("cuda") else "gloo")
        if chosen == "cuda":
            chosen = f"cuda:{os.environ['LOCAL_RANK']}"
    return torch.device(chosen)


def _options() -> argparse.ArgumentParser:
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train JCAE on pairs of pictures. Run it again to resume; torchrun starts several processes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--pairs", type=Path, nargs="+", required=True, metavar="DIR", help="folders with ir/ and vis/")
    add("-o", "--output", type=Path, required=True, metavar="RUN_DIR", help="folder of the run; resumed if it exists")
    add("--vgg", type=Path, metavar="FILE", help="VGG19 weights to start from: .h5, .pth or .safetensors")
    add("--steps", type=int, default=default.steps, help="steps in all")
    add("--batch", type=int, default=default.batch, help="pairs a step, over all processes")
    add("--crop", type=int, default=default.crop, help="side of the rebuilt crop, px, even")
    add("--rate", type=float, default=default.rate, help="Adam's learning rate")
    add("--cooldown", type=float, default=default.cooldown, help="share of the steps over which the rate falls to 0")
    add("--seed", type=int, default=default.seed, help="of crops, split and first weights")
    add("--validation", type=float, default=default.validation, help="share of the pairs held back")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--every", type=int, default=100, help="steps between checkpoints")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Exit code 2 for an option or a folder that cannot be used."""
    parser = _options()
    given = parser.parse_args(arguments)
    settings = Settings(**{f.name: getattr(given, f.name) for f in fields(Settings)})
    try:
        where = _join_processes(given.device, settings.batch)
        found = find_pairs(given.pairs, at_least=settings.crop + 2 * MARGIN)
        given.output.mkdir(parents=True, exist_ok=True)
        run = Run(given.output, settings, where, given.vgg)
    except (DataError, VggError, CheckpointError) as error:
        parser.error(str(error))
    is_first = not dist.is_initialized() or dist.get_rank() == 0
    _train(run, found, Console(quiet=not is_first), given.every)
    if dist.is_initialized():
        dist.destroy_process_group()


def _train(run: Run, found: PairList, console: Console, every: int) -> None:
    for line in found.skipped:
        console.print(f"skipped {line}")
    settings = run.settings
    pairs, held = split(found.pairs, share=settings.validation, seed=settings.seed)
    console.print(f"{len(pairs)} pairs to train on, {len(held)} held back; step {run.step} on {run.device}")
    with _bar(console) as bar:
        task = bar.add_task("train", total=settings.steps, completed=run.step, loss="")

        def show(point: Point) -> None:
            bar.update(task, completed=point.step, loss=f"loss {point.loss:.2f}")
            if not console.is_terminal and point.step % 25 == 0:
                ssims = f"ssim {point.ssim_ir:.4f} {point.ssim_vis:.4f}"
                console.print(f"step {point.step} loss {point.loss:.3f} {ssims} {point.seconds:.0f} s")

        run.train(pairs, every=every, progress=show)
    ssim_ir, ssim_vis = validate(run.network, held, settings, run.device)
    console.print(f"held-back SSIM of the reconstruction: ir {ssim_ir:.4f}, vis {ssim_vis:.4f}")
    console.print(f"checkpoint: {run.checkpoint}; now `python -m training.export {run.checkpoint} -o MODEL_DIR`")


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


if __name__ == "__main__":
    main()
