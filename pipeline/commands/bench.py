"""The command `bench`: frames per second, what limits them, and what a user would otherwise take."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engines.base import CrotalusError, Fuser
from pipeline.align import Size
from pipeline.arguments import parse_size
from pipeline.commands.options import HwaccelOption, PrecisionOption, Threads, WorkHeightOption
from pipeline.frames import InputError
from pipeline.interrupt import Interrupt
from pipeline.json_file import check_json_path, write_json
from pipeline.voice import Voice

if TYPE_CHECKING:
    from pipeline.bench.ffmpeg import Blend

SIZES = ("640x480", "1280x720")
FRAMES, SECONDS = 200, 1.0
"""Of a measurement, if the user says nothing: whichever ends first."""
RIVALS = ("ffmpeg", "torch", "none")


def bench(
    ir: Annotated[str | None, typer.Argument(help="Infrared input; a synthetic pair if left out.")] = None,
    vis: Annotated[str | None, typer.Argument(help="Visible input.")] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="WxH", help=f"Repeatable.  [default: {' '.join(SIZES)}; the inputs']")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="As of fuse; repeatable.  [default: auto]")
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of every model; repeatable.  [default: auto]")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(metavar="NAME", help="As of fuse; repeatable.")] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Encoder speed, in x264's words; repeatable.  [default: veryfast]"),
    ] = None,
    rival: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="ffmpeg: its blend; torch: each network in torch; repeatable.  [default: ffmpeg]"
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Turns that everything gets.")] = 3,
    frames: Annotated[
        int | None, typer.Option(min=2, max=10**6, help=f"Pairs timed in each turn.  [default: up to {FRAMES}]")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help=f"After which a turn ends.  [default: {SECONDS:.0f}, none with --frames]"),
    ] = None,
    latency: Annotated[bool, typer.Option("--latency", help="Of a live picture, one pair under way.")] = False,
    batch: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, max=256, help="Pairs at once; repeatable.")
    ] = None,
    cores: Annotated[str | None, typer.Option(metavar="N,N", help="Again on so many cores each.")] = None,
    growth: Annotated[
        bool, typer.Option("--growth", help="Of time with pixels; of time and memory with length.")
    ] = False,
    precision: PrecisionOption = "fp16",
    hwaccel: HwaccelOption = "auto",
    threads: Threads = 0,
    work_height: WorkHeightOption = None,
    steady: Annotated[bool, typer.Option("--steady", help="As fuse does by default; rivals too.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result here too.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw it.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="A.json B.json", help="Measure nothing: tell change from noise.")
    ] = None,
) -> None:
    """Measure frames per second, what limits them and how far off that is, beside what a user would otherwise take."""
    if (ir is None) != (vis is None):
        raise InputError("bench: one input given; give infrared and visible, or none for a synthetic pair")
    inputs = None if ir is None or vis is None else (ir, vis)
    if compare is not None:
        if inputs:
            raise InputError("bench --compare: inputs given; it measures nothing, leave them out")
        _compare(*compare)
        return
    from pipeline.bench.growth import SIZES as GROWING
    from pipeline.bench.plan import Ears, Plan
    from pipeline.bench.scaling import parse_cores
    from pipeline.bench.show import shown
    from pipeline.bench.spec import specs
    from pipeline.bench.whole import Order, run_bench
    from pipeline.work_height import check_work_height

    sizes: list[Size | None] = [parse_size(text) for text in dict.fromkeys(size or ([] if inputs else SIZES))]
    if growth and not (inputs or size):
        sizes = list(GROWING)
    presets = _presets(preset)
    core_counts = parse_cores(cores) if cores else []
    check_work_height(work_height)
    _check_rivals(rivals := rival or ["ffmpeg"])
    for path, check in ((json_file, check_json_path), (plot, _check_plot)):
        if path is not None:
            check(path)
    wanted = list(specs(method or [], model or [], backend or []))
    voice, aside = Voice(), Voice(stderr=True)
    with ExitStack() as opened, Interrupt() as interrupt:
        fusers = [
            opened.enter_context(closing(spec.open(threads=threads, precision=precision, on_progress=voice.print)))
            for spec in wanted
        ]
        _check_names(fusers)
        order = Order(
            Plan(
                inputs, sizes or [None], frames or FRAMES, presets, repeats, _seconds(frames, seconds), threads,
                hwaccel, steady, work_height, _blend(aside) if "ffmpeg" in rivals else None, is_alone=True,
            ),
            wanted, precision, sorted(set(batch or [])), core_counts, latency, growth,
            _eager(fusers, threads, opened, aside) if "torch" in rivals else [],
        )  # fmt: skip
        step = _Step(aside)
        ears = Ears(
            on_row=lambda row: step.give_way(voice, str(row)),
            on_notice=lambda line: step.give_way(aside, f"note: {line}"),
            on_step=step,
        )
        result = run_bench(order, fusers, stop=interrupt.stop, ears=ears)
        step("")
    for part in shown(result, [fuser.name for fuser in fusers]):
        voice.print(part)
    if json_file:
        write_json(json_file, result.to_json())
    if plot and result.rows:
        from pipeline.bench.plot import write_plot

        write_plot(plot, result)
    for line in result.failed:
        aside.print(f"error: {line}")
    if interrupt.stop.is_set() or result.failed:
        raise typer.Exit(interrupt.exit_code if interrupt.stop.is_set() else 1)


class _Step:
    """What is measured now, on a line of the terminal that the next one overwrites; nothing elsewhere."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def __call__(self, line: str) -> None:
        if self._voice.is_terminal and not self._voice.is_dumb_terminal:
            self._voice.print(f"\r\x1b[2K{line[: self._voice.width - 1]}", end="")

    def give_way(self, voice: Voice, line: str) -> None:
        """Say a line that stays."""
        self("")
        voice.print(line)


def _compare(before: Path, after: Path) -> None:
    from pipeline.bench.compare import comparison, remarks
    from pipeline.bench.result import read

    a, b = read(before), read(after)
    table, voice = comparison(a, b), Voice()
    voice.print(f"A: {a.name}")
    voice.print(f"B: {b.name}")
    for line in remarks(a, b):
        voice.print(line)
    voice.print(table)


def _presets(given: list[str] | None) -> list[str]:
    """Each once. Raises InputError for one that the encoder does not know."""
    from pipeline.encoding import check_settings
    from pipeline.sink import SinkSettings

    presets = list(dict.fromkeys(given or [str(SinkSettings().preset)]))
    for preset in presets:
        check_settings(SinkSettings(preset=preset), Path("out.mp4"))
    return presets


def _seconds(frames: int | None, seconds: float | None) -> float:
    """Of a turn; as long as it takes where pairs are counted."""
    if seconds is None:
        return SECONDS if frames is None else math.inf
    if not seconds > 0:
        raise InputError(f"--seconds {seconds}: give the time of a turn, above 0")
    return seconds


def _check_rivals(given: list[str]) -> None:
    for name in given:
        if name not in RIVALS:
            raise InputError(f"--rival {name}: not known; use {', '.join(RIVALS)}")


def _check_plot(path: Path) -> None:
    from pipeline.bench.plot import check_plot_path

    check_plot_path(path)


def _check_names(fusers: list[Fuser]) -> None:
    """Raise InputError if two rows would have one name."""
    names = [fuser.name for fuser in fusers]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"bench: {name} was given twice, auto is one of them; give each once")


def _blend(aside: Voice) -> Blend | None:
    """FFmpeg's program, or a note why it is not measured."""
    from pipeline.bench.ffmpeg import Blend, find_blend

    found = find_blend()
    if isinstance(found, Blend):
        return found
    aside.print(f"note: {found}")
    return None


def _eager(fusers: list[Fuser], threads: int, opened: ExitStack, aside: Voice) -> list[Fuser]:
    """Each network in torch, once, or a note why not."""
    from engines.torch_eager import EagerFuser

    found: dict[str, Fuser] = {}
    for fuser in fusers:
        if fuser.info is None or fuser.info.name in found:
            continue
        try:
            found[fuser.info.name] = opened.enter_context(closing(EagerFuser(fuser.info, threads=threads)))
        except CrotalusError as error:
            aside.print(f"note: {error}")
    return list(found.values())
