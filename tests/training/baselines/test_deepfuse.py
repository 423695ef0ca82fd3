"""DeepFuse: one encoder for both, a sum that knows no order, and a loss that wants the stronger structure."""

import pytest
import torch

from tests.training.baselines.conftest import made
from training.baselines.deepfuse import DeepFuse, mef_ssim


def pictures(count=2, side=32, seed=0):
    return torch.rand(count, 1, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_inputs_may_change_places():
    network = made("deepfuse")
    ir, vis = pictures()
    assert torch.allclose(network(ir, vis), network(vis, ir), atol=1e-6)


def test_both_pictures_go_through_the_same_two_layers():
    network = DeepFuse()
    sizes = [tuple(p.shape) for p in network.parameters() if p.ndim == 4]
    assert sizes == [(16, 1, 5, 5), (32, 16, 7, 7), (32, 32, 7, 7), (16, 32, 5, 5), (1, 16, 5, 5)]
    ir, vis = pictures()
    before = network.decode(network.encode(ir) + network.encode(vis))
    torch.nn.init.zeros_(network.encode[0].conv.weight)
    assert not torch.allclose(network(ir, vis), before)
    assert torch.equal(network.encode(ir), network.encode(torch.zeros_like(ir)))
    assert torch.equal(network.encode(vis), network.encode(torch.zeros_like(vis)))


def test_two_equal_pictures_want_themselves():
    (x,) = pictures(1)
    assert mef_ssim(x, x, x) == pytest.approx(1, abs=1e-3)
    assert mef_ssim(x, x, x + 0.1) == pytest.approx(1, abs=1e-3), "brightness is not part of it"
    assert mef_ssim(x, x, 1 - x) < -0.9


def test_the_picture_with_contrast_is_wanted_where_the_other_is_flat():
    (x,) = pictures(1)
    flat = torch.full_like(x, 0.5)
    assert mef_ssim(x, flat, x) > 0.99
    assert mef_ssim(x, flat, x) > mef_ssim(x, flat, (x + flat) / 2) + 0.1
    assert mef_ssim(flat, x, x) == pytest.approx(float(mef_ssim(x, flat, x)), abs=1e-6)


def test_a_darker_result_costs_as_the_mean_of_both_is_wanted(monkeypatch):
    network, (ir, vis) = DeepFuse(), pictures(2, 44)
    mean = (ir + vis)[..., 12:-12, 12:-12] / 2
    costs = []
    for shift in (0, 0.1):
        monkeypatch.setattr(network, "forward", lambda *_, shift=shift: mean - shift)
        costs.append(float(network.loss(ir, vis, torch.Generator())))
    assert costs[1] - costs[0] == pytest.approx(0.1, abs=1e-4)
