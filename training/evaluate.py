"""Measure methods on pairs or clips no model was trained on: `python -m training.evaluate MODEL... --pairs DIR`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from engines.base import CrotalusError
from engines.classical import CLASSICAL
from engines.model import load_model
from training.bench import BenchError, cores, measure_all
from training.clip_evaluation import evaluate_clips
from training.clips import LEAST_FRAMES, find_clips, open_clip_methods
from training.command import Parser, say
from training.data import DataError, find_pairs
from training.methods import FORMULAS, Method, open_methods, plan
from training.report import write_report
from training.rows import LEAST_SIDE, Row, averages, shown
from training.tables import FILES, Evaluation, write_tables

# Nothing here loads torch at the top: every process of the bench imports this file, too.

KEPT = "rows.jsonl"
"""In the output folder: every picture's row, so that an interrupted evaluation goes on where it was."""
REPORT = "report.html"
"""In the output folder."""


def evaluate(
    methods: Sequence[Method],
    folders: Sequence[Path],
    *,
    ours: str | None = None,
    every: int = 1,
    kept: Path | None = None,
    workers: int = 1,
    report: Path | None = None,
    console: Console | None = None,
) -> Evaluation:
    """The rows of all methods on every n-th pair of the folders.

    ours: the method that the others are compared with. kept, workers: see `bench.measure_all`. report: an HTML page
    to be written. Pairs below `LEAST_SIDE` are left out, and results that fit no pair. Raises ModelError, BackendError,
    DataError, OSError.
    """
    listed = find_pairs(folders, at_least=LEAST_SIDE)
    pairs = list(dict.fromkeys(listed.pairs))[::every]  # a folder given twice counts once
    jobs, left_out = plan(methods, pairs, beside=listed.pairs)
    measured = measure_all(jobs, kept=kept, workers=workers, console=console)
    rows: dict[str, list[Row | None]] = {method.name: [None] * len(pairs) for method in methods}
    places = {pair: place for place, pair in enumerate(pairs)}
    for job, row in zip(jobs, measured, strict=True):
        rows[job.method.name][places[job.pair]] = row
    found = Evaluation(
        pairs=tuple(pair.ir.stem for pair in pairs),
        rows={name: tuple(of_method) for name, of_method in rows.items()},
        ours=ours,
        left_out=(*listed.skipped, *left_out),
    )
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)
        write_report(found, jobs, pairs, report)
    return found


def means(found: Evaluation) -> dict[str, Row]:
    """The averages of each method over the pairs that it has a result of."""
    of_all = {name: [row for row in rows if row is not None] for name, rows in found.rows.items()}
    return {name: averages(rows, found.columns) for name, rows in of_all.items()}


def to_json(result: dict[str, Row]) -> str:
    """JSON text of rows by name, as `training.export` takes it; what is not defined is null."""
    return json.dumps(result, indent=2, allow_nan=False) + "\n"


def run(
    given: Sequence[str],
    folders: Sequence[Path],
    *,
    every: int,
    workers: int,
    output: Path | None,
    json_file: Path | None,
    console: Console,
) -> None:
    """Open the methods, measure them, tell the means line by line, and write what is asked for."""
    methods = open_methods(given)
    first = methods[len(FORMULAS)] if given else None
    kept = output / KEPT if output else None
    found = evaluate(
        methods,
        folders,
        ours=first.name if first else None,
        every=every,
        kept=kept,
        workers=workers,
        report=output and output / REPORT,
        console=console,
    )
    result = means(found)
    info = load_model(first.folder) if first and first.kind == "model" else None
    if info and info.kind == "jcae":
        from training.reconstruction import can_rebuild, reconstruction_ssim

        if can_rebuild(info):
            pairs = find_pairs(folders, at_least=LEAST_SIDE).pairs[::every]
            tracked = track(pairs, "rebuilding", console=console, disable=not console.is_terminal)
            result = {"reconstruction": {**reconstruction_ssim(info.folder, tracked)}, **result}
    tell(found, result, output=output, json_file=json_file, console=console)


def run_clips(
    given: Sequence[str],
    places: Sequence[Path],
    *,
    frames: int,
    every: int,
    workers: int,
    output: Path | None,
    json_file: Path | None,
    console: Console,
) -> None:
    """The same on clips; see `find_clips` and `open_clip_methods`."""
    methods = open_clip_methods(given)
    clips, skipped = find_clips(places, frames=frames)
    found = evaluate_clips(
        methods,
        clips[::every],
        skipped=skipped,
        beside=clips,
        ours=methods[len(FORMULAS)].name if given else None,
        kept=output and output / KEPT,
        workers=workers,
        report=output and output / REPORT,
        console=console,
    )
    tell(found, means(found), output=output, json_file=json_file, console=console)


def tell(
    found: Evaluation, result: dict[str, Row], *, output: Path | None, json_file: Path | None, console: Console
) -> None:
    """Write the tables and the means, and say what was left out and every mean. Raises OSError."""
    if output:
        write_tables(found, output)
    for line in found.left_out:
        say(console, f"skipped {line}")
    if found.left_out:
        say(console, f"{len(found.left_out)} files or results skipped, {len(found.pairs)} {found.noun} measured")
    for name, row in result.items():
        count = found.measured(name) if name in found.rows else len(found.pairs)
        of = "" if count == len(found.pairs) else f" ({count} of {len(found.pairs)} {found.noun})"
        say(console, f"{name}{of}: {shown(row)}")
    if json_file:
        json_file.write_text(to_json(result))


def _options() -> Parser:
    parser = Parser(
        prog="python -m training.evaluate", description=__doc__, epilog=f"Always there: {', '.join(FORMULAS)}."
    )
    parser.add_argument(
        "methods",
        nargs="*",
        metavar="METHOD",
        help="a shipped model's name, a model folder, a folder of pictures fused by others, named as the pairs, or a "
        f"formula: {', '.join(CLASSICAL)}; "
        "NAME=METHOD to call it otherwise. The others are compared with the first. On clips: MODEL@frames for each "
        "frame alone, METHOD@steady as `fuse --steady` has it, and a fused video or a folder of <clip>.mp4",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pairs", type=Path, nargs="+", metavar="DIR", help="folders with ir/ and vis/")
    what.add_argument(
        "--videos",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders with ir.* and vis.*, or folders of such folders; or two files, IR and VIS",
    )
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="of each clip the first N only")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th pair only")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes; one a core if not given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the means here too")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help=f"write {', '.join((*FILES, REPORT))} here; what was measured is kept there",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Exit code 2 for what cannot be used, 1 for a process that was killed, 130 for Ctrl-C."""
    parser = _options()
    given = parser.parse_args(arguments)
    if given.every < 1 or given.workers < 0:
        parser.error(f"--every {given.every} --workers {given.workers}: give 1 or more")
    if given.frames and (given.pairs or given.frames < LEAST_FRAMES):
        parser.error(f"--frames {given.frames}: give {LEAST_FRAMES} or more, and with --videos only")
    common = {
        "every": given.every,
        "workers": given.workers or cores(),
        "output": given.output,
        "json_file": given.json,
        "console": Console(),
    }
    try:
        if given.videos:
            run_clips(given.methods, given.videos, frames=given.frames, **common)
        else:
            run(given.methods, given.pairs, **common)
    except (CrotalusError, DataError, OSError) as error:
        parser.error(str(error))
    except BenchError as error:
        parser.fail(1, str(error))
    except KeyboardInterrupt:
        parser.fail(130, "interrupted; with the same -o it goes on where it was")


if __name__ == "__main__":
    main()
