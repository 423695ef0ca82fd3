"""The pairs that a report shows: of a board at three distances, or spread over the recordings."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.before_after import BeforeAfter, before_after
from calibration.findings import TargetFindings
from calibration.rig import Rig
from calibration.view_distance import view_distance
from pipeline.commands.calibrate.pairs import spread_pairs
from pipeline.job import Job, open_pair
from pipeline.source import holds_images
from pipeline.sync import SyncPolicy, SyncReport, anchored, default_tolerance, pair_frames
from pipeline.thermal import Agc, Gain

PAIRS = 3
"""At most."""
SAME = 1e-3
"""s, by which the time of a frame may differ from that of its view in a file."""

Luma8 = NDArray[np.uint8]


def show(
    ir: str, vis: str, rig: Rig, target: TargetFindings | None, depth: float | None, offset: float | None, gain: Gain
) -> list[BeforeAfter]:
    """Pairs before and after. depth: m, of all of them; None is each board's own distance, or the rig's.
    offset: s added to infrared times; None is the rig's, and none for images, which have no clock.

    Raises InputError for recordings that cannot be used, RigError for those of another aspect ratio than the rig's.
    """
    time = offset if offset is not None else 0.0 if holds_images(vis) else rig.clock_offset
    found = []
    if target is not None and rig.vis is not None:
        wanted = _at_three_distances(target, rig)
        for name, distance, pictures in _those(ir, vis, wanted, time, gain):
            found.append(before_after(*pictures, rig, depth or distance, name))
    if not found:  # other recordings than the findings are of, or none
        laid = depth or rig.depth or (target.distance_m if target else math.inf)
        found = [before_after(*pictures, rig, laid) for pictures in spread_pairs(ir, vis, PAIRS, time, gain)]
    return [shown for shown in found if shown is not None]


def _at_three_distances(target: TargetFindings, rig: Rig) -> list[tuple[str, float, float]]:
    """(name, time in s, distance in m) of the nearest, a middle and the farthest kept view."""
    assert rig.vis is not None
    views = []
    for view in target.views:
        if view.state == "kept":
            distance = view_distance(view, target.target, rig.vis)
            views.append((view.name, view.time, target.distance_m if distance is None else distance))
    views.sort(key=lambda view: view[2])
    places = np.unique(np.linspace(0, len(views) - 1, min(PAIRS, len(views))).round().astype(int))
    return [views[place] for place in places]


def _those(
    ir: str, vis: str, wanted: list[tuple[str, float, float]], offset: float, gain: Gain
) -> list[tuple[str, float, tuple[Luma8, Luma8]]]:
    """Name, distance and pictures of the wanted pairs; a video is read up to the last of them."""
    first, second, _ = open_pair(job := Job(ir, vis, Path(), SyncPolicy(offset)))
    agcs = Agc(gain, inertia=0.0), Agc(inertia=0.0)
    left, found = list(wanted), []
    with closing(first), closing(second):
        tolerance = default_tolerance(first.info, second.info)
        pairs = pair_frames(first.frames(), second.frames(), anchored(job.policy, first.info), tolerance, SyncReport())
        for pair in pairs:
            for view in left:
                name, time, distance = view
                if (pair.vis.name == name) if pair.vis.name else abs(pair.vis.time - time) < SAME:
                    left.remove(view)
                    lumas = (
                        np.array(agc.apply(frame).luma, np.uint8)
                        for agc, frame in zip(agcs, (pair.ir, pair.vis), strict=True)
                    )
                    found.append((name, distance, (next(lumas), next(lumas))))
                    break
            if not left:
                break
    return sorted(found, key=lambda entry: entry[1])
