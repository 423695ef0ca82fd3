"""The command `calibrate scene`: a rig from what both cameras see, without a target."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.align import Reference
from pipeline.commands.calibrate.tool import own_name
from pipeline.commands.options import AgcOption, RegionOption
from pipeline.frames import InputError
from pipeline.interrupt import Interrupt
from pipeline.json_file import check_json_path, write_json
from pipeline.thermal import Gain, parse_gain, parse_region
from pipeline.voice import Voice

if TYPE_CHECKING:
    from calibration.findings import SceneFindings
    from calibration.outlines import Plane
    from calibration.scene import Scene, Verdict
    from calibration.search import Start

ModelName = Literal["auto", "shift", "similarity", "affine", "homography"]


class _InterruptedError(Exception):
    """Ctrl-C between two frames."""


def scene(
    ir: Annotated[str, typer.Argument(help="Infrared: a video, an image, a folder or a glob of images.")],
    vis: Annotated[str, typer.Argument(help="Visible: the same.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RIG.json", help="The rig.")],
    model: Annotated[ModelName, typer.Option(help="What the map may do; auto: no more than the frames show.")] = "auto",
    frames: Annotated[int, typer.Option(min=1, max=200, help="Pairs looked at, spread over the recordings.")] = 8,
    reference: Annotated[
        Reference, typer.Option(help="On whose picture the other is searched: the wider one.")
    ] = "vis",
    start: Annotated[
        str | None,
        typer.Option(
            metavar="SCALE,ROT,DX,DY",
            help="Rough place of the searched picture: its width over the reference's, degrees, px from the middle.",
        ),
    ] = None,
    offset: Annotated[float, typer.Option(help="s added to infrared times.")] = 0.0,
    agc: AgcOption = None,
    agc_region: RegionOption = None,
    debug: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write pictures and per-frame numbers here.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing rig.")] = False,
) -> None:
    """Find how infrared lies on visible from the scene itself, and write a rig, or say why it cannot be believed."""
    from calibration.scene import SceneError, calibrate_scene
    from pipeline.commands.calibrate.pairs import spread_pairs

    check_json_path(out, may_replace=overwrite)
    first = parse_start(start) if start else None
    if not math.isfinite(offset):
        raise InputError(f"--offset {offset}: not a time; give seconds")
    gain: Gain = parse_gain(
        agc or "percentile", parse_region(agc_region) if agc_region else None, is_for_8bit=agc is not None
    )
    if debug:
        _make_folder(debug)
    voice, seen = Voice(), []
    with Interrupt() as interrupt:
        pairs = spread_pairs(ir, vis, frames, offset, gain)

        def told(number: int, verdict: Verdict) -> None:
            seen.append(verdict)
            voice.print(f"frame {number + 1} of {len(pairs)}: {_account(verdict)}")
            if interrupt.stop.is_set():
                raise _InterruptedError

        try:
            found = calibrate_scene(pairs, model=model, reference=reference, start=first, on_frame=told)
        except _InterruptedError:
            Voice(stderr=True).print(f"interrupted: no rig was written to {out}")
            raise typer.Exit(interrupt.exit_code) from None
        except SceneError:
            if debug:
                _write_debug(debug, pairs, told_of(seen, None, reference), None)
            raise
    findings = told_of(seen, found, reference)
    _save(out, (ir, vis), pairs[0], found, reference, offset, findings)
    if debug:
        _write_debug(debug, pairs, findings, found)
    for line in summary(found, out):
        voice.print(line)


def parse_start(text: str) -> Start:
    """`0.8,0,30,-12` as a start. Raises InputError."""
    from calibration.search import Start

    try:
        scale, angle, dx, dy = (float(part) for part in text.split(","))
    except ValueError:
        scale = angle = dx = dy = math.nan
    if not (0.02 <= scale <= 50 and abs(angle) <= 180 and max(abs(dx), abs(dy)) <= 65536):  # nan is not, either
        raise InputError(
            f"--start {text}: give four numbers: width over the reference's (0.02 to 50), degrees (-180 to 180), "
            "px right and px down from the middle, like 0.8,0,30,-12"
        )
    return Start(scale, angle, dx, dy)


def summary(found: Scene, out: Path) -> list[str]:
    """What was found, for people."""
    q = found.quality
    lines = [
        f"{out}: {found.model}, from {len(found.agreeing)} of {len(found.verdicts)} frames; "
        f"{q['overlap']:.0%} of the smaller picture lies on the other",
        f"{q['patches_agreeing']:.0%} of the parts agree, {q['residual_px']:.1f} px off in the median; corners are "
        f"known to {q['corner_sigma_px']:.1f} px; another estimator is {q['estimators_apart_px']:.1f} px off",
    ]
    if len(found.verdicts) == 1:
        lines.append("from one frame only; more frames, of things near and far, would show whether it holds")
    if "corner_off_px" in q:
        lines.append(f"for all that so few frames show, corners may be off by {q['corner_off_px']:.1f} px")
    return lines


def _account(verdict: Verdict) -> str:
    estimate = verdict.estimate
    if estimate is None or verdict.doubts:
        return "not believed: " + "; ".join(verdict.doubts)
    return f"{estimate.share:.0%} of the parts agree, the estimators differ by {estimate.differ:.1f} px"


def told_of(seen: list[Verdict], found: Scene | None, reference: Reference) -> SceneFindings:
    """All that was found, for a report; found: None where there is no rig."""
    import numpy as np

    from calibration.findings import SceneFindings, SceneFrame

    frames = []
    for verdict in seen:
        doubts, e = list(verdict.doubts), verdict.estimate
        if e is None:
            frames.append(SceneFrame(is_believed=False, doubts=doubts))
            continue
        H = e.matrix if reference == "vis" else np.linalg.inv(e.matrix)
        frames.append(
            SceneFrame(
                is_believed=not doubts, doubts=doubts, model=e.model, H=(H / H[2, 2]).tolist(), overlap=e.overlap,
                patches_agreeing=e.share, lead=_number(e.lead), estimators_apart_px=_number(e.differ),
                corner_sigma_px=_number(e.sigma), residual_px=_number(e.residual),
            )
        )  # fmt: skip
    vectors = [] if found is None else zip(found.places.round(2).tolist(), found.off.round(2).tolist(), strict=True)
    return SceneFindings(
        reference=reference, model=None if found is None else found.model, frames=frames,
        agreeing=[] if found is None else list(found.agreeing), residuals=list(vectors),
    )  # fmt: skip


def _save(
    out: Path,
    inputs: tuple[str, str],
    pair: tuple[Plane, Plane],
    found: Scene,
    reference: Reference,
    offset: float,
    findings: SceneFindings,
) -> None:
    from datetime import UTC, datetime

    from calibration.findings import Findings, findings_path, save_findings
    from calibration.rig import Plane, Rig, as_table, save_rig

    (ir_height, ir_width), (vis_height, vis_width) = pair[0].shape, pair[1].shape
    plane = Plane(ir_size=(ir_width, ir_height), vis_size=(vis_width, vis_height), H=as_table(found.matrix))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    tool = f"{own_name()}, calibrate scene, {found.model}"
    rig = Rig(
        plane=plane, reference=reference, clock_offset=offset, created=created, tool=tool, quality=found.quality
    )  # fmt: skip
    save_rig(rig, out)
    told = Findings(rig=out.name, ir=inputs[0], vis=inputs[1], created=created, tool=tool, scene=findings)
    save_findings(told, findings_path(out))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--debug {folder}: {error.strerror}; give a folder that can be written to") from error


def _write_debug(folder: Path, pairs: list[tuple[Plane, Plane]], findings: SceneFindings, found: Scene | None) -> None:
    """Pictures as they are and as they would lie, of each frame that got a place, and all numbers."""
    import numpy as np

    from calibration.proof import as_they_are, chessboard, overlay, write_picture

    for number, (pair, frame) in enumerate(zip(pairs, findings.frames, strict=False)):
        name = f"{number:03d}"
        write_picture(folder / f"{name}_before.png", overlay(*pair, as_they_are(*pair)))
        if frame.H is not None:
            H = np.array(frame.H) if found is None else found.matrix
            write_picture(folder / f"{name}_after.png", overlay(*pair, H))
            write_picture(folder / f"{name}_chessboard.png", chessboard(*pair, H))
    write_json(folder / "frames.json", findings.model_dump(mode="json"))


def _number(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None
