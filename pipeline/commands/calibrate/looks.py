"""The pictures of a recorded pair in which a board is looked for, and what was found in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.boards import Board
from calibration.choose import View
from calibration.detect import Detector, Sighting
from calibration.missing import parts_seen
from pipeline.commands.calibrate.pairs import check_not_swapped
from pipeline.frames import InputError, Pair
from pipeline.job import Job, open_pair
from pipeline.sync import SyncReport, anchored, default_tolerance, pair_frames
from pipeline.thermal import Agc

Luma8 = NDArray[np.uint8]
EVERY = 0.5
"""s of video of which the stillest pair is looked at: a hand moves a board to another place in that time."""
MOST_LOOKS = 300
"""Pairs looked at, of a video that says how long it is; a tenth of a second each."""
TRIES = 12
"""Pictures without the board in each spectrum that are kept to say why."""


@dataclass(frozen=True, slots=True)
class Look:
    """A pair of pictures and where the board is in them."""

    name: str
    time: float
    """s, of VIS"""
    ir: Luma8
    vis: Luma8
    in_ir: Sighting | None
    in_vis: Sighting | None
    motion: float
    """px a frame, of the board in VIS."""


@dataclass(slots=True)
class Found:
    """What was found in all of them."""

    views: list[View] = field(default_factory=list)
    looks: int = 0
    ir: int = 0
    vis: int = 0
    missed: dict[str, list[Look]] = field(default_factory=lambda: {"ir": [], "vis": []})
    """Looks in which one spectrum does not show the board: the best, by the parts that can be seen, come first."""
    sizes: tuple[tuple[int, int], tuple[int, int]] = (0, 0), (0, 0)
    """Width and height of IR and VIS."""
    some: Look | None = None
    """One with the board in both."""


def find_views(job: Job, board: Board, on_look: Callable[[Look], None]) -> Found:
    """Look for the board all over a recorded pair. Raises InputError for inputs that cannot be used."""
    found, detectors = Found(), (Detector(board), Detector(board))
    for pair, before, name in _stillest(job):
        ir, vis = (np.asarray(frame.luma, np.uint8) for frame in (pair.ir, pair.vis))
        sizes = (ir.shape[1], ir.shape[0]), (vis.shape[1], vis.shape[0])
        if found.looks and sizes != found.sizes:
            raise InputError(f"{name}: pictures of another size than those before; give what one rig took")
        in_ir, in_vis = detectors[0].find(ir), detectors[1].find(vis)
        motion = 0.0 if in_vis is None or before is None else _motion(before, vis, in_vis)
        look = Look(name, pair.vis.time, ir, vis, in_ir, in_vis, motion)
        found.sizes = sizes
        found.looks += 1
        found.ir += in_ir is not None
        found.vis += in_vis is not None
        if in_ir is not None and in_vis is not None:
            found.views.append(View(name, look.time, in_ir, in_vis, motion))
            found.some = found.some or look
        _keep_misses(found, look, board)
        on_look(look)
    return found


def _keep_misses(found: Found, look: Look, board: Board) -> None:
    """The most telling misses: all of the first, then those that show more of the board than the worst so far."""
    for side, sighting in (("ir", look.in_ir), ("vis", look.in_vis)):
        if sighting is None and len(found.missed[side]) < TRIES:
            found.missed[side].append(look)
            found.missed[side].sort(key=lambda one: -parts_seen(one.ir if side == "ir" else one.vis, board)[0])


def _stillest(job: Job) -> Iterator[tuple[Pair, Luma8 | None, str]]:
    """Of each stretch of a video the pair that differs least from the one before, which comes with it; all images."""
    ir, vis, _ = open_pair(job)
    agcs = Agc(job.gain, inertia=0.0), Agc(inertia=0.0)  # looks are far apart
    with closing(ir), closing(vis):
        length = float(vis.info.frames / vis.info.rate) if vis.info.frames and vis.info.rate else 0.0
        every, tolerance = max(EVERY, length / MOST_LOOKS), default_tolerance(ir.info, vis.info)
        best: tuple[float, Pair, Luma8 | None] | None = None
        last: Luma8 | None = None
        until = -np.inf
        is_checked = False
        for pair in pair_frames(ir.frames(), vis.frames(), anchored(job.policy, ir.info), tolerance, SyncReport()):
            if not is_checked:
                check_not_swapped(pair)
                is_checked = True
            shown = Pair(agcs[0].apply(pair.ir), agcs[1].apply(pair.vis), pair.skew)
            if pair.vis.name:
                yield shown, None, pair.vis.name
                continue
            if pair.vis.time >= until and best is not None:
                yield best[1], best[2], f"{best[1].vis.time:.2f} s"
                best = None
            if best is None:
                until = pair.vis.time + every
            luma = np.asarray(shown.vis.luma, np.uint8)
            change = np.inf if last is None else float(cv2.absdiff(_small(luma), _small(last)).mean())
            if best is None or change < best[0]:
                best = change, shown, last
            last = luma
        if best is not None:
            yield best[1], best[2], f"{best[1].vis.time:.2f} s"


def _small(luma: Luma8) -> NDArray[Any]:
    return cv2.resize(luma, (160, 120), interpolation=cv2.INTER_AREA)


def _motion(before: Luma8, now: Luma8, sighting: Sighting) -> float:
    """px a frame that the board's points have come, by optical flow."""
    none: Any = None
    points = sighting.points.astype(np.float32).reshape(-1, 1, 2)
    moved, is_found, _ = cv2.calcOpticalFlowPyrLK(now, before, points, none)
    apart = np.linalg.norm((moved - points).reshape(-1, 2)[is_found.ravel() == 1], axis=1)
    return float(np.median(apart)) if len(apart) else 0.0
