"""The command `calibrate clock`: by how much one camera's times are behind the other's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.calibrate.frames import Recording
from pipeline.commands.options import RigOption
from pipeline.frames import InputError
from pipeline.interrupt import Interrupt
from pipeline.job import START_NOTICE
from pipeline.json_file import check_json_path
from pipeline.voice import Voice

if TYPE_CHECKING:
    from calibration.check import Plane
    from calibration.clock import Clock
    from calibration.rig import Rig

MOST_WITHIN = 60.0
"""s either way."""


class _InterruptedError(Exception):
    """Ctrl-C between two frames."""


def clock(
    ir: Annotated[str, typer.Argument(help="Infrared: a video.")],
    vis: Annotated[str, typer.Argument(help="Visible: a video of the same scene, taken at the same time.")],
    rig: RigOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="RIG.json", help="Write a copy of --rig with this clock.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the clock into --rig itself.")] = False,
    offset: Annotated[
        float | None, typer.Option(help="s added to infrared times, roughly.  [default: the rig's, or the files']")
    ] = None,
    within: Annotated[float, typer.Option(help="s either way of it that are searched.")] = 2.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing copy.")] = False,
) -> None:
    """Find the offset and the rate of the infrared clock from what moves, or say why it cannot be told."""
    from calibration.clock import find_clock
    from calibration.rig import load_rig

    if (out or write) and rig is None:
        raise InputError(f"{'-o' if out else '--write'}: a clock is written into a rig; give --rig FILE, too")
    if out and write:
        raise InputError("-o and --write: two places for one clock; give one of them")
    if out:
        check_json_path(out, may_replace=overwrite)
    if not 0 < within <= MOST_WITHIN:  # nan is not, either
        raise InputError(f"--within {within:g}: give seconds, above 0 and at most {MOST_WITHIN:g}")
    if offset is not None and not math.isfinite(offset):
        raise InputError(f"--offset {offset}: not a time; give seconds")
    known = load_rig(rig) if rig else None
    voice = Voice()
    with Interrupt() as interrupt, Recording(ir) as first, Recording(vis) as second:
        about = _about(offset, known, first, second)
        try:
            motions = _motions(first, second, known, interrupt.stop)
        except _InterruptedError:
            Voice(stderr=True).print("interrupted: nothing was written")
            raise typer.Exit(interrupt.exit_code) from None
    found = find_clock(*motions, about=about, most=within)
    for line in account(found):
        voice.print(line)
    place = rig if write else out
    if known is not None and place is not None:
        _save(known, found, place)
        voice.print(f"{place}: clock_offset {found.offset:.4f} s, clock_rate {found.rate:.1f} ppm")


def account(found: Clock) -> list[str]:
    """What was found, for people."""
    what = "parts of the picture" if found.kind == "parts" else "the whole picture"
    lines = [
        f"offset {found.offset:+.4f} s, sigma {1000 * found.sigma:.1f} ms: pass --offset {found.offset:.4f}",
        f"from the motion of {what} in {found.seconds:.1f} s: likeness {found.likeness:.2f}, "
        f"by chance at most {found.chance:.2f}",
    ]
    if found.rate_found is None or found.rate_sigma is None:
        lines.append("rate: not searched; it takes a recording of 60 s or more")
    else:
        verdict = "the infrared clock is slow" if found.rate > 0 else "the infrared clock is fast"
        if not found.rate:
            verdict = "not to be told from none, left out"
        lines.append(f"rate {found.rate_found:+.0f} ppm, sigma {found.rate_sigma:.0f} ppm: {verdict}")
    return lines


def _about(given: float | None, rig: Rig | None, ir: Recording, vis: Recording) -> float:
    """The offset about which is searched."""
    for recording in (ir, vis):
        if recording.is_images:
            raise InputError(f"{recording.info.name}: images have no clock; give two videos")
    if given is not None:
        return given
    if rig is not None and rig.clock_offset:
        return rig.clock_offset
    starts = [float(each.info.start_pts * each.info.time_base) for each in (ir, vis)]
    gap = starts[1] - starts[0]
    if abs(gap) <= START_NOTICE:
        return 0.0
    Voice(stderr=True).print(
        f"note: ir starts at {starts[0]:.3f} s and vis at {starts[1]:.3f} s of their own clocks: searched about "
        f"{gap:+.3f} s, as if both were started together"
    )
    return gap


def _motions(ir: Recording, vis: Recording, rig: Rig | None, stop: Event) -> tuple:
    from calibration.motion import baseline_of, motion_of, small_size
    from calibration.warp import make_warp

    rates = [None if each.info.rate is None else float(each.info.rate) for each in (ir, vis)]
    baseline = baseline_of(*rates)
    warp = None if rig is None else make_warp(rig, small_size(ir.size), small_size(vis.size))
    found = []
    for recording, laid, seen in ((ir, warp, None), (vis, None, None if warp is None else warp.weight)):
        try:
            found.append(motion_of(_shots(recording, stop), baseline, warp=laid, seen=seen))
        except ValueError as error:
            raise InputError(f"{recording.info.name}: {error}; give a longer recording") from error
        for line in recording.complaints():
            Voice(stderr=True).print(f"note: {line}")
    return tuple(found)


def _shots(recording: Recording, stop: Event) -> Iterator[tuple[float, Plane]]:
    for shot in recording.shots():
        if stop.is_set():
            raise _InterruptedError
        yield shot.time, shot.luma


def _save(rig: Rig, found: Clock, place: Path) -> None:
    from calibration.rig import save_rig

    quality = {**rig.quality, "clock_sigma_s": found.sigma, "clock_likeness": found.likeness}
    if found.rate_sigma is not None:
        quality["clock_rate_sigma_ppm"] = found.rate_sigma
    now = datetime.now(UTC).isoformat(timespec="seconds")
    changes = {"clock_offset": found.offset, "clock_rate": found.rate, "quality": quality, "created": now}
    save_rig(rig.model_copy(update=changes), place)
