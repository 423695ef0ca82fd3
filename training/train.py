"""Train the network on pairs: `python -m training.train --pairs DIR... -o RUN_DIR`. Run it again to resume."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from rich.console import Console

from engines.model import ModelError
from training.checkpoint import CheckpointError, Point, SaveError
from training.command import Parser, first_line, progress_bar, say
from training.data import DataError, ImagePair, find_pairs, split
from training.fusion.run import LEAST_CROP, FusionRun
from training.interrupt import Interrupt
from training.network import MARGIN
from training.processes import ProcessError, Processes, joined
from training.run import DivergedError, Run, Settings, SettingsError, validate
from training.vgg import VggError


def _options() -> Parser:
    default = Settings()
    parser = Parser(
        prog="python -m training.train",
        description="Train JCAE on pairs of pictures. Run it again to resume; torchrun starts several processes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--pairs", type=Path, nargs="+", required=True, metavar="DIR", help="folders with ir/ and vis/")
    add("-o", "--output", type=Path, required=True, metavar="RUN_DIR", help="folder of the run; resumed if it exists")
    add("--vgg", type=Path, metavar="FILE", help="VGG19 weights to start from: .h5, .pth or .safetensors")
    add(
        "--through-fusion",
        type=Path,
        metavar="START",
        help="train on the fused picture, from checkpoint.pt of a run or a model folder",
    )
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
    """The command line.

    Exit code 2 for an option or a file that cannot be used, 1 if training fails, 130 after Ctrl-C (143 after SIGTERM)
    with a checkpoint written; in each case one line says why.
    """
    parser = _options()
    given = parser.parse_args(arguments)
    try:
        given.goal = "fusion" if given.through_fusion else "reconstruction"
        settings = Settings(**{f.name: getattr(given, f.name) for f in fields(Settings)})
        if given.through_fusion and given.vgg:
            raise SettingsError("--vgg and --through-fusion: a run has one start; give one of them")
        if given.through_fusion and settings.crop < LEAST_CROP:
            raise SettingsError(f"crop {settings.crop}: must be {LEAST_CROP} or more with --through-fusion")
        if given.every < 1:
            raise SettingsError(f"every {given.every}: must be 1 or more")
        with joined(given.device, settings.batch) as processes:
            code = _main(given, settings, processes)
    except (DivergedError, SaveError) as error:
        parser.fail(1, str(error))
    except torch.OutOfMemoryError as error:
        parser.fail(1, f"{first_line(error)}; the last checkpoint stays, lower --batch or --crop in another folder")
    except (SettingsError, ProcessError, DataError, VggError, CheckpointError, ModelError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.fail(130, "interrupted outside of a step; the last checkpoint, if any, is as it was")
    if code:
        raise SystemExit(code)


def _main(given: argparse.Namespace, settings: Settings, processes: Processes) -> int:
    """The run of this process; its exit code."""
    found = find_pairs(given.pairs, at_least=settings.crop + 2 * MARGIN)
    pairs, held = split(found.pairs, share=settings.validation, seed=settings.seed)
    if not pairs:
        raise DataError(f"all {len(held)} pairs are held back; lower --validation or give more pairs")
    given.output.mkdir(parents=True, exist_ok=True)
    kind, start = (FusionRun, given.through_fusion) if settings.goal == "fusion" else (Run, given.vgg)
    run = kind(given.output, settings, processes, start)
    console = Console(quiet=not processes.is_first)
    for line in found.skipped:
        say(console, f"skipped {line}")
    say(console, f"{len(pairs)} pairs to train on, {len(held)} held back; step {run.step} on {processes.device}")
    with Interrupt() as interrupt:
        _train(run, pairs, given.every, interrupt, console)
    if run.step < settings.steps:
        say(console, f"stopped after step {run.step}, kept in {run.checkpoint}; the same command goes on")
        return interrupt.exit_code
    if processes.is_first:
        ssim_ir, ssim_vis = validate(run, held)
        what = "fused picture" if settings.goal == "fusion" else "reconstruction"
        say(console, f"held-back SSIM of the {what}: ir {ssim_ir:.4f}, vis {ssim_vis:.4f}")
    say(console, f"checkpoint: {run.checkpoint}; now `python -m training.export {run.checkpoint} -o MODEL_DIR`")
    return 0


def _train(run: Run, pairs: Sequence[ImagePair], every: int, interrupt: Interrupt, console: Console) -> None:
    """Step with a bar on a terminal, with a line every 25 steps elsewhere."""
    with progress_bar(console) as bar:
        task = bar.add_task("train", total=run.settings.steps, completed=run.step, loss="")

        def show(point: Point) -> None:
            bar.update(task, completed=point.step, loss=f"loss {point.loss:.2f}")
            if not console.is_terminal and (point.step % 25 == 0 or point.step == run.settings.steps):
                ssims = f"ssim {point.ssim_ir:.4f} {point.ssim_vis:.4f}"
                say(console, f"step {point.step} loss {point.loss:.3f} {ssims} {point.seconds:.0f} s")

        run.train(pairs, every=every, progress=show, stop=interrupt.came)


if __name__ == "__main__":
    main()
