"""Two sections of a calibration's page: what the pictures show, and what depth does to them."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from calibration.before_after import BeforeAfter, Colours
from calibration.drawings import curve_plot
from calibration.parallax import nearest_within, parting
from calibration.rig import Rig

SHOWN = 520
"""Width of a picture on the page, px."""
QUALITY = 85
"""Of its JPEG."""
DISTANCES = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
"""m, at which the parallax is written out."""
NEAR = 5.0
"""m, of the one sentence about parallax."""
SHARP = 1.0
"""px, below which two pictures count as one."""
CURVE = 0.5, 100.0, 200
"""m, m and points, of the curve."""


def pictures_section(pictures: Sequence[BeforeAfter], without: str, *, has_depth: bool) -> str:
    """Pairs before and after. without: why there are no pictures. has_depth: whether the rig knows of distances."""
    if not pictures:
        return f"<h2>Before and after</h2><p>{escape(without)}</p>" if without else ""
    figures = []
    for number, shown in enumerate(pictures, start=1):
        met = "as the rig lays it" + (f", for things {_metres(shown.distance)}" if has_depth else "")
        name = f" ({escape(shown.name)})" if shown.name else ""
        figures.append(f"<h3>Pair {number}{name}: infrared covers {shown.coverage:.0%} of the visible picture</h3>")
        figures.append("<div class=sheet>")
        for both in ((shown.blend_before, shown.blend_after), (shown.chess_before, shown.chess_after)):
            for picture, text in zip(both, ("before: only stretched to the size", f"after: {met}"), strict=True):
                figures.append(f"<figure>{_image(picture)}<figcaption>{escape(text)}</figcaption></figure>")
        figures.append("</div>")
    other = (
        "nearer or farther than the distance named" if has_depth else "at another distance than what it is made from"
    )
    return (
        "<h2>Before and after</h2><p class=note>Above both at once, infrared red and visible cyan: an outline seen "
        "twice is not laid right. Below by turns: what runs across a border of two squares is to run on. What is "
        f"{other} is off by its parallax.</p>" + "".join(figures)
    )


def parallax_section(rig: Rig, laid: float) -> str:
    """How far near things are off when the pictures are laid over each other far away, and at `laid`, m."""
    if rig.pose is None:
        return (
            "<h2>Depth</h2><p>A rig from a scene knows no depth: it holds for things as far as those it was made from. "
            "Two cameras B m apart with f px of focal length see what stands at z m off by f B |1/z - 1/d| px, where "
            "it was made from things at d m. calibrate target measures all of this.</p>"
        )
    grid = np.geomspace(*CURVE[:2], int(CURVE[2]))
    planes = [("laid for far away", math.inf)]
    planes += [] if math.isinf(laid) else [(f"laid for {laid:.2f} m", laid)]
    curves = [(name, parting(rig, grid.tolist(), d)) for name, d in planes]
    tables = [parting(rig, DISTANCES, d) for _, d in planes]
    at_near = parting(rig, [NEAR], math.inf)[0]
    sharp = nearest_within(rig, SHARP)
    told = f"Laid for far away, at {NEAR:g} m the planes part by {_px(at_near)}"
    told += "" if sharp is None else f"; from {sharp:.1f} m on by less than {SHARP:g} px"
    if not math.isinf(laid):
        told += (
            f". Laid for {laid:.2f} m (--depth {laid:.2f}), far things part by {_px(parting(rig, [np.inf], laid)[0])}"
        )
    head = "".join(f"<th>{d:g} m</th>" for d in DISTANCES)
    lines = "".join(
        f"<tr><td>{escape(name)}, px</td>{''.join(f'<td class=number>{_short(v)}</td>' for v in values)}</tr>"
        for (name, _), values in zip(planes, tables, strict=True)
    )
    # cut where a metre and more is still told apart: the nearest values would press all others to the ground
    shown = [values[grid >= 1.0] for _, values in curves]
    most = max((float(np.nanmax(v)) for v in shown if np.isfinite(v).any()), default=0.0) or 1.0
    return (
        f"<h2>Depth</h2><p>{escape(told)}. In the middle of the infrared picture, px of the visible one.</p>"
        f"<figure>{curve_plot(grid, curves, most)}</figure><table><tr><th></th>{head}</tr>{lines}</table>"
    )


def _metres(distance: float) -> str:
    return "far away" if math.isinf(distance) else f"{distance:.2f} m away"


def _px(value: float) -> str:
    return f"{value:.1f} px" if math.isfinite(value) else "more than can be told"


def _short(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "not seen"


def _image(picture: Colours) -> str:
    height = max(1, round(picture.shape[0] * SHOWN / picture.shape[1]))
    method = cv2.INTER_AREA if picture.shape[1] > SHOWN else cv2.INTER_LINEAR
    small = cv2.resize(picture, (SHOWN, height), interpolation=method)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    uri = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    return f'<img width="{SHOWN}" height="{height}" alt="" src="{uri}">'
