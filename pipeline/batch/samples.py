"""One moment of a fused file, with what it was fused from, and how well the two pictures lie on each other."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import CrotalusError, Luma
from pipeline.align import align
from pipeline.batch.place import is_address, parse_place
from pipeline.batch.recipe import recipe_of
from pipeline.batch.storage import Storage
from pipeline.batch.task import Task
from pipeline.frames import Frame
from pipeline.job import open_pair
from pipeline.source import open_source
from pipeline.sync import SyncReport, default_tolerance, pair_frames
from pipeline.thermal import Agc

WIDTH = 320
"""px at which pictures are compared: a shift that nobody sees in a full picture shall not count."""
BLUR = 1.5
"""px, standard deviation, before gradients are taken: thermal pictures are softer than visible ones."""
SPAN = 1.0
"""s that are read around the moment asked for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a person can judge: three pictures of one grid, gray."""

    ir: Luma
    """(H, W) uint8, warped onto the grid of the output, as it was fused."""
    vis: Luma
    """(H, W) uint8"""
    fused: Luma | None
    """(H, W) uint8; None where there is no output."""
    alignment: float
    """See `alignment`."""


def sample(task: Task, time: float, storage: Storage) -> Sample | None:
    """The pair at `time` s after the first VIS frame; None where no pair is near. Raises CrotalusError."""
    is_there = is_address(task.out) or Path(task.out).is_file()
    places = [place for place in (task.ir, task.vis, task.rig) if place]
    with storage.fetch(*places, *([task.out] if is_there else [])) as paths:
        ir, vis, *rest = map(str, paths)
        name = parse_place(task.out).name
        recipe = recipe_of(replace(task, ir=ir, vis=vis, rig=rest[0] if task.rig else None, out=name), threads=1)
        job = replace(recipe.job, start=max(0.0, time - SPAN / 2), end=time + SPAN / 2, hwaccel="off")
        sources = open_pair(job)
        with closing(sources[0]), closing(sources[1]):
            infos = [source.info for source in sources[:2]]
            tolerance = job.policy.tolerance
            if tolerance is None:
                tolerance = default_tolerance(*infos)
            frames = sources[0].frames(), sources[1].frames()
            pairs = pair_frames(*frames, job.policy, tolerance, SyncReport())
            start = float(infos[1].start_pts * infos[1].time_base)
            pair = min(islice(pairs, 100), key=lambda pair: abs(pair.vis.time - start - time), default=None)
            if pair is None:
                return None
            aligned = align(pair, replace(job.geometry, work_height=None), Agc(job.gain), Agc())
            fused = _frame_at(paths[-1], pair.vis.time - start) if is_there else None
        found, given = np.asarray(aligned.ir, np.uint8), np.asarray(aligned.vis, np.uint8)
        return Sample(found.copy(), given.copy(), fused, alignment(found, given))


def alignment(ir: Luma, vis: Luma) -> float:
    """How much the edges of two pictures (H, W) uint8 of one grid lie on each other, -1..1; 0 for a flat picture.

    Correlation of the roots of their gradient magnitudes: which side of an edge is brighter does not matter. It tells
    chunks of one camera pair apart; between different scenes it says little, for few edges show in both spectra.
    """
    edges = [_edges(picture) for picture in (ir, vis)]
    spreads = [float(picture.std()) for picture in edges]
    if min(spreads) < 1e-6:
        return 0.0
    one, other = ((picture - picture.mean()) / spread for picture, spread in zip(edges, spreads, strict=True))
    return float(np.clip((one * other).mean(), -1.0, 1.0))


def _edges(luma: Luma) -> NDArray[np.float32]:
    height, width = luma.shape
    size = min(width, WIDTH), max(1, round(height * min(width, WIDTH) / width))
    small = cv2.GaussianBlur(cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32), (0, 0), BLUR)
    return np.asarray(np.sqrt(cv2.magnitude(cv2.Sobel(small, -1, 1, 0), cv2.Sobel(small, -1, 0, 1))), np.float32)


def _frame_at(path: Path, time: float) -> Luma | None:
    """The frame of an output shown nearest to a time of VIS; None if it cannot be read there."""
    try:
        with open_source(path) as source:
            first = float(source.info.start_pts * source.info.time_base)
        after = time - first
        with open_source(path, start=max(0.0, after - SPAN / 2), end=max(0.0, after) + SPAN / 2, threads=1) as source:
            frame: Frame | None = min(source.frames(), key=lambda frame: abs(frame.time - time), default=None)
    except CrotalusError:
        return None
    if frame is None:
        return None
    return np.array(frame.luma if frame.luma.dtype == np.uint8 else frame.luma >> 8, np.uint8)
