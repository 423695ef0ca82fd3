"""The command `calibrate target`: a rig from recordings of a board that both cameras see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipeline.arguments import parse_rate
from pipeline.commands.calibrate.board import BoardOption, DictionaryOption, GridOption, MarkerOption, PitchOption
from pipeline.commands.options import AgcOption, RegionOption
from pipeline.frames import InputError
from pipeline.json_file import check_json_path
from pipeline.sync import SyncPolicy
from pipeline.thermal import parse_gain, parse_region
from pipeline.voice import Voice

if TYPE_CHECKING:
    from calibration.boards import Board
    from pipeline.commands.calibrate.drawn import Drawings
    from pipeline.commands.calibrate.looks import Found

LensOption = Literal["auto", "pinhole", "fisheye"]


def target(
    ir: Annotated[str, typer.Argument(help="Infrared: a video, a folder or a glob of images.")],
    vis: Annotated[str, typer.Argument(help="Visible: the same.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RIG.json", help="The rig.")],
    board: BoardOption,
    grid: GridOption,
    pitch: PitchOption,
    marker: MarkerOption = None,
    dictionary: DictionaryOption = "4x4_250",
    lens: Annotated[
        LensOption, typer.Option(help="Of both cameras; auto: what predicts views left out best.")
    ] = "auto",
    ir_lens: Annotated[LensOption | None, typer.Option(help="Of infrared.  [default: --lens]")] = None,
    vis_lens: Annotated[LensOption | None, typer.Option(help="Of visible.  [default: --lens]")] = None,
    views: Annotated[int, typer.Option(min=8, max=200, help="Views to use at most, the most different ones.")] = 40,
    offset: Annotated[float, typer.Option(help="s added to infrared times; kept in the rig.")] = 0.0,
    tolerance: Annotated[
        float | None, typer.Option(help="Largest distance of a pair, s.  [default: half a period of the slower]")
    ] = None,
    start: Annotated[float | None, typer.Option(help="s from the first visible frame.")] = None,
    end: Annotated[float | None, typer.Option(help="s from the first visible frame, excluded.")] = None,
    rate: Annotated[str | None, typer.Option(help="Frames/s of videos that do not say.")] = None,
    agc: AgcOption = None,
    agc_region: RegionOption = None,
    accept: Annotated[bool, typer.Option("--accept", help="Write a rig that fails the limits, too.")] = False,
    debug: Annotated[Path | None, typer.Option(metavar="DIR", help="Write pictures of what was seen here.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing rig.")] = False,
) -> None:
    """Calibrate both cameras and how they stand to each other from views of a board, and say how sure that is."""
    from calibration.boards import parse_board
    from pipeline.commands.calibrate.account import calibrate_views
    from pipeline.commands.calibrate.drawn import Drawings
    from pipeline.commands.calibrate.looks import Look, find_views
    from pipeline.job import Job

    check_json_path(out, may_replace=overwrite)
    wanted = parse_board(board, grid, pitch, marker, dictionary)
    region = parse_region(agc_region) if agc_region else None
    job = Job(
        ir, vis, out, SyncPolicy(offset, tolerance), start=start, end=end, rate=parse_rate(rate) if rate else None,
        gain=parse_gain(agc or "percentile", region, is_for_8bit=agc is not None),
    )  # fmt: skip
    voice, drawings = Voice(), Drawings(debug, wanted) if debug else None

    def looked(look: Look) -> None:
        if drawings:
            drawings.draw(look)

    found = find_views(job, wanted, looked)
    voice.print(
        f"looked at {found.looks} pairs of pictures: the board is in {found.ir} infrared and {found.vis} visible, "
        f"in both of {len(found.views)}"
    )
    _check_found(found, wanted, drawings)
    lenses: Any = [None if name == "auto" else name for name in (ir_lens or lens, vis_lens or lens)]
    account = calibrate_views(found, wanted, lenses[0], lenses[1], views, job)
    for line in account.lines:
        voice.print(line)
    if drawings and found.some and found.some.in_vis:
        drawings.draw_overlay(found.some, account.rig, account.distance_of(wanted, found.some.in_vis))
    for line in account.findings.warnings:
        Voice(stderr=True).print(f"note: {line}")
    account.finish(out, is_accepted=accept)
    voice.print(f"{out}: written, with {account.findings_path(out).name} beside it")


def _check_found(found: Found, board: Board, drawings: Drawings | None) -> None:
    """Raise SolveError where the board is seen too rarely, and say why; InputError where its grid is another."""
    from calibration.choose import FEWEST
    from calibration.lens import SolveError
    from calibration.missing import common_grid, larger_grid, parts_seen

    for side in ("ir", "vis"):
        if drawings and found.missed[side]:
            drawings.draw_best(side, found.missed[side][0])
    if found.some is not None:
        larger = larger_grid(found.some.vis, board) or larger_grid(found.some.ir, board)
        if larger is not None:
            raise InputError(f"grid {board.grid}: fits, but {larger.grid} fits as well; give --grid {larger.grid}")
    if len(found.views) >= FEWEST:
        return
    if len(found.views) == found.looks:
        raise SolveError(f"{found.looks} pairs of pictures only; at least {FEWEST} views are needed: record more")
    lines = []
    for side, count, name in (("vis", found.vis, "visible"), ("ir", found.ir, "infrared")):
        if count >= FEWEST:
            continue
        misses = found.missed[side]
        pictures = [look.ir if side == "ir" else look.vis for look in misses]
        other = common_grid(pictures[:4], board)
        if other is not None:
            raise InputError(
                f"grid {board.grid}: found in {count} {name} pictures, but {other.grid} fits; give --grid {other.grid}"
            )
        if misses:
            seen, whole = parts_seen(pictures[0], board)
            shows = f"{seen} of its {whole} parts" if seen < whole else "things like its parts, but in no such order"
            best = f"the best of the others ({misses[0].name}) shows {shows}"
            lines.append(f"found in {count} of {found.looks} {name} pictures, {best}")
    if not lines:
        lines = [
            f"found in {found.ir} infrared and {found.vis} visible pictures, but in both of {len(found.views)} pairs "
            "only; check --offset"
        ]
    hint = "" if drawings else "; --debug DIR shows what was seen"
    raise SolveError(f"{board.kind} {board.grid}: {', '.join(lines)}; at least {FEWEST} views are needed{hint}")
