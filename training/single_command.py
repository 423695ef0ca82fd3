"""What commands around a `SingleRun` share: options, how a failure is told, and what is shown of the steps."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from engines.base import CrotalusError
from training.checkpoint import CheckpointError, Point, SaveError
from training.command import Parser, first_line, progress_bar, say
from training.data import DataError
from training.export import ExportError
from training.interrupt import Interrupt
from training.model_folder import TargetError
from training.processes import ProcessError
from training.run import DivergedError, Settings, SettingsError
from training.single_run import OPTIONS, Sets, SingleRun
from training.vgg import VggError

USERS = SettingsError, ProcessError, DataError, VggError, CheckpointError, TargetError, CrotalusError, OSError
"""What a user can set right: exit code 2."""


def add_options(parser: Parser, default: Settings, *, every: int, pair: str) -> None:
    """Where from and to, the settings, and what is kept with the model. pair: what a batch is made of, in words."""
    add = parser.add_argument
    add("--pairs", type=Path, nargs="+", required=True, metavar="DIR", help="folders with ir/ and vis/")
    add("-o", "--output", type=Path, required=True, metavar="MODEL_DIR", help="folder of the finished model")
    run = "folder of the run, resumed if it exists; MODEL_DIR.run if not given"
    add("--run", type=Path, metavar="RUN_DIR", help=run)
    add("--steps", type=int, default=default.steps, help="steps in all")
    add("--batch", type=int, default=default.batch, help=f"{pair} a step")
    add("--crop", type=int, default=default.crop, help="side of the fused crop, px, even")
    add("--rate", type=float, default=default.rate, help="Adam's learning rate")
    add("--cooldown", type=float, default=default.cooldown, help="share of the steps over which the rate falls to 0")
    add("--seed", type=int, default=default.seed, help="of all that is drawn, the split and the first weights")
    add("--validation", type=float, default=default.validation, help="share of the pairs held back")
    add("--every", type=int, default=every, help="steps between checkpoints, and between looks at the pairs held back")
    add("--data", default="", help="what it was trained on, in words")
    add("--metrics", type=Path, metavar="FILE", help="JSON file of numbers to keep with it")


def settings_of(given: argparse.Namespace) -> Settings:
    """Raises SettingsError."""
    if given.every < 1:
        raise SettingsError(f"every {given.every}: must be 1 or more")
    return Settings(**{name: getattr(given, name) for name in OPTIONS})


def run_folder(given: argparse.Namespace) -> Path:
    """The one asked for, or the one beside the model; made if it is not there."""
    folder: Path = given.run or given.output.with_name(f"{given.output.name}.run")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ending_well(parser: Parser, work: Callable[[], int]) -> None:
    """Do the work and leave with its exit code, or with that of its failure, which one line on stderr tells."""
    try:
        code = work()
    except (DivergedError, SaveError, ExportError) as error:
        parser.fail(1, str(error))
    except torch.OutOfMemoryError as error:
        parser.fail(1, f"{first_line(error)}; the last checkpoint stays, lower --batch or --crop in another --run")
    except USERS as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.fail(130, "interrupted outside of a step; the last checkpoint, if any, is as it was")
    if code:
        raise SystemExit(code)


def take_steps(run: SingleRun, name: str, sets: Sets, every: int, console: Console, interrupt: Interrupt) -> int:
    """Take the run's steps under a bar, with a line for each look; 0, or the exit code if it was stopped before."""
    with progress_bar(console) as bar:
        task = bar.add_task(name, total=run.settings["steps"], completed=run.step, loss="")

        def show(step: int, loss: float, point: Point | None) -> None:
            bar.update(task, completed=step, loss=f"loss {loss:.4g}")
            if point:
                ssims = f"ssim of the fused {point.ssim_ir:.3f} {point.ssim_vis:.3f}"
                say(console, f"step {step} loss {loss:.4g} {run.words(point)} {ssims} {point.seconds:.0f} s")

        run.train(*sets, every=every, progress=show, stop=interrupt.came)
    if run.step == run.settings["steps"]:
        return 0
    say(console, f"stopped after step {run.step}, kept in {run.checkpoint}; the same command goes on")
    return interrupt.exit_code
