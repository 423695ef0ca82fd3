"""Disturbed training pictures: dark scenes, smoke, negatives, and the next moment of the same scene."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Batch = NDArray[np.uint8]
DARK = 0.35
"""Share of the visible pictures that get another gamma."""
SMOKE = 0.25
"""Share that gets white smoke: the infrared must show through."""
NEGATIVE = 0.08
"""Share of the infrared pictures that are shown black hot."""


def disturbed(ir: Batch, vis: Batch, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """Copies of a batch (N, 1, H, W) with some pictures changed."""
    ir, vis = ir.copy(), vis.copy()
    for k in range(len(ir)):
        draw = rng.random()
        if draw < DARK:
            vis[k] = (255 * (vis[k] / 255.0) ** rng.uniform(0.8, 2.2)).astype(np.uint8)
        elif draw < DARK + SMOKE:
            vis[k, 0] = _smoke(vis[k, 0], rng)
        if rng.random() < NEGATIVE:
            ir[k] = 255 - ir[k]
    return ir, vis


def next_moment(ir: Tensor, vis: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same scene with another gain of the infrared camera and new noise in both. (N, 1, H, W) in 0..1."""
    shape = (len(ir), 1, 1, 1)
    gain, offset = (torch.from_numpy(rng.uniform(*span, shape)).to(ir) for span in ((0.85, 1.15), (-0.09, 0.09)))
    sigma = rng.uniform(0, 0.02)
    noise_ir, noise_vis = (torch.from_numpy(rng.normal(0, sigma, x.shape)).to(x) for x in (ir, vis))
    return (ir * gain + offset + noise_ir).clamp(0, 1), (vis + noise_vis).clamp(0, 1)


def _smoke(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Soft white clouds over a picture (H, W)."""
    height, width = picture.shape
    cells = int(rng.integers(3, 6))
    clouds = cv2.resize(rng.random((cells, cells)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    density = np.clip((clouds - rng.uniform(0.3, 0.6)) * rng.uniform(2, 5), 0, 1) * rng.uniform(0.6, 1)
    smoky = picture * (1 - density) + rng.uniform(190, 255) * density + rng.normal(0, 2, picture.shape)
    return np.asarray(smoky.clip(0, 255), np.uint8)
