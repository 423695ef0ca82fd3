"""Short trainings that differ in one thing: the weight of SSIM in the loss, the start, or the branches."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engines.model import sha256
from training.data import ImagePair, draw_batch
from training.experiments.section import write_whole
from training.experiments.variants import Branches, rebuilt
from training.loss import LAMBDA, rmse, ssim
from training.network import JCAE, MARGIN, channels_last
from training.run import DivergedError, Settings, learning_rate
from training.vgg import load_vgg, start_from_vgg

SOURCES = ("short_runs.py", "../network.py", "../loss.py", "../vgg.py", "../data.py")
"""What decides a run; a change makes those that were kept stale."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run differs in."""

    weight: float = LAMBDA
    """Lambda of Eq. 5; 0 is RMSE alone."""
    vgg: bool = True
    """Starts from VGG19, if its weights were given; else from random ones."""
    branches: Branches = "both"


@dataclass(frozen=True, slots=True)
class Trained:
    """A run that is done."""

    network: JCAE
    curve: dict[str, list[float]]
    """`rmse` in levels, `1 - SSIM`, and `loss` with this run's own weight, by step; mean of both pictures."""


@dataclass(frozen=True, slots=True)
class Trainer:
    """What all runs share."""

    pairs: tuple[ImagePair, ...]
    settings: Settings
    vgg: Path | None
    cache: Path
    progress: Callable[[str, int], None] = lambda text, step: None
    """Called with what is trained and each step that is taken."""

    def run(self, plan: Plan) -> Trained:
        """The run of a plan, from the cache if it was done before.

        Raises DataError, VggError, DivergedError, OSError.
        """
        weights = self.cache / f"{self.key(plan)}.safetensors"
        curve = weights.with_suffix(".json")
        network = JCAE()
        try:
            network.load_state_dict(load_file(weights))
            return Trained(network, json.loads(curve.read_text()))
        except (OSError, SafetensorError, RuntimeError, ValueError):  # not there, or not whole
            done = self._train(plan)
        write_whole(curve, json.dumps(done.curve).encode())
        part = weights.with_suffix(".part")
        save_file({name: tensor.contiguous() for name, tensor in done.network.state_dict().items()}, part)
        part.replace(weights)
        return done

    def key(self, plan: Plan) -> str:
        """Of everything that decides a run."""
        folder = Path(__file__).parent
        parts = [
            json.dumps([asdict(plan), asdict(self.settings)]),
            *(f"{pair.ir} {pair.vis} {pair.height} {pair.width}" for pair in self.pairs),
            *(sha256(folder / name) for name in SOURCES),
            sha256(self.vgg) if self.vgg and plan.vgg else "random",
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]

    def _train(self, plan: Plan) -> Trained:
        s = self.settings
        torch.manual_seed(s.seed)
        network = channels_last(JCAE())
        if self.vgg and plan.vgg:
            start_from_vgg(network, load_vgg(self.vgg))
        optimizer = torch.optim.Adam(network.parameters(), lr=s.rate)
        curve: dict[str, list[float]] = {"loss": [], "rmse": [], "1 - SSIM": []}
        for step in range(s.steps):
            drawn = draw_batch(self.pairs, size=s.crop + 2 * MARGIN, count=s.batch, seed=s.seed, step=step)
            ir, vis = (torch.from_numpy(x).float() / 255 for x in drawn)
            error, likeness = _errors(rebuilt(network, ir, vis, plan.branches), (ir, vis))
            loss = 2 * (error + plan.weight * (1 - likeness))  # of both pictures, as in Eq. 5
            if not math.isfinite(loss.item()):
                raise DivergedError(f"{told(plan)}: the loss is {loss.item()} at step {step}; lower --rate")
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(s, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for name, value in zip(curve, (loss, error, 1 - likeness), strict=True):
                curve[name].append(value.item())
            self.progress(told(plan), step)
        return Trained(network, curve)


def told(plan: Plan) -> str:
    """The plan in words."""
    loss = "RMSE alone" if plan.weight == 0 else f"RMSE + {plan.weight:g} (1 - SSIM)"
    start = "" if plan.vgg else ", random start"
    return loss + start + ("" if plan.branches == "both" else f", {plan.branches} branch alone")


def _errors(found: Sequence[Tensor], originals: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """RMSE in levels and SSIM, each the mean over both pictures."""
    inner = [x[..., MARGIN:-MARGIN, MARGIN:-MARGIN] for x in originals]
    pairs = list(zip(found, inner, strict=True))
    error = torch.stack([rmse(a, b).mean() for a, b in pairs]).mean()
    return error, torch.stack([ssim(a, b).mean() for a, b in pairs]).mean()
