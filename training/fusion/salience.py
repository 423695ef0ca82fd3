"""Terms of the fusion loss on brightness and on what must be seen. Luma (N, 1, H, W) in 0..1; each gives a scalar."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.fusion.filters import box, gradient
from training.metrics.target_retention import LEAST_CONTRAST, warm_targets

SHARE_OF_MAX = 0.75
"""Of the brightness that is wanted: this of the brighter source, the rest of the mean of both."""
BLUR = 9
"""px, over which brightness is compared: it says nothing of detail."""
BLOCK = 16
"""px, of Qcv."""
TARGET = 5
SURROUNDINGS = 31
"""px: a warm target is what stands out of the second window by `CONTRAST` in a window of the first size."""
CONTRAST = 0.12
LARGEST = {"largest_side": 0.45, "largest_area": 0.12}
"""Of a blob in a crop; see `warm_targets`."""
WANTED = 0.95
"""Share of a blob's contrast in IR that is wanted in the fused picture."""
FAINT = 0.4
"""What falls short of this share counts more and more."""
TINY = 1e-9


def brightness_loss(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """Mean distance of the blurred fused picture from that of the brighter source and the mean."""
    wanted = SHARE_OF_MAX * torch.maximum(ir, vis) + (1 - SHARE_OF_MAX) * (ir + vis) / 2
    blurred = (functional.avg_pool2d(x, BLUR, BLUR // 2) for x in (fused, wanted))
    return (next(blurred) - next(blurred)).abs().mean()


def target_loss(ir: Tensor, fused: Tensor) -> Tensor:
    """Contrast that warm targets of IR have lost in the fused picture, weighted by it."""
    near = box(ir, TARGET)
    wanted = (near - box(ir, SURROUNDINGS)).clamp_min(0)
    weight = torch.where(wanted > CONTRAST, wanted, 0)
    found = box(fused, TARGET)
    lost = (wanted - (found - box(found, SURROUNDINGS))).clamp_min(0)
    return (weight * lost).sum() / (weight.sum() + 20)  # a few warm pixels are noise


def blob_loss(ir: Tensor, fused: Tensor) -> Tensor:
    """What warm blobs of IR fall short of `WANTED` of their contrast to a ring around them, weighted by sqrt(area).

    Blobs are those that `training.metrics.target_retention` measures. 0 if there is none.
    """
    short, weights = fused.new_zeros(()), 0.0
    for k, picture in enumerate((255 * ir[:, 0]).round().to(torch.uint8).numpy(force=True)):
        for inside, ring in warm_targets(picture, **LARGEST):
            in_ir = float(picture[inside].mean()) - float(picture[ring].mean())
            if in_ir < LEAST_CONTRAST:
                continue
            body, around = (torch.from_numpy(mask).to(fused.device) for mask in (inside, ring))
            kept = 255 * (fused[k, 0][body].mean() - fused[k, 0][around].mean()) / in_ir
            weight = float(np.sqrt(inside.sum()))
            short = short + weight * torch.relu(WANTED - kept) * (1 + 2 * torch.relu(FAINT - kept))
            weights += weight
    return short / max(weights, 1.0)


def visible_difference(ir: Tensor, vis: Tensor, fused: Tensor) -> Tensor:
    """Qcv in squared levels: the visible difference where a source has edges; see `training.metrics.qcv`."""
    ir, vis, fused = (_stretched(x) for x in (ir, vis, fused.clamp(0, 1)))
    sensitivity = _sensitivity(fused)
    seen = salient = fused.new_zeros(len(fused))
    for source in (ir, vis):
        across, down = (4 * g for g in gradient(source))
        saliency = functional.avg_pool2d((across**2 + down**2) ** 2.5 / 1e10, BLOCK)
        spectrum = torch.fft.rfft2(source - fused) * sensitivity
        difference = torch.fft.irfft2(spectrum, source.shape[2:])
        visible = functional.avg_pool2d(difference**2, BLOCK)
        seen, salient = seen + (saliency * visible).sum((1, 2, 3)), salient + saliency.sum((1, 2, 3))
    return (seen / (salient + TINY)).mean()


def unsteadiness(fused: Tensor, disturbed: Tensor, noise: Tensor) -> Tensor:
    """What a change of IR's gain and noise in both sources does to the fused picture.

    noise: the mean of what was added to the sources. Slow changes count whole; fine ones where they exceed the noise
    of a plain average.
    """
    change = disturbed - fused
    slow = box(change, 15)
    fine, allowed = change - slow, noise - box(noise, 15)
    excess = (fine**2).mean().sqrt() - (allowed**2).mean().sqrt()
    return slow.abs().mean() + torch.relu(excess)


def _stretched(x: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return 255 * (x - low) / (high - low + 1e-6)


def _sensitivity(like: Tensor) -> Tensor:
    """Mannos and Sakrison's S(r) for each frequency of a real Fourier transform, (H, W // 2 + 1)."""
    height, width = like.shape[2:]
    rows = torch.fft.fftfreq(height, 1 / height, device=like.device)[:, None]
    columns = torch.fft.rfftfreq(width, 1 / width, device=like.device)[None]
    r = 0.144 * torch.sqrt(rows**2 + columns**2) / 4
    return 2.6 * (0.0192 + r) * torch.exp(-(r**1.1))
