"""The command `calibrate check`: what remains between the two pictures, over time and over the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from engines.base import CrotalusError
from pipeline.align import Aligned, Geometry, Reference, align
from pipeline.arguments import parse_shift
from pipeline.commands.options import DepthOption, RigOption
from pipeline.frames import InputError
from pipeline.interrupt import Interrupt
from pipeline.job import Job, open_pair
from pipeline.json_file import check_json_path, write_json
from pipeline.rigging import clock_offset, clock_rate, reference_of, rigging_of
from pipeline.sync import SyncPolicy, SyncReport, anchored, default_tolerance, pair_frames
from pipeline.thermal import Agc
from pipeline.voice import Voice

if TYPE_CHECKING:
    from calibration.check import Correlation, Patch, Residual

MOMENTS = 10
"""Rows of the table over time."""


class CheckError(CrotalusError, ValueError):
    """The pictures lie too far apart, or do not tell how far."""


def check(
    ir: Annotated[str, typer.Argument(help="Infrared: a video, an image, a folder or a glob of images.")],
    vis: Annotated[str, typer.Argument(help="Visible: the same.")],
    rig: RigOption = None,
    depth: DepthOption = None,
    shift: Annotated[
        str, typer.Option("--shift", "--nudge", metavar="X,Y", help="px to move infrared right and down.")
    ] = "0,0",
    reference: Annotated[
        Reference | None, typer.Option(help="On whose grid they are compared.  [default: the rig's, or vis]")
    ] = None,
    offset: Annotated[float | None, typer.Option(help="s added to infrared times.  [default: the rig's, or 0]")] = None,
    frames: Annotated[int, typer.Option(min=1, max=1000, help="Pairs looked at, spread over the recordings.")] = 60,
    limit: Annotated[float | None, typer.Option(metavar="PX", help="Fail if the typical residual is larger.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE.json", help="Write it all here too.")
    ] = None,
) -> None:
    """Measure how far apart the pictures lie, with a rig or as they are."""
    from calibration.check import correlate, pooled, residual
    from calibration.unaligned import best_fit

    if limit is not None and not limit > 0:
        raise InputError(f"--limit {limit:g}: give px, above 0")
    if json_file:
        check_json_path(json_file)
    rigging = rigging_of(rig, depth)
    policy = SyncPolicy(clock_offset(offset, rigging, ir, vis), rate=clock_rate(offset, rigging, ir, vis))
    job = Job(
        ir, vis, Path(), policy, Geometry(reference_of(reference, rigging), shift=parse_shift(shift), rigging=rigging)
    )
    found: list[tuple[float, Correlation]] = []
    samples: list[Aligned] = []
    with Interrupt() as interrupt:
        for time, aligned in _aligned(job, frames):
            found.append((time, correlate(aligned.ir, aligned.vis, aligned.seen)))
            if found[-1][1].size != found[0][1].size:
                raise InputError(f"{vis}: pictures of more than one size; give one scene at a time")
            if len(samples) < 3:
                samples.append(aligned)
            if interrupt.stop.is_set():
                break
    whole = residual(pooled([correlation for _, correlation in found]))
    moments = list(_moments(found))
    voice = Voice()
    for line in (over_time(moments), over_picture(whole), account(whole, len(found))):
        voice.print(line)
    if json_file:
        write_json(json_file, _plain(whole, moments))
    if interrupt.stop.is_set():
        raise typer.Exit(interrupt.exit_code)
    fit = best_fit([(each.ir, each.vis) for each in samples]) if rigging is None else None
    if fit is not None and fit.is_unaligned:
        raise CheckError(f"the pair looks unaligned: {fit}; make a rig with `calibrate scene`")
    if math.isnan(whole.typical):
        raise CheckError(
            f"the pictures do not tell how far apart they lie (confidence {whole.whole.confidence:.1f}): too few edges "
            "in common; take a scene with edges that both see, or look whether it is one scene at all"
            + ("" if rigging else "; if they lie far apart, make a rig with `calibrate scene` first")
        )
    if limit is not None and whole.typical > limit:
        raise CheckError(f"{whole.typical:.1f} px apart, --limit is {limit:g} px; calibrate again")


def account(whole: Residual, count: int) -> str:
    """What was found, in one line."""
    if math.isnan(whole.typical):
        return f"{count} pairs: not to be told"
    middle = whole.whole
    across, down = _way(middle.dx, "right", "left"), _way(middle.dy, "down", "up")
    parts = f"; {whole.typical:.1f} px in the median of {len(whole.sure)} parts" if len(whole.sure) >= 3 else ""
    return f"{count} pairs: infrared lies {across} and {down} of visible (confidence {middle.confidence:.1f}){parts}"


def over_time(moments: list[tuple[float, float, Residual]]) -> Table:
    """A row for each part of the recording."""
    table = Table("from s", "to s", "right px", "down px", "confidence", box=None, pad_edge=False, title="over time")
    for first, last, found in moments:
        table.add_row(f"{first:.1f}", f"{last:.1f}", *_cells(found.whole), f"{found.whole.confidence:.1f}")
    return table


def over_picture(whole: Residual) -> Table:
    """A cell for each part of the picture: right and down, px."""
    rows = sorted({patch.y for patch in whole.patches})
    columns = sorted({patch.x for patch in whole.patches})
    table = Table(
        "y \\ x px", *(f"{x:.0f}" for x in columns), box=None, pad_edge=False, title="over the picture: right, down px"
    )
    at = {(patch.x, patch.y): patch for patch in whole.patches}
    for y in rows:
        cells = [", ".join(_cells(at[x, y])) if (x, y) in at else "" for x in columns]
        table.add_row(f"{y:.0f}", *cells)
    return table


def _cells(patch: Patch) -> tuple[str, ...]:
    return (f"{patch.dx:+.1f}", f"{patch.dy:+.1f}") if patch.is_sure else ("?", "?")


def _way(value: float, one: str, other: str) -> str:
    return f"{abs(value):.1f} px {one if value > 0 else other}"


def _aligned(job: Job, count: int) -> Iterator[tuple[float, Aligned]]:
    """Pairs spread over the recordings, laid on each other, with their time in s from the first visible frame."""
    ir, vis, _ = open_pair(job)
    with closing(ir), closing(vis):
        if job.geometry.rigging is not None:
            job.geometry.rigging.check((ir.info.width, ir.info.height), (vis.info.width, vis.info.height))
        every = max(math.ceil((vis.info.frames or 0) / count), 1)
        gains = Agc(inertia=0.0), Agc(inertia=0.0)
        start = float(vis.info.start_pts * vis.info.time_base)
        pairs = pair_frames(
            ir.frames(), vis.frames(), anchored(job.policy, ir.info), default_tolerance(ir.info, vis.info), SyncReport()
        )
        taken = 0
        for number, pair in enumerate(pairs):
            if number % every == 0 and taken < count:
                taken += 1
                yield pair.vis.time - start, align(pair, job.geometry, *gains)


def _moments(found: list[tuple[float, Correlation]]) -> Iterator[tuple[float, float, Residual]]:
    from calibration.check import pooled, residual

    size = max(math.ceil(len(found) / MOMENTS), 1)
    for first in range(0, len(found), size):
        group = found[first : first + size]
        yield group[0][0], group[-1][0], residual(pooled([correlation for _, correlation in group]))


def _plain(whole: Residual, moments: list[tuple[float, float, Residual]]) -> dict[str, Any]:
    """For JSON: px, s; None where it is not to be told."""
    over = [{"from_s": a, "to_s": b, **asdict(found.whole), "is_sure": found.whole.is_sure} for a, b, found in moments]
    picture = [{**asdict(patch), "is_sure": patch.is_sure} for patch in whole.patches]
    typical = None if math.isnan(whole.typical) else whole.typical
    return {"typical_px": typical, "whole": asdict(whole.whole), "over_time": over, "over_picture": picture}
