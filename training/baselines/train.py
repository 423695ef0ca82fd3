"""Train one baseline and write its model: `python -m training.baselines.train NAME --pairs DIR... -o MODEL_DIR`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from training.baselines.base import Baseline
from training.baselines.deepfuse import DeepFuse
from training.baselines.densefuse import DenseFuse, DenseFuseL1
from training.baselines.export import export
from training.baselines.fusiongan import FusionGAN
from training.baselines.ifcnn import IFCNN
from training.baselines.mfcnn import MFCNN
from training.baselines.run import Run
from training.command import Parser, say
from training.data import DataError, find_pairs, split
from training.export import read_metrics
from training.interrupt import Interrupt
from training.model_folder import refuse_strangers
from training.processes import choose_device
from training.run import Settings, SettingsError
from training.single_command import add_options, ending_well, run_folder, settings_of, take_steps

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
    add("--vgg", type=Path, metavar="FILE", help="VGG19 weights to start from, where the network can")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add_options(parser, DEFAULT, every=100, pair="pairs")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Exit code 2 for an option or a file that cannot be used, 1 if training or the check of the model fails, 130 after
    Ctrl-C (143 after SIGTERM) with a checkpoint written; in each case one line says why.
    """
    parser = _options()
    given = parser.parse_args(arguments)
    ending_well(parser, lambda: _main(given))


def _main(given: argparse.Namespace) -> int:
    """The run and the model; the exit code."""
    console, kind, settings = Console(), BASELINES[given.name], settings_of(given)
    if given.vgg and not kind.from_vgg:
        able = ", ".join(name for name, other in BASELINES.items() if other.from_vgg)
        raise SettingsError(f"--vgg {given.vgg}: {given.name} starts at random, only {able} takes it; leave it out")
    refuse_strangers(given.output)  # before hours of training, not after
    metrics = read_metrics(given.metrics) if given.metrics else {}
    found = find_pairs(given.pairs, at_least=settings.crop + 2 * kind.margin)
    pairs, held = split(found.pairs, share=settings.validation, seed=settings.seed)
    if not pairs:
        raise DataError(f"all {len(held)} pairs are held back; lower --validation or give more pairs")
    for line in found.skipped:
        say(console, f"skipped {line}")
    run = Run(run_folder(given), kind, settings, choose_device(given.device, world=1, local=0), given.vgg)
    say(console, f"{len(pairs)} pairs to train on, {len(held)} held back; step {run.step} on {run.device}")
    with Interrupt() as interrupt:
        code = take_steps(run, given.name, (pairs, held), given.every, console, interrupt)
    if code:
        return code
    training = {"network": given.name, "data": given.data, "pairs": len(pairs), **run.settings, "taken_steps": run.step}
    if run.curve and math.isfinite(run.curve[-1].loss):
        training["held_out_loss"] = round(run.curve[-1].loss, 6)
    info = export(run.network, given.output, name=given.output.resolve().name, training=training, metrics=metrics)
    size = sum(path.stat().st_size for path in given.output.iterdir())
    say(console, f"{given.output}: {len(info.files)} files, {size / 1e6:.2f} MB, the graph agrees with torch")
    return 0


if __name__ == "__main__":
    main()
