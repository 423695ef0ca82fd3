"""The command line: fuse recorded pairs, measure speed, show a demo, examine the machine.

Exit codes: 0 done; 1 failed, or the output lacks what an input promised; 2 wrong use, nothing written;
130 interrupted (143 by SIGTERM), the file is finished and playable.
"""

from __future__ import annotations

try:
    from pipeline.interrupt import Interrupt, leave_at_once, leaving_at_once
except KeyboardInterrupt:
    raise SystemExit(130) from None

with leaving_at_once():  # these take the better part of a second
    import os
    import sys
    from contextlib import closing, nullcontext
    from pathlib import Path
    from typing import Annotated, NoReturn

    import typer
    from rich.table import Table

    from engines.base import Backend, CrotalusError, Fuser
    from engines.classical import ClassicalMethod
    from engines.trt import Precision
    from pipeline.align import Geometry, Reference
    from pipeline.arguments import parse_rate, parse_shift, parse_size
    from pipeline.chosen import check_chosen, open_chosen
    from pipeline.commands.batch import batch, run_chunk
    from pipeline.commands.bench import bench
    from pipeline.commands.build import build
    from pipeline.commands.calibrate import app as calibrate
    from pipeline.commands.live import live
    from pipeline.commands.options import (
        AgcOption,
        BackendOption,
        DepthOption,
        HotOption,
        HwaccelOption,
        MethodOption,
        Model,
        PaletteOption,
        PrecisionOption,
        RegionOption,
        RigOption,
        SteadyOption,
        Threads,
        ViewOption,
        WeightOption,
        WorkHeightOption,
    )
    from pipeline.frames import InputError, OutputError
    from pipeline.job import Job, Opened, run_job
    from pipeline.json_file import check_json_path, write_json
    from pipeline.progress import Progress, account_of, summary
    from pipeline.rigging import clock_offset, clock_rate, reference_of, rigging_of
    from pipeline.sink import SinkSettings
    from pipeline.stats import Stats
    from pipeline.stream import Result
    from pipeline.sync import Gap, SyncPolicy, SyncReport
    from pipeline.thermal import parse_gain, parse_region
    from pipeline.views import Choice, needs_network
    from pipeline.voice import Voice, say_all_names

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""click's UsageError, which newer versions of typer carry inside and do not name."""

DEMO = Path("demo")
"""Where the demo puts its files: what is there is its own."""

LOOK = Choice()
"""What is shown by default."""

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Fuse paired infrared and visible video into one stream that shows what both cameras saw.",
)  # fmt: skip


@app.command()
def fuse(
    ir: Annotated[str, typer.Argument(help="Infrared: a video, an image, a folder or a glob of images.")],
    vis: Annotated[str, typer.Argument(help="Visible: the same.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A video or image file by suffix, or a folder for images.")],
    model: Model = "auto",
    backend: BackendOption = "auto",
    precision: PrecisionOption = "fp16",
    method: MethodOption = None,
    offset: Annotated[float | None, typer.Option(help="s added to infrared times.  [default: the rig's, or 0]")] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Largest distance of a pair, s.  [default: half a period of the slower]")
    ] = None,
    gap: Annotated[Gap, typer.Option(help="Visible frame without a partner: drop it, or hold the last IR.")] = "drop",
    reference: Annotated[
        Reference | None, typer.Option(help="Whose grid the output has.  [default: the rig's, or vis]")
    ] = None,
    rig: RigOption = None,
    depth: DepthOption = None,
    shift: Annotated[
        str, typer.Option("--shift", "--nudge", metavar="X,Y", help="px to move infrared right and down.")
    ] = "0,0",
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Output size.  [default: the reference's]")] = None,
    work_height: WorkHeightOption = None,
    gray: Annotated[bool, typer.Option("--gray", help="Leave the colour out.")] = False,
    codec: Annotated[
        str, typer.Option(help="Video encoder: libx264, libx265, ffv1, h264_nvenc, ...; auto is libx264 or the GPU's.")
    ] = SinkSettings().codec,
    crf: Annotated[int | None, typer.Option(help="Quality, lower is better.")] = SinkSettings().crf,
    preset: Annotated[str | None, typer.Option(help="Encoder speed, in x264's words.")] = SinkSettings().preset,
    pixel_format: Annotated[str, typer.Option(help="Of the output video.")] = SinkSettings().pixel_format,
    rate: Annotated[str | None, typer.Option(help="Frames/s of images, and of videos that do not say.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Stop after N pairs.")] = None,
    start: Annotated[float | None, typer.Option(help="s from the first visible frame.")] = None,
    end: Annotated[float | None, typer.Option(help="s from the first visible frame, excluded.")] = None,
    view: ViewOption = "fused",
    palette: PaletteOption = "white hot",
    weight: WeightOption = LOOK.weight,
    hot_level: HotOption = LOOK.hot_level,
    agc: AgcOption = None,
    agc_region: RegionOption = None,
    steady: SteadyOption = None,
    hwaccel: HwaccelOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    stats: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write times and counts here.")] = None,
    threads: Threads = 0,
) -> None:
    """Fuse two recorded inputs into one video, image or folder of images."""
    rigging = rigging_of(rig, depth)
    grid = reference_of(reference, rigging)
    job = Job(
        ir, vis, out,
        policy=SyncPolicy(
            clock_offset(offset, rigging, ir, vis), tolerance, gap, clock_rate(offset, rigging, ir, vis)
        ),
        geometry=Geometry(grid, parse_size(size) if size else None, parse_shift(shift), rigging, work_height),
        tint="gray" if gray else "vis", choice=Choice(view, weight, hot_level), palette=palette,
        gain=parse_gain(
            agc or "percentile", parse_region(agc_region) if agc_region else None, is_for_8bit=agc is not None
        ),
        settings=SinkSettings(codec, crf, preset, pixel_format, threads, overwrite),
        start=start, end=end, rate=parse_rate(rate) if rate else None, limit=limit, threads=threads,
        hwaccel=hwaccel, steady=steady,
    )  # fmt: skip
    raise typer.Exit(_fuse(job, model, backend, stats, precision=precision, method=method))


app.command()(bench)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pair and the fused video.")] = DEMO,
    ir: Annotated[str | None, typer.Option(help="Your own infrared file instead of a synthetic one.")] = None,
    vis: Annotated[str | None, typer.Option(help="Your own visible file.")] = None,
    model: Model = "auto",
    method: MethodOption = None,
    threads: Threads = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files in a folder of another name.")] = False,
) -> None:
    """Make a synthetic pair (or take yours), fuse it, and say where the result is and how fast it was."""
    from pipeline.synthetic import claim_folder, write_pair

    if (ir is None) != (vis is None):
        raise InputError("demo: one input given; give --ir and --vis, or neither for a synthetic pair")
    check_chosen(method, model, "auto")  # before a pair is made
    settings = SinkSettings(threads=threads, overwrite=overwrite or folder == DEMO)
    voice, out = Voice(), folder / "fused.mp4"
    if ir is None or vis is None:
        claim_folder(folder, ("ir.mp4", "vis.mp4", out.name), may_replace=settings.overwrite)
        pair = write_pair(folder)
        voice.print(f"made {pair.ir} and {pair.vis}: a warm walker only ir sees, a street only vis sees")
        shift = (float(pair.scene.shift[0]), float(pair.scene.shift[1]))
        policy, geometry = SyncPolicy(pair.scene.offset), Geometry(shift=shift)
        job = Job(str(pair.ir), str(pair.vis), out, policy, geometry, settings=settings, threads=threads,
                  steady=None)  # fmt: skip
    else:
        claim_folder(folder, (out.name,), may_replace=settings.overwrite)
        job = Job(ir, vis, out, settings=settings, threads=threads, steady=None)
    code = _fuse(job, model, "auto", None, method=method)
    if out.exists():
        voice.print(f"result: {out.resolve()}")
    raise typer.Exit(code)


@app.command()
def doctor() -> None:
    """List what this machine can run: versions, codecs, backends and why not, models and hashes."""
    from pipeline.doctor import report

    table = Table("section", "name", "finding", box=None, pad_edge=False)
    for row in report():
        table.add_row(*row)
    Voice().print(table)


app.command()(build)
app.command()(live)
app.command()(batch)
app.command(hidden=True)(run_chunk)
app.add_typer(calibrate, name="calibrate")


def _fuse(
    job: Job, model: str, backend: Backend, stats_file: Path | None, *,
    precision: Precision = "fp16", method: ClassicalMethod | None = None,
) -> int:  # fmt: skip
    """Run a job with progress and Ctrl-C, tell its account, and return the exit code."""
    if stats_file:
        check_json_path(stats_file, may_replace=job.settings.overwrite, folder_to_come=job.out)
    voice, complain = Voice(), Voice(stderr=True)
    fuser: Fuser | None = None
    check_chosen(method, model, backend)
    if needs_network(job.choice):
        fuser = open_chosen(
            method, model, backend, threads=job.threads, precision=precision, on_progress=voice.print
        )  # fmt: skip
    maker = fuser.name if fuser else f"view {job.choice.view}"
    notices: list[str] = []  # told once a first pair is fused: before that, an error may say it all
    written = 0
    with closing(fuser) if fuser else nullcontext(), Interrupt() as interrupt, Progress(voice) as progress:

        def opened(told: Opened) -> None:
            notices.extend(told.notices)
            voice.print(f"{maker}: {told}")
            progress.expect(told.expected)

        def fused(stats: Stats, report: SyncReport) -> None:
            nonlocal written
            written = stats.frames
            while notices:
                complain.print(f"note: {notices.pop(0)}")
            progress.show(stats, report)

        try:
            result = run_job(job, fuser, stop=interrupt.stop, on_open=opened, on_frame=fused, on_notice=notices.append)
        except CrotalusError as error:
            if not written:
                raise
            raise OutputError(str(error)) from error  # the code of others says that nothing was written
    failures = list(result.complaints)
    if stats_file:
        try:
            write_json(stats_file, account_of(result, job, fuser))
        except OutputError as error:
            failures.append(str(error))
    _tell(result, job, failures, voice, complain)
    if result.is_interrupted:
        return interrupt.exit_code
    return 1 if failures else 0


def _tell(result: Result, job: Job, failures: list[str], voice: Voice, complain: Voice) -> None:
    """The account of a run that ended well, or as well as its inputs let it."""
    for line in summary(result, str(job.out)):
        voice.print(line)
    for line in failures:
        complain.print(f"error: {line}")
    if result.is_interrupted:
        state = f"{job.out} is complete up to here" if result.stats.frames else "nothing was written"
        complain.print(f"interrupted: {state}")


def main() -> None:
    """Run the command line and leave with its exit code; an error is one line, never a traceback."""
    leave_at_once()
    say_all_names()
    try:
        code = app(standalone_mode=False)
    except USAGE_ERROR as error:
        command = error.ctx.command_path if error.ctx else Path(sys.argv[0]).name  # type: ignore[attr-defined]
        _fail(f"{error.format_message().rstrip('.')}; see {command} --help", 2)  # type: ignore[attr-defined]
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
    Voice(stderr=True).print(f"error: {' '.join(text.splitlines())}")
    sys.exit(code)


if __name__ == "__main__":
    main()
