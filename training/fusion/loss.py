"""The fusion loss: what a fused picture should keep of its sources, without any picture to compare it with."""

from __future__ import annotations

import torch
from torch import Tensor

from training.fusion.information import mutual_information, scd, vifp
from training.fusion.salience import blob_loss, brightness_loss, target_loss, visible_difference
from training.fusion.structure import edge_share, gradient_loss, ms_ssim
from training.loss import ssim

WEIGHTS = {
    "gradient": 4.0,
    "ssim": 3.0,
    "brightness": 4.0,
    "scd": 0.6,
    "vif": 1.0,
    "ms-ssim": 4.0,
    "edges": 1.0,
    "information": 0.2,
    "visible": 0.6,
    "targets": 5.0,
    "blobs": 1.2,
    "rebuilt": 0.25,
    "unsteady": 0.5,
}
"""Of each term. Chosen by optimising pixels instead of a network: with these weights every metric rises at once.
`blobs` came later, while a network was trained: fewer targets are lost with it."""
VISIBLE_SCALE = 500.0
"""Squared levels of visible difference that count as one."""


def fusion_terms(ir: Tensor, vis: Tensor, fused: Tensor) -> dict[str, Tensor]:
    """Terms that one fused picture decides, lower is better. All (N, 1, H, W) in 0..1, at least 48 px a side."""
    return {
        "gradient": gradient_loss(ir, vis, fused),
        "ssim": 1 - (ssim(ir, fused).mean() + ssim(vis, fused).mean()) / 2,
        "brightness": brightness_loss(ir, vis, fused),
        "scd": 2 - scd(ir, vis, fused),
        "vif": 2 - vifp(ir, fused) - vifp(vis, fused),
        "ms-ssim": 1 - ms_ssim(ir, vis, fused),
        "edges": 1 - edge_share(ir, vis, fused),
        "information": -mutual_information(ir, fused) - mutual_information(vis, fused),
        "visible": visible_difference(ir, vis, fused) / VISIBLE_SCALE,
        "targets": target_loss(ir, fused),
        "blobs": blob_loss(ir, fused),
    }


def rebuilt_term(rebuilt: tuple[Tensor, Tensor], sources: tuple[Tensor, Tensor]) -> Tensor:
    """The anchor: how far both sources are from what is rebuilt of their own features."""
    total = rebuilt[0].new_zeros(())
    for again, source in zip(rebuilt, sources, strict=True):
        total = total + ((again - source) ** 2).mean().sqrt() + 0.3 * (1 - ssim(again, source).mean())
    return total


def weighted(terms: dict[str, Tensor]) -> Tensor:
    """Their sum, each with its weight."""
    return torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
