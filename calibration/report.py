"""A calibration on one self-contained page: the verdict first, then what it rests on. No script, nothing is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from calibration.before_after import BeforeAfter
from calibration.drawings import bar_plot, coverage_plot, vector_plot
from calibration.findings import CameraFindings, Findings, TargetFindings
from calibration.reading import (
    Reading,
    clock_line,
    plane_readings,
    plane_verdict,
    stereo_verdict,
    target_readings,
    target_verdict,
)
from calibration.rig import Rig, RigError
from calibration.sections import parallax_section, pictures_section

STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em; color: #1a1a1a; background: #fff; max-width: 1100px }
table { border-collapse: collapse } td, th { padding: .2em .7em; text-align: left; border-bottom: 1px solid #ddd }
td.number { text-align: right; white-space: nowrap } tr.bad { font-weight: bold } h2 { margin-top: 1.6em }
p.verdict { font-size: 18px; border-left: 6px solid #2e6fd8; padding: .4em .8em } p.bad { border-color: #c03020 }
p.note, figcaption { color: #555 } td.text { overflow-wrap: anywhere } li { margin: .2em 0 }
.sheet { display: flex; flex-wrap: wrap; gap: 1em } .sheet figure { max-width: 520px } figure { margin: 0 }
img, svg { display: block; max-width: 100%; height: auto }
svg text { font-size: 12px; fill: #333 } svg .title { font-weight: bold }
.empty { fill: #fff }
svg rect { stroke: #999 } .frame { fill: none } .kept { fill: #6ea3ff; stroke: #2e6fd8 }
.outlier { fill: none; stroke: #c03020; stroke-dasharray: 3 2 } .tick { stroke: #000; stroke-width: 2.5 }
.arrow { stroke: #c03020; fill: none } .dot { stroke: #222; stroke-width: 2.5; stroke-linecap: round }
.bar { stroke: #000; stroke-width: 3 } .grid { stroke: #ddd } .curve { fill: none; stroke: #2e6fd8; stroke-width: 2 }
.curve1 { stroke: #c03020; stroke-dasharray: 6 3 }
@media print { body { margin: 0 } figure, tr, p { break-inside: avoid } h2 { break-after: avoid }
* { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Told:
    """What a page is made of."""

    name: str
    """File name of the rig."""
    rig: Rig | None
    """None where the calibration failed and none was written."""
    findings: Findings | None
    """None where there is no such file, as after `calibrate scene`."""
    pictures: Sequence[BeforeAfter] = ()
    laid: float = math.inf
    """m, the distance at which the pictures are laid over each other."""
    without: str = ""
    """Why there are no pictures."""
    made: str = ""
    """When and by what the page was made."""


def write_report(told: Told, file: Path) -> None:
    """Write the page, whole or not at all. Raises RigError."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(page(told), encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise RigError(f"{file}: {error.strerror}; give another -o") from error


def page(told: Told) -> str:
    """The page as text. The findings have passed `check_findings`."""
    target = told.findings.target if told.findings else None
    title = f"Calibration {escape(told.name)}"
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1>",
        _verdict(told, target),
        _origin(told),
        _readings(told, target),
        *(_target(target) if target else ()),
        pictures_section(told.pictures, told.without, has_depth=told.rig is not None and told.rig.plane is None),
        parallax_section(told.rig, told.laid) if told.rig else "",
        f"<h2>Clock</h2><p>{escape(clock_line(told.rig))}</p>" if told.rig else "",
        f"<p class=note>{escape(told.made)}</p></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def check_findings(target: TargetFindings) -> None:
    """Raise RigError for findings that have the right form and yet contradict themselves."""
    for name, camera in (("ir", target.ir), ("vis", target.vis)):
        if min(camera.size) < 1:
            raise RigError(f"findings: target.{name}.size: {camera.size} is no picture; calibrate writes it anew")
        if len({len(row) for row in camera.coverage}) != 1 or not camera.coverage[0]:
            raise RigError(f"findings: target.{name}.coverage: rows of one length are needed; calibrate writes it anew")
        for view in target.views:
            side = view.vis if name == "vis" else view.ir
            if len(side.points) != len(side.residuals):
                raise RigError(
                    f"findings: view {view.name}: {len(side.points)} points and {len(side.residuals)} residuals in "
                    f"{name}, one for each is needed; calibrate writes it anew"
                )


def _verdict(told: Told, target: TargetFindings | None) -> str:
    warnings = told.findings.warnings if told.findings else []
    if target is not None:
        text = target_verdict(target, len(warnings))
    elif told.rig is not None:
        text = plane_verdict(told.rig) if told.rig.plane is not None else stereo_verdict(told.rig)
    else:
        text = "No rig, and findings without a calibration by a target: nothing is known."
    is_bad = target is not None and not target.is_accepted
    used = "<p>The rig was written all the same, by --accept.</p>" if is_bad and told.rig is not None else ""
    notes = "".join(f"<li>{escape(line)}</li>" for line in warnings)
    notes = f"<p>Warnings:</p><ul>{notes}</ul>" if notes else ""
    return f"<p class='verdict{' bad' * is_bad}'>{escape(text)}</p>{used}{notes}"


def _origin(told: Told) -> str:
    rows: list[tuple[str, str]] = []
    if (found := told.findings) is not None:
        rows += [("infrared", found.ir), ("visible", found.vis)]
        if (t := found.target) is not None:
            rows.append(("target", f"{t.target.kind} {t.target.columns}x{t.target.rows}, {t.target.pitch_mm:g} mm"))
    source = told.rig or told.findings
    if source is not None:
        rows += [("calibrated", source.created or "no date in the file"), ("by", source.tool or "not said")]
    if (rig := told.rig) is not None:
        for name in ("ir", "vis"):
            camera, size = (rig.ir if name == "ir" else rig.vis), rig.size("ir" if name == "ir" else "vis")
            focal = f", {camera.lens}, f {camera.K[0][0]:.1f} {camera.K[1][1]:.1f} px" if camera is not None else ""
            rows.append((name, f"{size[0]}x{size[1]}{focal}"))
        if rig.pose is not None:
            rows.append(("vis seen from ir", " ".join(f"{1000 * -v:.1f}" for v in np.array(rig.pose.R).T @ rig.pose.T)
                         + " mm right, down, ahead"))  # fmt: skip
    body = "".join(f"<tr><th>{escape(key)}</th><td class=text>{escape(value)}</td></tr>" for key, value in rows)
    return f"<table>{body}</table>"


def _readings(told: Told, target: TargetFindings | None) -> str:
    if target is not None:
        rows = target_readings(target, told.rig)
        intro = "± is a standard error: of the views drawn again and again, how far the results scatter."
    elif told.rig is not None and told.rig.plane is not None:
        rows = plane_readings(told.rig)
        side = "infrared" if told.rig is not None and told.rig.reference == "ir" else "visible"
        intro = f"The gate that a rig from a scene has to pass; px and limits of the {side} picture."
    else:
        missing = "no findings file is beside the rig" if told.findings is None else "the findings hold no target"
        rows = [Reading(name, f"{value:.4g}") for name, value in (told.rig.quality if told.rig else {}).items()]
        intro = f"{missing}; what the rig itself says:" if rows else f"{missing}, and the rig says nothing."
    cells = "".join(
        f"<tr{' class=bad' * row.is_bad}><td>{escape(row.name)}</td><td class=number>{escape(row.value)}</td>"
        f"<td>{escape(row.limit)}</td><td>{escape(('TOO LARGE: ' if row.is_bad else '') + row.advice)}</td></tr>"
        for row in rows
    )
    head = "<tr><th>what</th><th>value</th><th>limit</th><th>what to do</th></tr>"
    return f"<h2>Numbers</h2><p class=note>{escape(intro)}</p>" + (f"<table>{head}{cells}</table>" if rows else "")


def _target(target: TargetFindings) -> list[str]:
    cameras = (("infrared", "ir", target.ir), ("visible", "vis", target.vis))
    left = "".join(f", {count} {escape(reason)}" for reason, count in target.left_out.items())
    outliers = sum(view.state == "outlier" for view in target.views)
    kept = [view for view in target.views if view.state == "kept"]
    in_order = sorted(target.views, key=lambda view: (view.time, view.name))
    parts = [
        f"<h2>Views</h2><p>{target.pictures} pairs looked at; the board was found in {target.ir.found} infrared and "
        f"{target.vis.found} visible pictures, in both of {target.both}. Used: {len(kept)}; left out: "
        f"{outliers} that fit badly{left}.</p>",
        f"<figure>{bar_plot(in_order)}<figcaption>Bar: rms of the view. Tick, and the number behind the line: its "
        "error in cameras that were found without it; much longer than the bar, the view is needed where no other is. "
        "Hollow: an outlier, left out.</figcaption></figure>",
        "<h2>Coverage</h2><div class=sheet>",
        *(_coverage(name, camera) for name, _, camera in cameras),
        "</div><h2>Residuals</h2><p class=note>A dot where a point was seen, a line to where the rig puts it. Lines "
        "all ways and alike in length are noise; lines that turn, grow outward, or run one way are an error of the "
        "lens, of the board or of time.</p><div class=sheet>",
    ]
    for name, side, camera in cameras:
        drawn, times = vector_plot([getattr(view, side) for view in kept], camera.size, f"residuals of {name}")
        parts.append(f"<figure>{drawn}<figcaption>{name}: {times:g} times as long as they are</figcaption></figure>")
    return [*parts, "</div>"]


def _coverage(name: str, camera: CameraFindings) -> str:
    share = float(np.mean(np.array(camera.coverage) > 0))
    drawn = coverage_plot(camera.coverage, camera.size, f"coverage of {name}")
    text = f"{name}, {camera.size[0]}x{camera.size[1]}, {escape(camera.lens)}: points in {share:.0%} of the cells"
    return f"<figure>{drawn}<figcaption>{text}; where none are, the lens is extrapolated</figcaption></figure>"
