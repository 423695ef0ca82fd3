"""What a report says in words: the verdict in one sentence, and what each number allows and asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.findings import CameraFindings, TargetFindings
from calibration.gate import LEAST_OVERLAP, LEAST_SHARE, MOST_DIFFER, MOST_SIGMA, most_off
from calibration.rig import Rig
from calibration.scene import ENOUGH, MOST_APART
from calibration.verdict import MOST_ERROR_PERCENT, MOST_FOCAL_PERCENT, MOST_OVERLAY_PERCENT

NEAR_LIMIT = 0.5
"""Of a limit, from which a number that holds it is worth a word."""
LOOSE_BASELINE = 0.5
"""Of the baseline, from which its standard error leaves the distance of the cameras open."""
TILT = "tilt the board more, each way, by 30 degrees and more"
SPREAD = f"{TILT}, and show it at several distances and in the corners of both pictures"


@dataclass(frozen=True, slots=True)
class Reading:
    """One number, for people."""

    name: str
    value: str
    limit: str = ""
    advice: str = ""
    """What to do about it; empty if nothing is to be done."""
    is_bad: bool = False
    """Beyond its limit."""


def target_verdict(found: TargetFindings, warnings: int) -> str:
    """Whether the rig may be used, and the numbers that decide."""
    if not found.is_accepted:
        return f"Not to be used: {'; '.join(found.failures) or 'a limit is not held'}."
    kept = sum(view.state == "kept" for view in found.views)
    far = found.sigmas.get("overlay_far_px")
    near = found.sigmas.get("overlay_px")
    laid = (
        "" if near is None else f"; infrared is laid to ±{near:.1f} px of vis at the board's {found.distance_m:.2f} m"
    )
    laid += "" if far is None else f" and to ±{far:.1f} px far away"
    notes = f", with {warnings} warning{'s' * (warnings > 1)}" if warnings else ""
    return (
        f"Accepted{notes}: {kept} views; on views left out the rig misses by {found.ir.held_out_px:.2f} px in ir and "
        f"{found.vis.held_out_px:.2f} px in vis{laid}."
    )


def plane_verdict(rig: Rig) -> str:
    """The same of a rig that is a homography, from the numbers that are in its file."""
    q = rig.quality
    if "patches_agreeing" not in q:
        return "A homography whose making left no numbers: how good it is, calibrate check can tell."
    frames = q.get("frames_agreeing", 1)
    told = [f"{q['patches_agreeing']:.0%} of the parts of {frames:.0f} frame{'s' * (frames > 1)} agree on it"]
    told += [f"its corners are known to {q['corner_sigma_px']:.1f} px"] if "corner_sigma_px" in q else []
    told += [f"a second estimator is {q['estimators_apart_px']:.1f} px off"] if "estimators_apart_px" in q else []
    return f"Accepted: {', '.join(told)}. It is right for the distances that were seen, and for others it is off."


def stereo_verdict(rig: Rig) -> str:
    """The same of two cameras whose findings are not at hand."""
    assert rig.ir is not None
    assert rig.vis is not None
    errors = [f"{camera.rms:.2f} px in {name}" for name, camera in (("ir", rig.ir), ("vis", rig.vis)) if camera.rms]
    return (
        f"How good this rig is cannot be told without its findings{': it says ' if errors else ''}{', '.join(errors)}."
    )


def target_readings(found: TargetFindings, rig: Rig | None) -> list[Reading]:
    """The numbers of a calibration by a target, each with its limit and what to do about it."""
    sigmas, rows = dict(found.sigmas), []
    for name, camera in (("ir", found.ir), ("vis", found.vis)):
        rows.append(Reading(f"rms of {name}", f"{camera.rms_px:.3f} px"))
        rows.append(_limited(f"error of {name} on views left out", camera.held_out_px, "px", _most_error(camera),
                             "the board is bent, has another pitch in one direction, or moved between the two pictures "
                             "of a view"))  # fmt: skip
    for name in ("ir", "vis"):
        if (percent := sigmas.pop(f"{name}_focal_percent", None)) is not None:
            rows.append(_limited(f"focal length of {name}", percent, "%", MOST_FOCAL_PERCENT, TILT, sign="±"))
        if (centre := sigmas.pop(f"{name}_centre_px", None)) is not None:
            rows.append(Reading(f"centre of {name}", f"±{centre:.1f} px"))
    if (turn := sigmas.pop("rotation_deg", None)) is not None:
        rows.append(Reading("rotation between the cameras", f"±{turn:.3f} degrees"))
    if (baseline := sigmas.pop("baseline_mm", None)) is not None:
        rows.append(_baseline(baseline, rig))
    if (near := sigmas.pop("overlay_px", None)) is not None:
        rows.append(Reading(f"where infrared is laid at {found.distance_m:.2f} m", f"±{near:.2f} px of vis"))
    if (far := sigmas.pop("overlay_far_px", None)) is not None:
        rows.append(_limited("where it is laid far away", far, "px of vis",
                             MOST_OVERLAY_PERCENT / 100 * found.vis.size[0], SPREAD))  # fmt: skip
    return rows + [Reading(name, f"{value:.4g}") for name, value in sigmas.items()]


def plane_readings(rig: Rig) -> list[Reading]:
    """The numbers of a calibration by the scene, each with the limit of the gate that it passed."""
    q, side = dict(rig.quality), max(rig.size(rig.reference or "vis"))
    rows = []
    if (frames := q.pop("frames", None)) is not None:
        alone = "give more frames, of things near and far: they show whether it holds" if frames < 2 else ""
        agree = q.pop("frames_agreeing", frames)
        rows.append(
            Reading("frames that agree", f"{agree:.0f} of {frames:.0f}", f"over {ENOUGH:.0%} of sure ones", alone)
        )
    for key, name, least in (
        ("overlap", "of the smaller picture that the two share", LEAST_OVERLAP),
        ("patches_agreeing", "parts of the picture that agree", LEAST_SHARE),
    ):
        if (share := q.pop(key, None)) is not None:
            rows.append(Reading(name, f"{share:.0%}", f"at least {least:.0%}"))
    if (residual := q.pop("residual_px", None)) is not None:
        rows.append(Reading("residual of the parts, median", f"{residual:.2f} px"))
    for key, name, most in (
        ("corner_sigma_px", "where the corners are laid", MOST_SIGMA * side),
        ("corner_off_px", "by which they may be off, for all that few frames show", most_off(side)),
        ("frames_apart_px", "frames differ at the corners by", MOST_APART * side),
        ("estimators_apart_px", "two estimators differ at the corners by", MOST_DIFFER * side),
    ):
        if (px := q.pop(key, None)) is not None:
            more = "give more frames with outlines all over the picture"
            rows.append(_limited(name, px, "px", most, more))
    return rows + [Reading(name, f"{value:.4g}") for name, value in q.items() if not name.startswith("clock")]


def clock_line(rig: Rig) -> str:
    """What is known of the clocks."""
    sigma, rate = rig.quality.get("clock_sigma_s"), rig.quality.get("clock_rate_sigma_ppm")
    if sigma is None:
        given = f"{rig.clock_offset:+.4f} s are added to infrared times, as given. " if rig.clock_offset else ""
        return f"{given}Not measured: calibrate clock IR VIS --rig RIG.json --write finds the offset from what moves."
    slow = "not measured" if rate is None else f"{rig.clock_rate:+.1f} ppm, sigma {rate:.1f} ppm"
    return f"{rig.clock_offset:+.4f} s are added to infrared times, sigma {1000 * sigma:.1f} ms; rate: {slow}."


def _most_error(camera: CameraFindings) -> float:
    return MOST_ERROR_PERCENT / 100 * camera.size[0]


def _limited(name: str, value: float, unit: str, most: float, advice: str, sign: str = "") -> Reading:
    is_bad = not value <= most
    close = f"holds, but not by far: {advice}" if value > NEAR_LIMIT * most else ""
    return Reading(name, f"{sign}{value:.2f} {unit}", f"at most {most:.3g}", advice if is_bad else close, is_bad)


def _baseline(sigma_mm: float, rig: Rig | None) -> Reading:
    if rig is None or rig.pose is None:
        return Reading("distance between the cameras", f"±{sigma_mm:.1f} mm")
    baseline = 1000 * float(np.linalg.norm(rig.pose.T))
    is_loose = sigma_mm > LOOSE_BASELINE * baseline
    advice = "the distance is open: lay pictures over each other near the board's distance only" if is_loose else ""
    return Reading("distance between the cameras", f"{baseline:.1f} ±{sigma_mm:.1f} mm", "", advice)
