"""The network and both fusion rules as one differentiable module: pictures in, fused picture out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from engines.rules import ACTIVITY_RATIO
from training.network import JCAE

TINY = 1e-6
"""Keeps the weighted average defined where neither source has anything in common."""


class Fused(NamedTuple):
    """What one pass gives, each (N, 1, H - 16, W - 16) float."""

    picture: Tensor
    rebuilt_ir: Tensor | None
    """None unless asked for: two thirds of the decoder's work."""
    rebuilt_vis: Tensor | None


class Through(nn.Module):
    """The network with Eq. 8 and 9 between encoders and decoder.

    Which of the two rules a common map follows is taken as given, as a count of nonzero positions has no gradient; all
    else is differentiated as it stands. The sums are those of `engines.rules`.
    """

    def __init__(self, network: JCAE) -> None:
        super().__init__()
        self.network = network

    def forward(self, ir: Tensor, vis: Tensor, rebuild: bool = False) -> Fused:
        """Fuse (N, 1, H, W) luma in 0..1; rebuild: decode the sources' own features, too."""
        f = self.network.encode(ir, vis)
        common = fused_common(f.common_ir, f.common_vis)
        stacks = [torch.maximum(f.private_ir, f.private_vis), common]
        if rebuild:
            stacks += [f.private_ir, f.private_vis, f.common_ir, f.common_vis]
        shares = self.network.decoder(torch.cat(stacks)).chunk(len(stacks))
        picture = shares[0] + shares[1]
        if not rebuild:
            return Fused(picture, None, None)
        return Fused(picture, shares[2] + shares[4], shares[3] + shares[5])


def fused_common(common_ir: Tensor, common_vis: Tensor, averaged: Tensor | None = None) -> Tensor:
    """Eq. 9: the weighted average of the maps that are active in both sources, the larger value of the others.

    averaged: which these are, (N, maps) bool, where the maps are of crops and the rule is of whole pictures.
    """
    if averaged is None:
        active_ir, active_vis = ((x > 0).float().mean((2, 3)) for x in (common_ir, common_vis))
        averaged = torch.minimum(active_ir, active_vis) >= ACTIVITY_RATIO
    total_ir, total_vis = (x.sum(1, keepdim=True) for x in (common_ir, common_vis))
    share = total_ir / (total_ir + total_vis + TINY)
    average = share * common_ir + (1 - share) * common_vis
    return torch.where(averaged[:, :, None, None], average, torch.maximum(common_ir, common_vis))
