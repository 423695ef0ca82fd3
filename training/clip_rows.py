"""Every measurement of one fused clip."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.clip_series import keep_series
from training.clips import Clip, ClipJob, fuse_clip
from training.methods import plain_mean
from training.metrics.brightness_jump import largest_jump
from training.metrics.flicker import flicker
from training.metrics.moving_targets import Movement, movement, retention_over_time, trail
from training.metrics.warping_error import motion, warping_error
from training.rows import Row
from training.video import read_video

COLUMNS = (
    "flicker", "flicker/mean", "warping", "jump", "jump/IR", "jump/VIS", "retention", "least retention", "trail",
    "changes",
)  # fmt: skip
"""Of a table, in this order: flicker of what rests, in levels and over that of plain mean; warping error; the largest
jump of mean brightness, in levels and over that of each source; retention of moving targets, its mean over time and
its worst frame; what is left of a target 5 frames later; maps that change their rule per frame."""
LOWER_IS_BETTER = {*COLUMNS} - {"retention", "least retention"}
LEAST_JUMP = 1.0
"""Jump of a source that another is set beside, levels: a still source has none."""
Luma = NDArray[np.uint8]
Motion = tuple[NDArray[np.float32], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Sources:
    """A clip read, and what can be said of it before anything is fused."""

    ir: list[Luma]
    vis: list[Luma]
    motions: list[Motion]
    moves: Movement
    mean_flicker: float | None
    """Of plain mean."""


def clip_row(job: ClipJob) -> Row:
    """Every measurement of one job; None: undefined. Raises DataError, ModelError, BackendError, OSError."""
    sources = _sources(job.pair)
    fused, changes = fuse_clip(job, sources.ir, sources.vis)
    if job.series:
        keep_series(job.series, sources.ir, fused)
    return {**row_of(sources, fused), "changes": changes}


def row_of(sources: Sources, fused: Sequence[Luma]) -> Row:
    """What can be measured of fused frames (H, W) alone."""
    ir, vis = sources.ir, sources.vis
    kept = retention_over_time(ir, fused, sources.moves)
    shakes, jump = flicker(ir, vis, fused), largest_jump(fused)
    return {
        "flicker": shakes,
        "flicker/mean": _over(shakes, sources.mean_flicker),
        "warping": warping_error(ir, vis, fused, motions=sources.motions),
        "jump": jump,
        "jump/IR": _over(jump, largest_jump(ir), LEAST_JUMP),
        "jump/VIS": _over(jump, largest_jump(vis), LEAST_JUMP),
        "retention": kept.mean,
        "least retention": kept.least,
        "trail": trail(fused, sources.moves),
        "changes": None,
    }


def analysed(ir: list[Luma], vis: list[Luma]) -> Sources:
    """The sources' own motion, targets and flicker."""
    motions = [motion((ir[t - 1], vis[t - 1]), (ir[t], vis[t])) for t in range(1, len(ir))]
    means = [plain_mean(a, b) for a, b in zip(ir, vis, strict=True)]
    return Sources(ir, vis, motions, movement(ir, vis), flicker(ir, vis, means))


@functools.lru_cache(maxsize=1)
def _sources(clip: Clip) -> Sources:
    """Of the last clip: all methods are measured on one clip before the next, and its motion takes longest."""
    return analysed(*(read_video(path, frames=clip.shape.frames) for path in (clip.ir, clip.vis)))


def _over(value: float | None, other: float | None, least: float = 0.0) -> float | None:
    """The ratio, None where the other is undefined, 0, or below the least."""
    return None if value is None or not other or other < least else value / other
