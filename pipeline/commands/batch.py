"""The commands `batch`, which fuses an archive, and `run-chunk`, which does one piece of it on any machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engines.base import Backend
from engines.classical import ClassicalMethod
from engines.trt import Precision
from pipeline.arguments import parse_bytes, parse_duration
from pipeline.commands.batch_lines import Progress, counted, tell
from pipeline.frames import InputError
from pipeline.interrupt import Interrupt
from pipeline.voice import Voice

if TYPE_CHECKING:
    from pipeline.batch.task import Task

PUT_ASIDE = 3
"""Exit code when all that could be done is done, but some outputs are missing or short."""

CacheSize = Annotated[
    str | None, typer.Option(metavar="BYTES", help="Of copies of remote files on a machine: 20G.  [default: 50G]")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Of `fuse`, for all pairs: crf=23, agc=plateau; repeatable."),
]


def batch(
    inputs: Annotated[list[str], typer.Argument(help="Manifests (.csv, .jsonl), or folders with pairs of videos.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the fused videos, and of the ledger.")],
    workers: Annotated[
        int, typer.Option(min=0, help="Processes.  [default: one per core, and for each 2 GiB of memory]")
    ] = 0,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a Ray cluster: HOST:PORT, auto; local starts one here.")
    ] = None,
    cores_per_worker: Annotated[int | None, typer.Option(min=1, max=128, help="On a cluster.  [default: 1]")] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="On a cluster; 0.5: two workers share one.  [default: 0]")
    ] = None,
    chunk: Annotated[str, typer.Option(metavar="TIME", help="Least length of a piece: 60s, 2m.")] = "60s",
    pattern: Annotated[
        str | None, typer.Option(help="How a folder's files are named: {side}/{name}.*  [default: found out]")
    ] = None,
    sides: Annotated[str, typer.Option(metavar="IR,VIS", help="The two words that {side} stands for.")] = "ir,vis",
    rig: Annotated[str | None, typer.Option(metavar="FILE", help="Of pairs that name none.")] = None,
    offset: Annotated[float | None, typer.Option(help="s added to infrared times, of pairs that say none.")] = None,
    model: Annotated[str | None, typer.Option(help="auto, the name of a shipped model, or a model folder.")] = None,
    method: Annotated[
        ClassicalMethod | None, typer.Option(help="Instead of a model, a published formula on the CPU.")
    ] = None,
    backend: Annotated[Backend | None, typer.Option(help="Where the network runs.  [default: auto]")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Of the network on a GPU.")] = None,
    option: Options = None,
    cache_size: CacheSize = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only cut: write a file for each piece, for run-chunk on other machines.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page: speed, failures, pictures to judge by.")
    ] = None,
) -> None:
    """Fuse an archive of pairs with many processes; run again after whatever stopped it, it goes on from there.

    Exit codes: 0 all done; 1 failed, run it again; 2 wrong use; 3 some put aside or short, each named; 130 interrupted.
    """
    from pipeline.batch.driver import Driver
    from pipeline.batch.executors import open_executor
    from pipeline.batch.ledger import Ledger
    from pipeline.batch.plan import SMALLEST
    from pipeline.batch.report import check_report_path, write_report
    from pipeline.batch.storage import Storage

    if report is not None:
        check_report_path(report)
    out = out.absolute()  # workers elsewhere, and run-chunk, are in other folders
    voice, complain = Voice(), Voice(stderr=True)
    length = parse_duration(chunk)
    if length < SMALLEST:
        raise InputError(f"--chunk {chunk}: give {SMALLEST:g} s or more")
    cache = _cache_bytes(cache_size)
    given = {"model": model, "method": method, "backend": backend, "precision": precision, **_options(option)}
    defaults = {name: text for name, text in given.items() if text is not None}
    tasks = [_at_home(task, out) for task in _tasks(inputs, (pattern, sides), defaults, rig, offset, voice)]
    _check(tasks)
    with Ledger(out) as ledger, Interrupt() as interrupt:
        progress = Progress(voice)
        executor = open_executor(ledger.folder, workers, cluster=cluster, cores=cores_per_worker, gpus=gpus_per_worker,
                                 cache=cache)  # fmt: skip
        driver = Driver(
            ledger, executor, chunk=length, may_replace=overwrite, plans_only=plan, stop=interrupt.stop,
            tell=progress.show,
        )  # fmt: skip
        outcome = driver.run(tasks)
        tell(outcome, voice, complain)
        if plan:
            _list_specs(ledger.folder, voice)
        if report is not None:
            write_report(report, ledger.tasks(), ledger.rows(), tasks, storage=Storage(limit=cache))
            voice.print(f"report: {report}")
    if outcome.is_interrupted:
        complain.print("interrupted: pieces that are done are kept; run the same command again to go on")
        raise typer.Exit(interrupt.exit_code)
    raise typer.Exit(PUT_ASIDE if outcome.aside or outcome.short else 0)


def run_chunk(
    spec: Annotated[Path, typer.Argument(help="A file that batch --plan wrote, 000007.spec.json.")],
    threads: Annotated[int, typer.Option(min=0, max=128, help="CPU threads, 0 for one per core.")] = 0,
    cache_size: CacheSize = None,
) -> None:
    """Fuse one piece of a batch: for array jobs of a cluster. Done before, it is only looked at."""
    from contextlib import closing

    from pipeline.batch.chunk import Spec
    from pipeline.batch.durable import read_json
    from pipeline.batch.work import Work, Worker

    if not spec.is_file():
        raise InputError(f"{spec}: no such file; give a line of chunks.txt, and no array index beyond its last")
    try:
        work = Work.chunk(Spec.from_json(read_json(spec)))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{spec}: not a piece of a batch; give a file that batch --plan wrote") from error
    worker = Worker(threads or len(os.sched_getaffinity(0)), cache=_cache_bytes(cache_size))
    with closing(worker), Interrupt() as interrupt:
        try:
            result = worker.do(work, stop=interrupt.stop)
        except Exception:
            if interrupt.stop.is_set():
                raise typer.Exit(interrupt.exit_code) from None
            raise
    Voice().print(f"chunk {result['index']}: {result['frames']} frames in {result['seconds']:.1f} s, "
                  f"framehash {result['framehash']}")  # fmt: skip


def _tasks(
    inputs: list[str],
    names: tuple[str | None, str],
    options: dict[str, str],
    rig: str | None,
    offset: float | None,
    voice: Voice,
) -> list[Task]:
    """What manifests and folders ask for."""
    from pipeline.batch.manifest import read_manifest
    from pipeline.batch.pairs import find_pairs
    from pipeline.batch.place import is_address
    from pipeline.batch.recipe import OPTIONS, with_defaults
    from pipeline.batch.storage import Storage

    tasks: list[Task] = []
    pattern, (ir, mark, vis) = names[0], names[1].partition(",")
    if not (ir and mark and vis):
        raise InputError(f"--sides {names[1]}: give the two words that tell infrared from visible, like thermal,rgb")
    for name in inputs:
        if is_address(name) or os.path.isdir(name):
            found = find_pairs(name, Storage().names(name), pattern=pattern, sides=(ir, vis))
            tasks += found.tasks
            for note in found.notes:
                voice.print(f"note: {note}")
        else:
            tasks += read_manifest(Path(name), options=OPTIONS)
    return [with_defaults(task, options, rig, offset) for task in tasks]


def _cache_bytes(text: str | None) -> int:
    from pipeline.batch.storage import CACHE_BYTES

    try:
        return CACHE_BYTES if text is None else parse_bytes(text)
    except InputError as error:
        raise InputError(f"--cache-size: {error}") from None


def _options(texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or []:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise InputError(f"--option {text}: give NAME=VALUE, like crf=23")
        found[name] = value
    return found


def _at_home(task: Task, out: Path) -> Task:
    """The task with full paths, its output below the output folder unless it says otherwise."""
    from dataclasses import replace

    from pipeline.batch.place import is_address

    places = {
        name: os.path.abspath(place) for name in ("ir", "vis", "rig")
        if (place := getattr(task, name)) and not is_address(place)
    }  # fmt: skip
    if not is_address(task.out):
        places["out"] = os.path.abspath(out / task.out)
    return replace(task, **places)


def _check(tasks: list[Task]) -> None:
    """Raise InputError for options that cannot be, before anything is written, and for two tasks with one output."""
    from pipeline.batch.recipe import check_options

    taken: set[str] = set()
    for task in tasks:
        if task.out in taken:
            raise InputError(f"{task.out}: the output of two pairs; give each its own")
        taken.add(task.out)
        check_options(task)


def _list_specs(folder: Path, voice: Voice) -> None:
    """Write the list of all pieces, a file a line, and say where it is."""
    from pipeline.batch.durable import part_of, publish

    specs = sorted(folder.glob("*/*.spec.json"))
    path = folder / "chunks.txt"
    part = part_of(path)
    part.write_text("".join(f"{os.path.abspath(spec)}\n" for spec in specs))
    publish(part, path)
    then = "the same command without --plan joins"
    if specs:
        voice.print(f"{counted(len(specs), 'piece')} in {path}: run-chunk each, anywhere; then {then}")
    else:
        voice.print(f"no piece left to fuse, {path} is empty; {then} what is not joined yet")
