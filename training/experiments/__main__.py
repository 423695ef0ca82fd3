"""Do the paper's experiments again: `python -m training.experiments --tno DIR --train DIR... -o docs`."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from engines.base import CrotalusError
from engines.model import load_model, sha256
from training.bench import BenchError, cores
from training.command import Parser, say
from training.data import DataError, find_pairs
from training.experiments.page import PAGE, PICTURES, write_page
from training.experiments.section import keep, kept
from training.experiments.setup import Setup
from training.experiments.short_runs import Trainer
from training.experiments.stages import STAGES
from training.network import MARGIN
from training.rows import LEAST_SIDE
from training.run import DivergedError, Settings, SettingsError
from training.vgg import VggError

TRAINED = ("fig4", "fig5", "vgg")
"""Experiments that cannot be run without pairs to train on."""
SOURCES = (
    "*.py",
    "../metrics/*.py",
    "../rows.py",
    "../network.py",
    "../loss.py",
    "../vgg.py",
    "../../engines/rules.py",
)
"""What decides the experiments; a change makes what was kept stale."""


def _options() -> Parser:
    default = Settings(steps=200, crop=64)
    parser = Parser(prog="python -m training.experiments", description=__doc__)
    add = parser.add_argument
    add("--tno", type=Path, required=True, metavar="DIR", help="folder with ir/ and vis/ to measure on")
    add("--train", type=Path, nargs="+", default=[], metavar="DIR", help="folders with ir/ and vis/ for the trainings")
    add("--vgg", type=Path, metavar="FILE", help="VGG19 weights to start from: .h5, .pth or .safetensors")
    add("--model", default="jcae", help="whose weights are used where nothing is trained (jcae)")
    add("--rivals", nargs="+", default=[], metavar="METHOD", help="beside it in Table 1, as training.evaluate has them")
    add("--only", metavar="NAMES", help=f"some of {','.join(STAGES)}")
    add("--every", type=int, default=4, metavar="N", help="measure all but Table 1 on every N-th pair (4)")
    add("--steps", type=int, default=default.steps, help=f"of each of the 8 trainings ({default.steps})")
    add("--crop", type=int, default=default.crop, help=f"side of the crop that is rebuilt, px ({default.crop})")
    add("--batch", type=int, default=default.batch, help=f"pairs a step ({default.batch})")
    add("--rate", type=float, default=default.rate, help=f"Adam's learning rate ({default.rate:g})")
    add("--workers", type=int, default=0, metavar="N", help="processes for Table 1; one a core if not given")
    add("--cache", type=Path, default=Path("runs/paper"), metavar="DIR", help="what was run is kept here (runs/paper)")
    add("--pictures", type=Path, metavar="DIR", help="write figures of real pairs here")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help=f"{PAGE} and {PICTURES}/ are written here")
    return parser


def run(setup: Setup, names: Sequence[str], output: Path, reasons: dict[str, str]) -> None:
    """Run the experiments whose outcome is not kept, and write the page after each of them."""
    titles = {name: title for name, (title, _) in STAGES.items()}
    write_page(output, setup.cache, titles, reasons)
    for name in names:
        folder, key = setup.cache / name, _key(setup, name)
        folder.mkdir(parents=True, exist_ok=True)
        found = kept(folder)
        if found and found[0] == key and name != "table1":  # it keeps its rows itself, and knows what changed
            setup.say(f"{name}: kept from before")
            continue
        setup.say(f"{name}: {titles[name]}")
        keep(folder, key, STAGES[name][1](setup, folder))
        write_page(output, setup.cache, titles, reasons)


def _key(setup: Setup, name: str) -> str:
    """Of everything that decides an experiment; another key runs it again."""
    files = [path for pattern in SOURCES for path in Path(__file__).parent.glob(pattern)]
    files.append(setup.model / "model.json")
    parts = [name, str(setup.every), str(setup.pictures), *(sha256(path) for path in sorted(files))]
    parts += [sha256(path) for pair in setup.some for path in (pair.ir, pair.vis)]
    if setup.trainer and name in (*TRAINED, "branches"):
        trainer = setup.trainer
        parts += [json.dumps(asdict(trainer.settings)), sha256(trainer.vgg) if trainer.vgg else "random"]
        parts += [f"{pair.ir} {pair.vis}" for pair in trainer.pairs]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Exit code 2 for what cannot be used, 1 if an experiment fails, 130 for Ctrl-C.

    What has run by then is kept, and on the page.
    """
    parser = _options()
    given = parser.parse_args(arguments)
    names = given.only.split(",") if given.only else list(STAGES)
    reasons: dict[str, str] = {}
    if unknown := [name for name in names if name not in STAGES]:
        parser.error(f"--only {unknown[0]}: no such experiment; give some of {','.join(STAGES)}")
    if given.every < 1 or given.workers < 0:
        parser.error(f"--every {given.every} --workers {given.workers}: give 1 or more")
    for name in TRAINED:
        lacking = "--train" if not given.train else "--vgg" if name == "vgg" and not given.vgg else None
        if lacking and given.only and name in names:
            parser.error(f"--only {name}: needs {lacking}; give it, or leave {name} out")
        if lacking:
            reasons[name] = f"it needs `{lacking}`"
            names = [other for other in names if other != name]
    console = Console()
    try:
        setup = _setup(given, console)
        run(setup, names, given.output, reasons)
    except (CrotalusError, DataError, VggError, SettingsError, OSError) as error:
        parser.error(str(error))
    except (BenchError, DivergedError) as error:
        parser.fail(1, str(error))
    except KeyboardInterrupt:
        parser.fail(130, "interrupted; the same command goes on where it was")
    say(console, f"{given.output / PAGE}: written; not run: {', '.join(reasons) or 'none'}")


def _setup(given: argparse.Namespace, console: Console) -> Setup:
    """What the options say, with every folder looked at. Raises ModelError, DataError, SettingsError."""
    info = load_model(given.model)
    listed = find_pairs([given.tno], at_least=LEAST_SIDE)
    for line in listed.skipped:
        say(console, f"skipped {line}")
    trainer = None
    settings = Settings(steps=given.steps, batch=given.batch, crop=given.crop, rate=given.rate)
    if given.train:
        pairs = find_pairs(given.train, at_least=settings.crop + 2 * MARGIN).pairs

        def progress(text: str, step: int) -> None:
            if step % 25 == 24 or step == settings.steps - 1:
                say(console, f"  {text}: step {step + 1} of {settings.steps}")

        trainer = Trainer(pairs, settings, given.vgg, given.cache / "trained", progress)
    return Setup(
        tno=given.tno,
        pairs=listed.pairs,
        every=given.every,
        model=info.folder,
        rivals=tuple(given.rivals),
        trainer=trainer,
        cache=given.cache,
        pictures=given.pictures,
        workers=given.workers or cores(),
        say=lambda line: say(console, line),
    )


if __name__ == "__main__":
    main()
