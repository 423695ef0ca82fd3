"""The command `bench`: frames per second, beside what a user would otherwise take."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from pipeline.arguments import parse_size
from pipeline.chosen import open_chosen
from pipeline.commands.options import BackendOption, HwaccelOption, MethodOption, Model, PrecisionOption, Threads
from pipeline.frames import InputError
from pipeline.interrupt import Interrupt
from pipeline.json_file import check_json_path, write_json
from pipeline.voice import Voice


def bench(
    ir: Annotated[str | None, typer.Argument(help="Infrared input; a synthetic pair if left out.")] = None,
    vis: Annotated[str | None, typer.Argument(help="Visible input.")] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="WxH", help="Repeatable.  [default: 320x240 640x480 1280x720]")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Pairs timed at each size.")] = 20,
    model: Model = "auto",
    backend: BackendOption = "auto",
    precision: PrecisionOption = "fp16",
    method: MethodOption = None,
    hwaccel: HwaccelOption = "auto",
    threads: Threads = 0,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result here too.")] = None,
) -> None:
    """Measure frames per second and milliseconds per stage, beside plain mean and a Laplacian pyramid."""
    from pipeline import bench as bench_module

    if (ir is None) != (vis is None):
        raise InputError("bench: one input given; give infrared and visible, or none for a synthetic pair")
    inputs = None if ir is None or vis is None else (ir, vis)
    sizes = [parse_size(text) for text in size or ([] if inputs else ["320x240", "640x480", "1280x720"])]
    if json_file:
        check_json_path(json_file)
    voice = Voice()
    fuser = open_chosen(
        method, model, backend, threads=threads, precision=precision, on_progress=voice.print
    )  # fmt: skip
    with closing(fuser), Interrupt() as interrupt:
        rows = bench_module.bench(
            inputs,
            sizes or [None],
            fuser,
            frames=frames,
            threads=threads,
            hwaccel=hwaccel,
            stop=interrupt.stop,
            on_row=lambda row: voice.print(str(row)),
            on_notice=lambda line: Voice(stderr=True).print(f"note: {line}"),
        )
    for table in bench_module.tables(rows):
        voice.print(table)
    if json_file:
        write_json(json_file, {"machine": bench_module.machine(), "rows": [row.to_json() for row in rows]})
    if interrupt.stop.is_set():
        raise typer.Exit(interrupt.exit_code)
