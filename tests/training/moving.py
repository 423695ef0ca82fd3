"""Small clips for tests: a warm target that walks over a textured ground, and fused clips with planted faults."""

import numpy as np

from tests.training.material import textured
from training.video import write_gray

SIDE = 12
"""Of the target, px."""
STEP = 6
"""px a frame: after two frames a target's place is free of it and of its blurred edge."""
WARM = 220


def clip(frames=16, height=64, width=160, gain=None):
    """IR with the walking target and VIS without, lists of (H, W) uint8; both rest. gain: IR level added by frame."""
    ground, vis = textured(height, width, 1) // 5 + 40, textured(height, width, 2) // 2 + 40
    ir = []
    for t in range(frames):
        picture = ground.copy()
        left = 8 + STEP * t
        picture[25 : 25 + SIDE, left : left + SIDE] = WARM
        ir.append(picture if gain is None else (picture.astype(int) + gain[t]).clip(0, 255).astype(np.uint8))
    return ir, [vis.copy() for _ in range(frames)]


def halves(ir, vis):
    """Plain mean without rounding to whole levels, list of (H, W) float."""
    return [(a.astype(float) + b) / 2 for a, b in zip(ir, vis, strict=True)]


def levels(frames):
    """Rounded to uint8."""
    return [np.rint(frame).clip(0, 255).astype(np.uint8) for frame in frames]


def write_clip(folder, ir, vis):
    """`ir.mkv` and `vis.mkv`, exact."""
    folder.mkdir(parents=True)
    for name, video in (("ir", ir), ("vis", vis)):
        write_gray(folder / f"{name}.mkv", video)
    return folder
