"""Teach a light network what a full one draws: `python -m training.distil --pairs DIR... -o MODEL_DIR`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from engines.base import CrotalusError
from engines.model import DEFAULT, ModelInfo, load_model, sha256
from training.checkpoint import CheckpointError, Point, SaveError
from training.command import Parser, first_line, say
from training.data import DataError, ImagePair, find_pairs, split
from training.distil.export import export
from training.distil.network import Shape
from training.distil.run import TAKEN, DistilRun
from training.distil.teacher import small_size, teacher_pictures
from training.export import ExportError, read_metrics
from training.interrupt import Interrupt
from training.model_folder import TargetError, refuse_strangers
from training.processes import ProcessError, choose_device
from training.run import DivergedError, Settings, SettingsError

SETTINGS = Settings(steps=8000, batch=6, crop=96, rate=3e-3, cooldown=0.5)
LEAST_CROP = 48
"""px: below it the coarser scales of the fusion loss have no window."""


def _options() -> Parser:
    parser = Parser(
        prog="python -m training.distil",
        description="Teach a light network what a full one draws, and write its model. Run it again to resume.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--teacher", default="auto", metavar="MODEL", help=f"a shipped name or a model folder; auto is {DEFAULT}")
    add("--pairs", type=Path, nargs="+", required=True, metavar="DIR", help="folders with ir/ and vis/")
    add("-o", "--output", type=Path, required=True, metavar="MODEL_DIR", help="folder of the finished model")
    add(
        "--run",
        type=Path,
        metavar="RUN_DIR",
        help="folder of the run, resumed if it exists; MODEL_DIR.run if not given",
    )
    add("--start", type=Path, metavar="MODEL_DIR", help="a light model to start from, e.g. of the teacher before")
    add("--pictures", type=int, metavar="N", help="that the teacher draws at most, of all pairs and versions; all")
    add("--versions", type=int, default=2, metavar="N", help="of each pair: as it is, and N - 1 times disturbed")
    add("--steps", type=int, default=SETTINGS.steps, help="steps in all")
    add("--batch", type=int, default=SETTINGS.batch, help="crops a step")
    add("--crop", type=int, default=SETTINGS.crop, help="side of the fused crop, px, even")
    add("--rate", type=float, default=SETTINGS.rate, help="Adam's learning rate")
    add("--cooldown", type=float, default=SETTINGS.cooldown, help="share of the steps over which the rate falls to 0")
    add("--seed", type=int, default=SETTINGS.seed, help="of pictures, crops, split and first weights")
    add("--validation", type=float, default=SETTINGS.validation, help="share of the pairs held back")
    for field in fields(Shape):
        add(f"--{field.name}", type=int, default=field.default, help="of the network, see training/distil/network.py")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N; the teacher draws on the CPU")
    add("--threads", type=int, default=0, help="of the teacher, 0 for one a core")
    add("--every", type=int, default=250, help="steps between checkpoints, and between looks at the pairs held back")
    add("--data", default="", help="what it was trained on, in words")
    add("--metrics", type=Path, metavar="FILE", help="JSON file of numbers to keep with it")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Exit code 2 for an option or a file that cannot be used, 1 if training or the check of the model fails, 130 after
    Ctrl-C (143 after SIGTERM) with what was done kept; in each case one line says why.
    """
    parser = _options()
    given = parser.parse_args(arguments)
    try:
        code = _main(given)
    except (DivergedError, SaveError, ExportError) as error:
        parser.fail(1, str(error))
    except torch.OutOfMemoryError as error:
        parser.fail(1, f"{first_line(error)}; the last checkpoint stays, lower --batch or --crop in another --run")
    except (SettingsError, ProcessError, DataError, CheckpointError, TargetError, CrotalusError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.fail(130, "interrupted outside of a step; the last checkpoint, if any, is as it was")
    if code:
        raise SystemExit(code)


def _main(given: argparse.Namespace) -> int:
    """The teacher's pictures, the run, and the model; the exit code."""
    console, settings, shape = Console(), *_settings(given)
    refuse_strangers(given.output)  # before hours of training, not after
    metrics = read_metrics(given.metrics) if given.metrics else {}
    teacher = load_model(given.teacher)
    device = choose_device(given.device, world=1, local=0)
    found, side = find_pairs(given.pairs), settings.crop + 2 * shape.margin
    fitting = [pair for pair in found.pairs if min(small_size(pair.height, pair.width)) >= side]
    for line in found.skipped:
        say(console, f"skipped {line}")
    if len(fitting) < len(found.pairs):
        say(console, f"skipped {len(found.pairs) - len(fitting)} pairs with a side below the {side} px needed")
    if not fitting:
        raise DataError(f"no pair has sides of {side} px; lower --crop, or give larger pictures")
    pairs, held = split(fitting, share=settings.validation, seed=settings.seed)
    if not pairs:
        raise DataError(f"all {len(held)} pairs are held back; lower --validation or give more pairs")
    folder: Path = given.run or given.output.with_name(f"{given.output.name}.run")
    folder.mkdir(parents=True, exist_ok=True)
    made_by = sha256(teacher.folder / "model.json")
    run = DistilRun(folder, settings, shape, teacher=made_by, device=device, start=given.start)
    with Interrupt() as interrupt:
        pictures = _draw(given, teacher, (pairs, held), folder / "teacher", console, interrupt)
        if interrupt.came():
            say(console, f"stopped while the teacher draws, kept in {folder / 'teacher'}; the same command goes on")
            return interrupt.exit_code
        say(
            console,
            f"{len(pictures[0])} pictures to train on, {len(pictures[1])} held back; step {run.step} on {device}",
        )
        _train(run, pictures, settings, given.every, console, interrupt)
    if run.step < settings.steps:
        say(console, f"stopped after step {run.step}, kept in {run.checkpoint}; the same command goes on")
        return interrupt.exit_code
    training = {"data": given.data, "teacher_name": teacher.name, "pictures": len(pictures[0]), **run.settings}
    if run.curve:
        training["held_out_psnr_to_teacher"] = round(-run.curve[-1].loss, 2)
    name = given.output.resolve().name
    info = export(
        run.result(), given.output, name=name, training={**training, "taken_steps": run.step}, metrics=metrics
    )
    size = sum(path.stat().st_size for path in given.output.iterdir())
    say(console, f"{given.output}: {len(info.files)} files, {size / 1e6:.2f} MB, all agree with torch and the rules")
    return 0


def _settings(given: argparse.Namespace) -> tuple[Settings, Shape]:
    """Raises SettingsError."""
    shape = Shape(**{field.name: getattr(given, field.name) for field in fields(Shape)})
    for name, holds, allowed in (
        ("crop", given.crop >= LEAST_CROP, f"{LEAST_CROP} or more"),
        ("every", given.every >= 1, "1 or more"),
        ("versions", given.versions >= 1, "1 or more"),
        ("pictures", given.pictures is None or given.pictures >= 1, "1 or more"),
        ("threads", given.threads >= 0, "0 or more"),
        *((name, *rule) for name, rule in shape.rules().items()),
    ):
        if not holds:
            raise SettingsError(f"{name} {getattr(given, name)}: must be {allowed}")
    return Settings(**{name: getattr(given, name) for name in TAKEN}), shape


def _draw(
    given: argparse.Namespace,
    teacher: ModelInfo,
    pairs: tuple[Sequence[ImagePair], Sequence[ImagePair]],
    folder: Path,
    console: Console,
    interrupt: Interrupt,
) -> tuple[list[ImagePair], list[ImagePair]]:
    """The teacher's pictures to train on and those held back, as they are."""
    how = {"seed": given.seed, "threads": given.threads, "stop": interrupt.came}
    with _bar(console) as bar:

        def shown(task: TaskID) -> Callable[[int, int], None]:
            return lambda done, total: bar.update(task, completed=done, total=total)

        held, trained = (bar.add_task(f"teacher, {name}", total=None, loss="") for name in ("held back", "to train on"))
        kept = teacher_pictures(teacher, pairs[1], folder, versions=1, progress=shown(held), **how)
        options = {"versions": given.versions, "most": given.pictures, **how}
        return teacher_pictures(teacher, pairs[0], folder, progress=shown(trained), **options), kept


def _train(
    run: DistilRun,
    pictures: tuple[list[ImagePair], list[ImagePair]],
    settings: Settings,
    every: int,
    console: Console,
    interrupt: Interrupt,
) -> None:
    with _bar(console) as bar:
        task = bar.add_task("light", total=settings.steps, completed=run.step, loss="")

        def show(step: int, loss: float, point: Point | None) -> None:
            bar.update(task, completed=step, loss=f"loss {loss:.4g}")
            if point:
                ssims = f"ssim of the fused {point.ssim_ir:.3f} {point.ssim_vis:.3f}"
                say(
                    console,
                    f"step {step} loss {loss:.4g} to the teacher {-point.loss:.2f} dB {ssims} {point.seconds:.0f} s",
                )

        run.train(*pictures, every=every, progress=show, stop=interrupt.came)


def _bar(console: Console) -> Progress:
    loss = TextColumn("{task.fields[loss]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), loss)
    return Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )


if __name__ == "__main__":
    main()
