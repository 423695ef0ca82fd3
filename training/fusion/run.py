"""A run that trains through the fusion: from a network that rebuilds its sources to one that fuses them well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.checkpoint import load_checkpoint, restore
from training.export import load_network
from training.fusion.augment import disturbed, next_moment
from training.fusion.loss import fusion_terms, rebuilt_term, weighted
from training.fusion.salience import unsteadiness
from training.fusion.through import Through
from training.loss import ssim
from training.network import MARGIN
from training.run import Run, learning_rate, precision

LEAST_CROP = 48
"""px: below it the coarser scales of the terms have no window."""
TURN = 4
"""Steps between two that rebuild the sources, and between two that disturb them: they cost time, and count so often."""
LARGEST_GRADIENT = 1.0
"""Norm at which the gradient is cut."""
MEMORY = 0.995
"""Of the running average of the weights, which is what a run gives."""


class FusionRun(Run):
    """Like `Run`, on the loss of the fused picture; resumed in the same way."""

    def begin(self, start: Path | None) -> None:
        """start: a checkpoint of a run, or a model folder. Raises CheckpointError, ModelError."""
        if start is None:
            return
        if start.is_dir():
            self.network.load_state_dict(load_network(start).state_dict())
        else:
            restore(start, load_checkpoint(start), self.network)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def module(self) -> nn.Module:
        """Network and rules: what several processes share the gradients of."""
        return Through(self.network)

    def take_step(self, network: Callable[..., Any], ir: Tensor, vis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of Adam; the loss and the fused picture's SSIM to both sources, before the step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, self.step)
        rng = np.random.default_rng((self.settings.seed, self.step, self.processes.rank))
        ir, vis = _disturbed(ir, vis, rng)
        loss, ssim_ir, ssim_vis = fusion_loss(network, ir, vis, self.step, rng)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.step += 1
        self._remember()
        return loss.detach(), ssim_ir, ssim_vis

    def measure(self, ir: Tensor, vis: Tensor) -> tuple[Tensor, Tensor]:
        """SSIM of the fused picture to both sources, each cut to it."""
        with torch.no_grad(), precision(ir.device):
            picture = Through(self.network)(ir, vis).picture.float()
        ir, vis = _inner(ir), _inner(vis)
        return ssim(ir, picture).mean(), ssim(vis, picture).mean()

    @torch.no_grad()
    def _remember(self) -> None:
        """Move the average of the weights towards them, faster in the first steps."""
        assert self.average is not None
        kept = min(MEMORY, self.step / (self.step + 9))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - kept)


def fusion_loss(
    network: Callable[..., Any], ir: Tensor, vis: Tensor, step: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """The weighted terms of a batch, and two SSIM. network: `Through`; ir, vis: (N, 1, S + 16, S + 16) in 0..1."""
    with precision(ir.device):
        fused, *rebuilt = network(ir, vis, rebuild=step % TURN == 0)
    fused, sources = fused.float(), (_inner(ir), _inner(vis))
    terms = fusion_terms(*sources, fused)
    if rebuilt[0] is not None:
        terms["rebuilt"] = TURN * rebuilt_term((rebuilt[0].float(), rebuilt[1].float()), sources)
    if step % TURN == TURN // 2:
        later = next_moment(ir, vis, rng)
        with precision(ir.device):
            after = network(*later).picture.float()
        change = (_inner(later[0]) - sources[0] + _inner(later[1]) - sources[1]) / 2
        terms["unsteady"] = TURN * unsteadiness(fused, after, change)
    loss = weighted(terms)
    with torch.no_grad():
        return loss, ssim(sources[0], fused).mean(), ssim(sources[1], fused).mean()


def _disturbed(ir: Tensor, vis: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    old_ir, old_vis = ((255 * x).round().byte().cpu().numpy() for x in (ir, vis))
    new_ir, new_vis = (torch.from_numpy(x).to(ir) / 255 for x in disturbed(old_ir, old_vis, rng))
    return new_ir, new_vis


def _inner(x: Tensor) -> Tensor:
    return x[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
