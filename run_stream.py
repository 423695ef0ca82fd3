"""The command line: fuse recorded pairs, measure speed, show a demo, examine the machine.

Exit codes: 0 done; 1 failed, or the output lacks what an input promised; 2 wrong use, nothing written;
130 interrupted (143 by SIGTERM), the file is finished and playable.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from engines.base import Backend, CrotalusError, open_fuser
from pipeline.align import Geometry, Reference, Size
from pipeline.frames import InputError, OutputError
from pipeline.interrupt import Interrupt
from pipeline.job import Job, Opened, run_job
from pipeline.progress import Progress, account_of, summary
from pipeline.sink import SinkSettings
from pipeline.stats import Stats
from pipeline.sync import Gap, SyncPolicy, SyncReport

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""click's UsageError, which newer versions of typer carry inside and do not name."""

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Fuse paired infrared and visible video into one stream that shows what both cameras saw.",
)  # fmt: skip


Model = Annotated[str, typer.Option(help="auto, the name of a shipped model, or a model folder.")]
BackendOption = Annotated[Backend, typer.Option(help="Where the network runs.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads of network and codecs, 0 for one per core.")]


@app.command()
def fuse(
    ir: Annotated[str, typer.Argument(help="Infrared: a video, an image, a folder or a glob of images.")],
    vis: Annotated[str, typer.Argument(help="Visible: the same.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A video or image file by suffix, or a folder for images.")],
    model: Model = "auto",
    backend: BackendOption = "auto",
    offset: Annotated[float, typer.Option(help="s added to infrared times.")] = 0.0,
    tolerance: Annotated[
        float | None, typer.Option(help="Largest distance of a pair, s.  [default: half a period of the slower]")
    ] = None,
    gap: Annotated[Gap, typer.Option(help="Visible frame without a partner: drop it, or hold the last IR.")] = "drop",
    reference: Annotated[Reference, typer.Option(help="Whose grid the output has.")] = "vis",
    shift: Annotated[str, typer.Option(metavar="X,Y", help="px to move infrared right and down.")] = "0,0",
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Output size.  [default: the reference's]")] = None,
    gray: Annotated[bool, typer.Option("--gray", help="Leave the colour out.")] = False,
    codec: Annotated[str, typer.Option(help="Video encoder: libx264, libx265, ffv1, ...")] = SinkSettings().codec,
    crf: Annotated[int | None, typer.Option(help="Quality, lower is better.")] = SinkSettings().crf,
    preset: Annotated[str | None, typer.Option(help="Encoder speed, in x264's words.")] = SinkSettings().preset,
    pixel_format: Annotated[str, typer.Option(help="Of the output video.")] = SinkSettings().pixel_format,
    rate: Annotated[str | None, typer.Option(help="Frames/s of images, and of videos that do not say.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Stop after N pairs.")] = None,
    start: Annotated[float | None, typer.Option(help="s from the first visible frame.")] = None,
    end: Annotated[float | None, typer.Option(help="s from the first visible frame, excluded.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    stats: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write times and counts here.")] = None,
    threads: Threads = 0,
) -> None:
    """Fuse two recorded inputs into one video, image or folder of images."""
    job = Job(
        ir, vis, out,
        policy=SyncPolicy(offset, tolerance, gap),
        geometry=Geometry(reference, parse_size(size) if size else None, parse_shift(shift)),
        tint="gray" if gray else "vis",
        settings=SinkSettings(codec, crf, preset, pixel_format, threads, overwrite),
        start=start, end=end, rate=parse_rate(rate) if rate else None, limit=limit, threads=threads,
    )  # fmt: skip
    raise typer.Exit(_fuse(job, model, backend, stats))


@app.command()
def bench(
    ir: Annotated[str | None, typer.Argument(help="Infrared input; a synthetic pair if left out.")] = None,
    vis: Annotated[str | None, typer.Argument(help="Visible input.")] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="WxH", help="Repeatable.  [default: 320x240 640x480 1280x720]")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Pairs timed at each size.")] = 20,
    model: Model = "auto",
    backend: BackendOption = "auto",
    threads: Threads = 0,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result here too.")] = None,
) -> None:
    """Measure frames per second and milliseconds per stage, beside plain mean and a Laplacian pyramid."""
    from pipeline import bench as bench_module

    if (ir is None) != (vis is None):
        raise InputError("bench: one input given; give infrared and visible, or none for a synthetic pair")
    inputs = None if ir is None or vis is None else (ir, vis)
    sizes = [parse_size(text) for text in size or ([] if inputs else ["320x240", "640x480", "1280x720"])]
    console = Console()
    fuser = open_fuser(model, backend=backend, threads=threads)
    try:
        rows = bench_module.bench(
            inputs,
            sizes or [None],
            fuser,
            frames=frames,
            threads=threads,
            on_row=lambda row: console.print(f"{row.width}x{row.height} {row.fuser}: {row.stats.fps:.2f} frames/s"),
        )
    finally:
        fuser.close()
    console.print(bench_module.table(rows))
    if json_file:
        _write_json(json_file, {"machine": bench_module.machine(), "rows": [row.to_json() for row in rows]})


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pair and the fused video.")] = Path(
        "demo"
    ),
    ir: Annotated[str | None, typer.Option(help="Your own infrared file instead of a synthetic one.")] = None,
    vis: Annotated[str | None, typer.Option(help="Your own visible file.")] = None,
    model: Model = "auto",
    threads: Threads = 0,
) -> None:
    """Make a synthetic pair (or take yours), fuse it, and say where the result is and how fast it was."""
    from pipeline.synthetic import write_pair

    if (ir is None) != (vis is None):
        raise InputError("demo: one input given; give --ir and --vis, or neither for a synthetic pair")
    settings = SinkSettings(threads=threads, overwrite=True)
    if ir is None or vis is None:
        pair = write_pair(folder)
        print(f"made {pair.ir} and {pair.vis}: a warm walker only ir sees, a street only vis sees")
        shift = (float(pair.scene.shift[0]), float(pair.scene.shift[1]))
        policy, geometry = SyncPolicy(pair.scene.offset), Geometry(shift=shift)
        inputs = str(pair.ir), str(pair.vis)
        job = Job(*inputs, folder / "fused.mp4", policy, geometry, settings=settings, threads=threads)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        job = Job(ir, vis, folder / "fused.mp4", settings=settings, threads=threads)
    code = _fuse(job, model, "auto", None)
    print(f"result: {job.out.resolve()}")
    raise typer.Exit(code)


@app.command()
def doctor() -> None:
    """List what this machine can run: versions, codecs, backends and why not, models and hashes."""
    from pipeline.doctor import report

    table = Table("section", "name", "finding", box=None, pad_edge=False)
    for row in report():
        table.add_row(*row)
    Console(soft_wrap=True, width=None if sys.stdout.isatty() else 160).print(table)


def parse_size(text: str) -> Size:
    """`640x480` as (640, 480). Raises InputError."""
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
    if not match:
        raise InputError(f"--size {text}: give width and height in px, like 640x480")
    return int(match[1]), int(match[2])


def parse_shift(text: str) -> tuple[float, float]:
    """`-6,4` as (-6.0, 4.0). Raises InputError."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--shift {text}: give two numbers of px, like -6,4") from None
    return x, y


def parse_rate(text: str) -> Fraction:
    """`30`, `29.97` or `30000/1001` as an exact rate. Raises InputError."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"--rate {text}: give frames per second, like 25 or 30000/1001") from None


def _fuse(job: Job, model: str, backend: Backend, stats_file: Path | None) -> int:
    """Run a job with progress and Ctrl-C, tell its account, and return the exit code."""
    console, complain = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    fuser = open_fuser(model, backend=backend, threads=job.threads)
    with closing(fuser), Interrupt() as interrupt, Progress(console) as progress:
        notices: list[str] = []  # told once a first pair is fused: before that, an error may say it all

        def opened(told: Opened) -> None:
            notices.extend(told.notices)
            console.print(f"{fuser.name}: {told}")
            progress.expect(told.expected)

        def fused(stats: Stats, report: SyncReport) -> None:
            while notices:
                complain.print(f"note: {notices.pop(0)}")
            progress.show(stats, report)

        result = run_job(job, fuser, stop=interrupt.stop, on_open=opened, on_frame=fused)
    for line in summary(result, str(job.out)):
        console.print(line)
    for line in result.complaints:
        complain.print(f"error: {line}")
    if stats_file:
        _write_json(stats_file, account_of(result, job, fuser))
    if result.is_interrupted:
        complain.print(f"interrupted: {job.out} is complete up to here")
        return interrupt.exit_code
    return 1 if result.complaints else 0


def _write_json(path: Path, value: object) -> None:
    try:
        path.write_text(json.dumps(value, indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; the video is not affected") from error


def main() -> None:
    """Run the command line and leave with its exit code; an error is one line, never a traceback."""
    try:
        code = app(standalone_mode=False)
    except USAGE_ERROR as error:
        _fail(f"{error.format_message()}; see {Path(sys.argv[0]).name} --help", 2)  # type: ignore[attr-defined]
    except CrotalusError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except Exception as error:
        if os.environ.get("CROTALUS_DEBUG"):
            raise
        _fail(f"{type(error).__name__}: {error} (CROTALUS_DEBUG=1 shows where)", 1)
    sys.exit(code or 0)


def _fail(text: str, code: int) -> NoReturn:
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
