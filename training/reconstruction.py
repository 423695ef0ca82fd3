"""How well a network rebuilds its own inputs: what the paper's training is for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engines.model import ModelInfo
from engines.onnx_cpu import reflected
from training.data import ImagePair, read_luma
from training.export import load_network
from training.graph import WEIGHTS, read_slots
from training.metrics.ssim import ssim
from training.network import JCAE, MARGIN, channels_last

Luma = NDArray[np.uint8]


def can_rebuild(info: ModelInfo) -> bool:
    """Whether the model decodes one source alone, as the paper's does; a light one draws fused pictures only."""
    return info.kind == "jcae" and "decoder.conv3.weight" in read_slots(info.path(WEIGHTS))


def reconstruct(network: JCAE, ir: Luma, vis: Luma) -> tuple[Luma, Luma]:
    """Both pictures (H, W) rebuilt by the network from their own features (Eq. 4)."""
    height, width = ir.shape
    rows, columns = (reflected(side, MARGIN, 2) for side in (height, width))
    padded = [torch.from_numpy(x[rows][:, columns][None, None].astype(np.float32) / 255) for x in (ir, vis)]
    with torch.no_grad():
        rebuilt = network(*padded)
    images = [np.rint(255 * x[0, 0, :height, :width].numpy()).clip(0, 255).astype(np.uint8) for x in rebuilt]
    return images[0], images[1]


def reconstruction_ssim(model_folder: Path, pairs: Iterable[ImagePair]) -> dict[str, float]:
    """Mean SSIM of the rebuilt pictures to their originals, `ir` and `vis`. Raises ModelError, DataError."""
    network = channels_last(load_network(model_folder))
    found = []
    for pair in pairs:
        ir, vis = read_luma(pair.ir), read_luma(pair.vis)
        again = reconstruct(network, ir, vis)
        found.append((ssim(again[0], ir), ssim(again[1], vis)))
    mean = np.mean(found, axis=0)
    return {"ir": float(mean[0]), "vis": float(mean[1])}
