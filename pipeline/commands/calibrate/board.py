"""The command `calibrate board`: a target to print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

BoardOption = Annotated[
    Literal["circles", "acircles", "chess", "charuco"], typer.Option("--board", help="What the target shows.")
]
GridOption = Annotated[
    str,
    typer.Option("--grid", metavar="CxR", help="Columns x rows: circles, inner corners of chess, squares of charuco."),
]
PitchOption = Annotated[
    float, typer.Option("--pitch", metavar="MM", help="Side of a square, or distance of two rows of circles, mm.")
]
MarkerOption = Annotated[
    float | None, typer.Option("--marker", metavar="MM", help="Side of a Charuco marker.  [default: 0.75 of the pitch]")
]
DictionaryOption = Annotated[str, typer.Option("--dictionary", help="Of Charuco markers, as OpenCV names it.")]


def board(
    out: Annotated[Path, typer.Option("--out", "-o", help="A .pdf or .svg file.")],
    board: BoardOption,
    grid: GridOption,
    pitch: PitchOption,
    page: Annotated[str, typer.Option(help="a4, a3, a2, a1, letter, or WIDTHxHEIGHT in mm.")] = "a4",
    marker: MarkerOption = None,
    dictionary: DictionaryOption = "4x4_250",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Draw a target to print, at its exact size, with a line to check the print by."""
    from calibration.boards import parse_board
    from calibration.sheet import lay_out, parse_page, write_sheet
    from pipeline.frames import InputError
    from pipeline.voice import Voice

    target = parse_board(board, grid, pitch, marker, dictionary)
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists; pass --overwrite or name another file")
    sheet = lay_out(target, parse_page(page))
    write_sheet(sheet, out)
    Voice().print(f"{out}: {sheet.width:g}x{sheet.height:g} mm; print at 100 % and measure the line: it is 100 mm")
