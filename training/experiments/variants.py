"""Pictures fused by a network with other rules, or by one of its branches alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines import rules
from engines.onnx_cpu import reflected
from training.network import JCAE, MAPS, MARGIN

Luma = NDArray[np.uint8]
Features = NDArray[np.floating[Any]]
Branches = Literal["both", "common", "private"]
RULES: dict[str, Callable[[Features, Features], Features]] = {
    "max": np.maximum,
    "mean": lambda ir, vis: (ir + vis) / 2,
    "sum": lambda ir, vis: ir + vis,
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One way from features to a picture."""

    name: str
    common: str = "paper"
    """`paper` (Eq. 9) or one of `RULES`."""
    private: str = "max"
    """One of `RULES`; the paper's is the maximum (Eq. 8)."""
    branches: Branches = "both"
    """Whose decoded picture is taken."""


PAPER = Variant("as in the paper")


def fused_by(network: JCAE, ir: Luma, vis: Luma, variants: Sequence[Variant]) -> list[Luma]:
    """The pictures (H, W) of one pair by each variant; what variants share is computed once."""
    private_ir, private_vis, common_ir, common_vis = features(network, ir, vis)
    shares: dict[tuple[str, str], NDArray[np.float32]] = {}

    def share(branch: str, rule: str) -> NDArray[np.float32]:
        if (branch, rule) not in shares:
            a, b = (private_ir, private_vis) if branch == "private" else (common_ir, common_vis)
            shares[branch, rule] = decoded(network, paper_common(a, b) if rule == "paper" else RULES[rule](a, b))
        return shares[branch, rule]

    made = []
    for variant in variants:
        parts = {"common": variant.common, "private": variant.private}
        used = parts.items() if variant.branches == "both" else [(variant.branches, parts[variant.branches])]
        made.append(to_luma(sum(share(branch, rule) for branch, rule in used), ir.shape))
    return made


def rebuilt_by(network: JCAE, ir: Luma, vis: Luma, branches: Branches) -> tuple[Luma, Luma]:
    """Both pictures (H, W) rebuilt from the features of one kind of branch, or of both."""
    with torch.no_grad():
        first, second = rebuilt(network, padded(ir), padded(vis), branches)
    return to_luma(first[0, 0].numpy(), ir.shape), to_luma(second[0, 0].numpy(), vis.shape)


def rebuilt(network: JCAE, ir: Tensor, vis: Tensor, branches: Branches) -> tuple[Tensor, Tensor]:
    """Both reconstructions, (N, 1, H - 16, W - 16), from the features of one kind of branch or of both (Eq. 4)."""
    if branches == "both":
        both: tuple[Tensor, Tensor] = network(ir, vis)
        return both
    if branches == "common":
        first, second = network.decoder(network.common(torch.cat([ir, vis]))).chunk(2)
        return first, second
    first, second = network.decoder(torch.cat([network.private_ir(ir), network.private_vis(vis)])).chunk(2)
    return first, second


def features(network: JCAE, ir: Luma, vis: Luma) -> tuple[Features, Features, Features, Features]:
    """Private IR and VIS, common IR and VIS of one pair, each (128, h, w) float32, with the margin around it."""
    with torch.no_grad():
        found = network.encode(*(padded(luma) for luma in (ir, vis)))
    private_ir, private_vis, common_ir, common_vis = (x[0].numpy() for x in found)
    return private_ir, private_vis, common_ir, common_vis


def paper_common(ir: Features, vis: Features) -> Features:
    """Eq. 9 with the paper's threshold."""
    threshold = rules.next_threshold(None, maps=MAPS)
    return rules.fuse_common(ir, vis, rules.averaged_maps(rules.activity(ir, vis), threshold))


def decoded(network: JCAE, maps: Features) -> NDArray[np.float32]:
    """A share of the picture, with the padding's rest at its end, float, nominally 0..1."""
    with torch.no_grad():
        found = network.decoder(torch.from_numpy(np.ascontiguousarray(maps, np.float32))[None])[0, 0]
    return np.asarray(found.numpy())


def to_luma(picture: Any, shape: tuple[int, ...]) -> Luma:
    """Rounded to levels and cut to (H, W)."""
    levels = np.rint(255 * np.asarray(picture)[: shape[0], : shape[1]]).clip(0, 255)
    return np.asarray(levels, np.uint8)


def padded(luma: Luma) -> Tensor:
    """(1, 1, H + 16, W + 16 and more) float in 0..1, reflected around the picture as at run time."""
    rows, columns = (reflected(side, MARGIN, 2) for side in luma.shape)
    return torch.from_numpy(luma[rows][:, columns][None, None].astype(np.float32) / 255)
