"""Train one baseline and write its model: `python -m training.baselines.train NAME --pairs DIR... -o MODEL_DIR`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.baselines.base import Baseline
from training.baselines.deepfuse import DeepFuse
from training.baselines.densefuse import DenseFuse, DenseFuseL1
from training.baselines.export import export
from training.baselines.fusiongan import FusionGAN
from training.baselines.ifcnn import IFCNN
from training.baselines.mfcnn import MFCNN
from training.baselines.run import OPTIONS, Run
from training.checkpoint import CheckpointError, Point, SaveError
from training.command import Parser, first_line, say
from training.data import DataError, find_pairs, split
from training.export import ExportError, read_metrics
from training.interrupt import Interrupt
from training.model_folder import TargetError, refuse_strangers
from training.processes import ProcessError, choose_device
from training.run import DivergedError, Settings, SettingsError
from training.vgg import VggError

BASELINES: dict[str, type[Baseline]] = {
    "deepfuse": DeepFuse,
    "densefuse": DenseFuse,
    "densefuse-l1": DenseFuseL1,
    "ifcnn": IFCNN,
    "mfcnn": MFCNN,
    "fusiongan": FusionGAN,
}
DEFAULT = Settings(steps=2000, batch=8, crop=64, rate=1e-3, cooldown=0.5)


def _options() -> Parser:
    parser = Parser(
        prog="python -m training.baselines.train",
        description="Train a baseline network on pairs of pictures and write its model. Run it again to resume.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("name", choices=BASELINES, metavar="NAME", help=", ".join(BASELINES))
    add("--pairs", type=Path, nargs="+", required=True, metavar="DIR", help="folders with ir/ and vis/")
    add("-o", "--output", type=Path, required=True, metavar="MODEL_DIR", help="folder of the finished model")
    add(
        "--run",
        type=Path,
        metavar="RUN_DIR",
        help="folder of the run, resumed if it exists; MODEL_DIR.run if not given",
    )
    add("--vgg", type=Path, metavar="FILE", help="VGG19 weights to start from, where the network can")
    add("--steps", type=int, default=DEFAULT.steps, help="steps in all")
    add("--batch", type=int, default=DEFAULT.batch, help="pairs a step")
    add("--crop", type=int, default=DEFAULT.crop, help="side of the fused crop, px, even")
    add("--rate", type=float, default=DEFAULT.rate, help="Adam's learning rate")
    add("--cooldown", type=float, default=DEFAULT.cooldown, help="share of the steps over which the rate falls to 0")
    add("--seed", type=int, default=DEFAULT.seed, help="of crops, split and first weights")
    add("--validation", type=float, default=DEFAULT.validation, help="share of the pairs held back")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--every", type=int, default=100, help="steps between checkpoints, and between looks at the pairs held back")
    add("--data", default="", help="what it was trained on, in words")
    add("--metrics", type=Path, metavar="FILE", help="JSON file of numbers to keep with it")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Exit code 2 for an option or a file that cannot be used, 1 if training or the check of the model fails, 130 after
    Ctrl-C (143 after SIGTERM) with a checkpoint written; in each case one line says why.
    """
    parser = _options()
    given = parser.parse_args(arguments)
    try:
        settings = Settings(**{name: getattr(given, name) for name in OPTIONS})
        if given.every < 1:
            raise SettingsError(f"every {given.every}: must be 1 or more")
        if given.vgg and not BASELINES[given.name].from_vgg:
            able = ", ".join(name for name, kind in BASELINES.items() if kind.from_vgg)
            raise SettingsError(f"--vgg {given.vgg}: {given.name} starts at random, only {able} takes it; leave it out")
        code = _main(given, settings)
    except (DivergedError, SaveError, ExportError) as error:
        parser.fail(1, str(error))
    except torch.OutOfMemoryError as error:
        parser.fail(1, f"{first_line(error)}; the last checkpoint stays, lower --batch or --crop in another --run")
    except (SettingsError, ProcessError, DataError, VggError, CheckpointError, TargetError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.fail(130, "interrupted outside of a step; the last checkpoint, if any, is as it was")
    if code:
        raise SystemExit(code)


def _main(given: argparse.Namespace, settings: Settings) -> int:
    """The run and the model; the exit code."""
    console, kind = Console(), BASELINES[given.name]
    refuse_strangers(given.output)  # before hours of training, not after
    metrics = read_metrics(given.metrics) if given.metrics else {}
    found = find_pairs(given.pairs, at_least=settings.crop + 2 * kind.margin)
    pairs, held = split(found.pairs, share=settings.validation, seed=settings.seed)
    if not pairs:
        raise DataError(f"all {len(held)} pairs are held back; lower --validation or give more pairs")
    for line in found.skipped:
        say(console, f"skipped {line}")
    folder = given.run or given.output.with_name(f"{given.output.name}.run")
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder, kind, settings, choose_device(given.device, world=1, local=0), given.vgg)
    say(console, f"{len(pairs)} pairs to train on, {len(held)} held back; step {run.step} on {run.device}")
    with Interrupt() as interrupt, _bar(console) as bar:
        task = bar.add_task(given.name, total=settings.steps, completed=run.step, loss="")

        def show(step: int, loss: float, point: Point | None) -> None:
            bar.update(task, completed=step, loss=f"loss {loss:.4g}")
            if point:
                ssims = f"ssim of the fused {point.ssim_ir:.3f} {point.ssim_vis:.3f}"
                say(console, f"step {step} loss {loss:.4g} held back {point.loss:.4g} {ssims} {point.seconds:.0f} s")

        run.train(pairs, held, every=given.every, progress=show, stop=interrupt.came)
    if run.step < settings.steps:
        say(console, f"stopped after step {run.step}, kept in {run.checkpoint}; the same command goes on")
        return interrupt.exit_code
    training = {"network": given.name, "data": given.data, "pairs": len(pairs), **run.settings, "taken_steps": run.step}
    if run.curve and math.isfinite(run.curve[-1].loss):
        training["held_out_loss"] = round(run.curve[-1].loss, 6)
    info = export(run.network, given.output, name=given.output.resolve().name, training=training, metrics=metrics)
    size = sum(path.stat().st_size for path in given.output.iterdir())
    say(console, f"{given.output}: {len(info.files)} files, {size / 1e6:.2f} MB, the graph agrees with torch")
    return 0


def _bar(console: Console) -> Progress:
    loss = TextColumn("{task.fields[loss]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), loss)
    return Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )


if __name__ == "__main__":
    main()
