"""What the light network is asked for: the teacher's picture, and a little of what the teacher itself was asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from training.fusion.loss import fusion_terms, weighted
from training.loss import rmse, ssim

TURN = 8
"""Steps between two that take one of the dear terms, which costs as much as the step itself: it counts `TURN` times.
The fusion loss, dear even so, is of the first crop alone."""
EDGES = 1.5
"""Weight of the difference of gradients, on the 0..255 scale as the root mean square error is."""
LIKENESS = 5.0
"""Of 1 - SSIM to the teacher's picture."""
FUSION = 0.05
"""Of the fusion loss: it says what is worth more where the network cannot do all, and leaves the teacher the lead."""
GRAIN = 2.0
"""Of `grain`: about 1 for the teacher, and 1.2 for a light network without this, which then flickers more."""
NOISE = 0.015
"""Standard deviation of the noise of a camera, of 0..1."""


def distil_loss(
    network: Callable[[Tensor, Tensor], Tensor],
    sources: tuple[Tensor, Tensor],
    wanted: Tensor,
    step: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """A scalar, and the fused pictures (N, 1, S, S).

    sources: IR and VIS, (N, 1, S + 2 margin, S + 2 margin) in 0..1; wanted: the teacher's, (N, 1, S, S).
    """
    fused = network(*sources)
    loss = rmse(fused, wanted).mean() + EDGES * gradient_difference(fused, wanted)
    margin = (sources[0].shape[-1] - fused.shape[-1]) // 2
    ir, vis = (x[..., margin:-margin, margin:-margin] for x in sources)
    if step % TURN == 0:
        loss = loss + TURN * LIKENESS * (1 - ssim(fused, wanted).mean())
    elif step % TURN == TURN // 4:
        loss = loss + TURN * GRAIN * grain(network, sources, fused, rng)
    elif step % TURN == TURN // 2:
        loss = loss + TURN * FUSION * weighted(fusion_terms(ir[:1], vis[:1], fused[:1]))
    return loss, fused


def grain(
    network: Callable[[Tensor, Tensor], Tensor],
    sources: tuple[Tensor, Tensor],
    fused: Tensor,
    rng: np.random.Generator,
) -> Tensor:
    """What new noise in both sources changes, beside what it changes in their plain mean: 1 is a plain mean's."""
    noise = [NOISE * torch.from_numpy(rng.standard_normal(x.shape)).to(x) for x in sources]
    later = network(*(x + more for x, more in zip(sources, noise, strict=True)))
    allowed: Tensor = (noise[0] + noise[1]).square().mean().sqrt() / 2
    return (later - fused).square().mean().sqrt() / allowed


def gradient_difference(fused: Tensor, wanted: Tensor) -> Tensor:
    """Mean distance of the differences of neighbours, levels; the two directions' sum."""
    error = 255 * (fused - wanted)
    return error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()


def psnr(fused: Tensor, wanted: Tensor) -> Tensor:
    """Of each picture, dB, (N,); (N, 1, H, W) in 0..1, the fused one clipped as a fuser clips it."""
    return -10 * torch.log10(((fused.clamp(0, 1) - wanted) ** 2).mean((1, 2, 3)) + 1e-8)
