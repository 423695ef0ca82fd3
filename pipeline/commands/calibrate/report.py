"""The command `calibrate report`: a rig and how good it is, on one page."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.calibrate.tool import own_name
from pipeline.commands.options import AgcOption, DepthOption, RegionOption
from pipeline.frames import InputError
from pipeline.thermal import parse_gain, parse_region
from pipeline.voice import Voice

if TYPE_CHECKING:
    from calibration.findings import Findings
    from calibration.rig import Rig

TOLD_APART = 1e-4
"""Relative difference of one number in two files; both are rounded."""


def report(
    rig: Annotated[Path, typer.Argument(metavar="RIG.json", help="The rig; its findings are found beside it.")],
    ir: Annotated[
        str | None, typer.Argument(help="Infrared, for pictures: a video, an image, a folder, a glob.")
    ] = None,
    vis: Annotated[str | None, typer.Argument(help="Visible: the same.")] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PAGE.html", help="The page.")],
    depth: DepthOption = None,
    offset: Annotated[float | None, typer.Option(help="s added to infrared times.  [default: the rig's, or 0]")] = None,
    agc: AgcOption = None,
    agc_region: RegionOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing page.")] = False,
) -> None:
    """Tell on one HTML page how good a calibration is; with both recordings, in pictures before and after, too."""
    from calibration.report import Told, write_report
    from pipeline.batch.report import check_report_path
    from pipeline.commands.calibrate.shown import show
    from pipeline.live.login import redact

    check_report_path(out)
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists; pass --overwrite or name another file")
    if (ir is None) != (vis is None):
        raise InputError(f"{ir}: infrared alone; give both recordings, infrared first, or none")
    if depth is not None and not depth > 0:  # nan is not, either
        raise InputError(f"--depth {depth:g}: give the distance of what matters in m, or inf")
    if offset is not None and not math.isfinite(offset):
        raise InputError(f"--offset {offset}: not a time; give seconds")
    found, findings = read_both(rig)
    if depth is not None and (found is None or found.pose is None):
        raise InputError(f"--depth {depth:g}: {rig} is no rig that knows depth; leave it out")
    gain = parse_gain(
        agc or "percentile", parse_region(agc_region) if agc_region else None, is_for_8bit=agc is not None
    )
    pictures, without = [], "Give both recordings to see them: calibrate report RIG.json IR VIS -o PAGE.html."
    if found is None:
        without = "No rig was written, so there is nothing to lay the pictures by."
    elif ir is not None and vis is not None:
        pictures = show(ir, vis, found, findings.target if findings else None, depth, offset, gain)
        without = "The pictures do not meet anywhere at this distance; give another --depth."
    if findings is not None:
        findings = findings.model_copy(update={"ir": redact(findings.ir), "vis": redact(findings.vis)})
    made = f"Page made by {own_name()} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    laid = (
        depth
        or (found.depth if found else None)
        or (findings.target.distance_m if findings and findings.target else math.inf)
    )
    write_report(Told(rig.name, found, findings, pictures, laid, without, made), out)
    Voice().print(f"{out}: {out.stat().st_size >> 10} KiB, {len(pictures)} pairs of pictures")


def read_both(path: Path) -> tuple[Rig | None, Findings | None]:
    """A rig and its findings; either may be missing, not both. Raises RigError, also where they are of two runs."""
    from calibration.findings import findings_path, load_findings
    from calibration.report import check_findings
    from calibration.rig import RigError, load_rig

    beside = findings_path(path)
    findings = load_findings(beside) if beside.exists() else None
    if findings is not None and findings.target is not None:
        check_findings(findings.target)
    if findings is not None and not path.exists():
        return None, findings  # a calibration that failed: its page says why
    rig = load_rig(path)
    target = findings.target if findings else None
    if target is not None:
        pairs = [
            (rig.quality.get(f"{name}_rms_px"), side.rms_px) for name, side in (("ir", target.ir), ("vis", target.vis))
        ]
        sizes = rig.size("ir") == target.ir.size and rig.size("vis") == target.vis.size
        if not sizes or any(own is None or not math.isclose(own, other, rel_tol=TOLD_APART, abs_tol=TOLD_APART)
                            for own, other in pairs):  # fmt: skip
            raise RigError(
                f"{beside}: is of another calibration than {path.name}; calibrate anew, or move one of the two away to "
                "see the other alone"
            )
    return rig, findings
