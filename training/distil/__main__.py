"""Teach a light network what a full one draws: `python -m training.distil --pairs DIR... -o MODEL_DIR`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from rich.progress import TaskID
from torch import Tensor

from engines.model import DEFAULT, ModelInfo, load_model, sha256
from training.command import Parser, progress_bar, say
from training.data import DataError, ImagePair, find_pairs, split
from training.distil.borrow import borrowed_windows, kept_windows
from training.distil.export import export
from training.distil.network import Shape
from training.distil.run import DistilRun
from training.distil.teacher import read_triple, small_size, teacher_pictures
from training.export import read_metrics
from training.interrupt import Interrupt
from training.model_folder import refuse_strangers
from training.processes import choose_device
from training.run import Settings, SettingsError
from training.single_command import add_options, ending_well, run_folder, settings_of, take_steps

SETTINGS = Settings(steps=16000, batch=4, crop=96, rate=3e-3, cooldown=0.6)
LOOKED_AT = 120
"""Pictures of the teacher's that decide which of its maps are borrowed."""
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
    add("--start", type=Path, metavar="MODEL_DIR", help="a light model to start from, e.g. of the teacher before")
    add("--pictures", type=int, metavar="N", help="that the teacher draws at most, of all pairs and versions; all")
    add("--versions", type=int, default=2, metavar="N", help="of each pair: as it is, and N - 1 times disturbed")
    for field in fields(Shape):
        add(f"--{field.name}", type=int, default=field.default, help="of the network, see training/distil/network.py")
    add("--borrow", type=int, default=4, metavar="N", help="common maps at most that follow the rules of the teacher's")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N; the teacher draws on the CPU")
    add("--threads", type=int, default=0, help="of the teacher, 0 for one a core")
    add_options(parser, SETTINGS, every=250, pair="crops")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Exit code 2 for an option or a file that cannot be used, 1 if training or the check of the model fails, 130 after
    Ctrl-C (143 after SIGTERM) with what was done kept; in each case one line says why.
    """
    parser = _options()
    given = parser.parse_args(arguments)
    ending_well(parser, lambda: _main(given))


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
    folder = run_folder(given)
    made_by = sha256(teacher.folder / "model.json")
    borrow = given.borrow if teacher.kind == "jcae" and not shape.layers else 0  # others follow no rules, or need more
    how = {"teacher": made_by, "borrow": borrow, "device": device, "start": given.start}
    run = DistilRun(folder, settings, shape, **how)
    with Interrupt() as interrupt:
        pictures = _draw(given, teacher, (pairs, held), folder / "teacher", console, interrupt)
        if interrupt.came():
            say(console, f"stopped while the teacher draws, kept in {folder / 'teacher'}; the same command goes on")
            return interrupt.exit_code
        if borrow:
            run.borrow(*_borrowed(given, teacher, pictures[0], folder / "borrowed.safetensors", is_new=run.step == 0))
        say(
            console,
            f"{len(pictures[0])} pictures to train on, {len(pictures[1])} held back; step {run.step} on {device}",
        )
        code = take_steps(run, "light", pictures, given.every, console, interrupt)
    if code:
        return code
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
        ("versions", given.versions >= 1, "1 or more"),
        ("pictures", given.pictures is None or given.pictures >= 1, "1 or more"),
        ("threads", given.threads >= 0, "0 or more"),
        ("borrow", 0 <= given.borrow <= given.maps, "0 to the maps of a branch"),
        *((name, *rule) for name, rule in shape.rules().items()),
    ):
        if not holds:
            raise SettingsError(f"{name} {getattr(given, name)}: must be {allowed}")
    return settings_of(given), shape


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
    with progress_bar(console) as bar:

        def shown(task: TaskID) -> Callable[[int, int], None]:
            return lambda done, total: bar.update(task, completed=done, total=total)

        held, trained = (bar.add_task(f"teacher, {name}", total=None, loss="") for name in ("held back", "to train on"))
        kept = teacher_pictures(teacher, pairs[1], folder, versions=1, progress=shown(held), **how)
        options = {"versions": given.versions, "most": given.pictures, **how}
        return teacher_pictures(teacher, pairs[0], folder, progress=shown(trained), **options), kept


def _borrowed(
    given: argparse.Namespace, teacher: ModelInfo, pictures: Sequence[ImagePair], path: Path, *, is_new: bool
) -> tuple[Tensor, Tensor]:
    """The windows of the run. Raises DataError, SaveError."""

    def make() -> tuple[Tensor, Tensor]:
        triples = [read_triple(picture.ir) for picture in pictures[:LOOKED_AT]]
        how = {"most": given.borrow, "side": given.stem, "seed": given.seed, "threads": given.threads}
        return borrowed_windows(teacher, triples, **how)

    return kept_windows(path, make, is_new=is_new)


if __name__ == "__main__":
    main()
