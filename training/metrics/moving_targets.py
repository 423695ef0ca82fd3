"""Do warm targets that move keep their brightness, and do they leave trails? Ours.

A target (see `target_retention`) moves if most of its place was not warm `LAG` frames away. Its retention over time is
that of single pictures, frame by frame. The trail is what is left where a target was:

    trail = |sum of F[t] - B| / sum of F[t-LAG] - B

over the pixels that a moving target covered at t-LAG, and where both sources have since come back to their background.
B is the background of F: its mean, pixel by pixel, over the frames in which no target was there for `LAG` frames. Where
the sources are as in their background a fuser without memory gives its own; one that blends frames leaves some of the
target. Whatever its sign: a dark shadow is a trail, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.metrics.flicker import SMOOTHING, STEADY
from training.metrics.target_retention import GAP, Target, contrast_kept, warm_targets

LAG = 5
"""frames"""
STAYED = 0.7
"""A target of which more than this was warm `LAG` frames away stands still."""
LEAST_EXCESS = 5.0
"""Mean brightness above its background that a target needs to leave a measurable trail, levels."""
Luma = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Video = Sequence[Luma]


@dataclass(frozen=True, slots=True)
class Movement:
    """The moving warm targets of a clip, and the places that they left; of the sources alone."""

    targets: tuple[tuple[Target, ...], ...]
    """By frame: masks (H, W) of each moving target and of the ring around it."""
    clear: tuple[Mask, ...]
    """By frame: where no target, moving or not, has been for `LAG` frames."""
    left: tuple[Mask | None, ...]
    """By frame: where a moving target was `LAG` frames ago, and both sources are as in their background."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Retention of moving targets over the frames that have any."""

    frames: int
    mean: float | None
    """None without such a frame."""
    least: float | None
    """Of the worst frame."""


def movement(ir: Video, vis: Video) -> Movement:
    """What moves in a clip of frames (H, W). Raises ValueError for videos of different lengths."""
    if len(ir) != len(vis):
        raise ValueError(f"{len(ir)} frames of ir, {len(vis)} of vis; give as many of both")
    found = [warm_targets(frame) for frame in ir]
    warm = [_union([target for target, _ in targets], frame.shape) for targets, frame in zip(found, ir, strict=True)]
    near = [_grown(mask) for mask in warm]
    clear = tuple(~np.logical_or.reduce(near[max(0, t - LAG) : t + 1]) for t in range(len(ir)))
    moving = []
    for t, targets in enumerate(found):
        away = t - LAG if t >= LAG else t + LAG
        before = warm[away] if away < len(ir) else None
        moving.append(tuple(pair for pair in targets if before is not None and before[pair[0]].mean() <= STAYED))
    rests = [_rests(video, clear) for video in (ir, vis)]
    left: list[Mask | None] = [None] * min(LAG, len(ir))
    for t in range(LAG, len(ir)):
        place = _union([target for target, _ in moving[t - LAG]], ir[t].shape) & ~near[t]
        left.append(place & rests[0][t] & rests[1][t] if place.any() else None)
    return Movement(tuple(moving), clear, tuple(left))


def retention_over_time(ir: Video, fused: Video, moves: Movement) -> Kept:
    """Mean over frames, and the worst frame, of how much contrast the moving targets keep."""
    values = []
    for picture, result, targets in zip(ir, fused, moves.targets, strict=True):
        ratios = [kept for target in targets if (kept := contrast_kept(picture, result, target)) is not None]
        if ratios:
            values.append(float(np.average([r for r, _ in ratios], weights=[w for _, w in ratios])))
    return Kept(len(values), float(np.mean(values)) if values else None, min(values, default=None))


def trail(fused: Video, moves: Movement) -> float | None:
    """Share of a target's brightness that is still there `LAG` frames later; None if nothing can be told."""
    if not any(place is not None and place.any() for place in moves.left):
        return None
    background, _ = _background(fused, moves.clear)
    then = now = count = 0.0
    for t, place in enumerate(moves.left):
        if place is not None:
            then += float((fused[t - LAG][place] - background[place]).sum())
            now += float((fused[t][place] - background[place]).sum())
            count += float(place.sum())
    return abs(now) / then if then >= LEAST_EXCESS * count else None


def _rests(video: Video, clear: Sequence[Mask]) -> list[Mask]:
    """By frame, where the picture is within `STEADY` of its background; nowhere where that was never seen."""
    background, seen = _background(video, clear)
    away = (cv2.GaussianBlur((frame - background).astype(np.float32), (0, 0), SMOOTHING) for frame in video)
    return [(np.abs(change) <= STEADY) & seen for change in away]


def _background(video: Video, clear: Sequence[Mask]) -> tuple[NDArray[np.float64], Mask]:
    """Mean of each pixel over the frames in which it is clear, and whether there is such a frame."""
    total, count = np.zeros(video[0].shape), np.zeros(video[0].shape)
    for frame, mask in zip(video, clear, strict=True):
        total[mask] += frame[mask]
        count += mask
    return total / np.maximum(count, 1), count > 0


def _union(masks: Sequence[Mask], shape: tuple[int, ...]) -> Mask:
    return np.logical_or.reduce([np.zeros(shape, np.bool_), *masks])


def _grown(mask: Mask) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GAP + 1, 2 * GAP + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)
