"""One row of numbers while a model is being made: `python -m training.measure METHOD --pairs DIR --every 4`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines.base import CrotalusError
from training.bench import BenchError, cores, measure_all
from training.command import Parser
from training.data import DataError, find_pairs
from training.methods import open_methods, plan
from training.rows import LEAST_SIDE, Row, averages, shown


def measure(method: str | Path, folders: Sequence[Path], *, every: int = 1, workers: int = 1) -> tuple[Row, int]:
    """Averages of a model or of a folder of results over every n-th pair of the folders, and the number of pairs.

    Raises DataError, also where a pair has no fitting result; ModelError, BackendError.
    """
    listed = find_pairs(folders, at_least=LEAST_SIDE).pairs
    pairs = listed[::every]
    jobs, left_out = plan(open_methods([method])[-1:], pairs, beside=listed)
    if len(jobs) < len(pairs):
        raise DataError(f"{len(pairs) - len(jobs)} of {len(pairs)} pairs without a result; the first: {left_out[0]}")
    return averages(measure_all(jobs, workers=workers)), len(jobs)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Exit code 2 for what cannot be used, 1 for a process that was killed, 130 for Ctrl-C."""
    parser = Parser(prog="python -m training.measure", description=__doc__)
    parser.add_argument(
        "method", help="a shipped model's name, a model folder, a folder of fused pictures, or gff, ..."
    )
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, metavar="DIR", help="folders with ir/ and vis/")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th pair only")
    given = parser.parse_args(arguments)
    if given.every < 1:
        parser.error(f"--every {given.every}: not a step; give 1 or more")
    try:
        row, count = measure(given.method, given.pairs, every=given.every, workers=cores())
        print(f"{given.method}, {count} pairs: {shown(row)}")
    except (CrotalusError, DataError, OSError) as error:
        parser.error(str(error))
    except BenchError as error:
        parser.fail(1, str(error))
    except KeyboardInterrupt:
        parser.fail(130, "interrupted")


if __name__ == "__main__":
    main()
