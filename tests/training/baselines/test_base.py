"""What all baselines share: sizes, shared weights, folding, and the loss as a function of its dice."""

import numpy as np
import pytest
import torch

from tests.training.baselines.conftest import made
from training.baselines.base import Layer, folded_weights, inner
from training.baselines.train import BASELINES


def crops(network, count=2, side=36, seed=0):
    """Random (count, 1, side + context, side + context) in 0..1, twice."""
    size = side + 2 * network.margin
    return torch.rand(2, count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def test_what_comes_out_is_smaller_by_the_margin(name):
    network = made(name)
    ir, vis = crops(network, side=20)
    assert network(ir, vis).shape == (2, 1, 20, 20)


def test_the_loss_follows_the_dice_and_nothing_else(name):
    network = BASELINES[name]()
    ir, vis = crops(network)
    torch.manual_seed(1)
    first = network.loss(ir, vis, torch.Generator().manual_seed(3))
    torch.manual_seed(2)
    again = network.loss(ir, vis, torch.Generator().manual_seed(3)).detach()
    assert first.isfinite()
    assert float(first.detach()) == pytest.approx(float(again), rel=1e-6)


def test_every_weight_of_the_fusing_part_learns(name):
    network = BASELINES[name]()
    network.loss(*crops(network), torch.Generator().manual_seed(0)).backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # A bias before a normalisation is taken away by it again; its gradient is 0 but for rounding.
    assert not still, still


def test_no_model_has_more_than_a_quarter_of_a_million_weights(name):
    network = made(name)
    assert sum(array.size for array in folded_weights(network).values()) < 250_000


def test_a_normalisation_is_folded_into_its_convolution_by_hand():
    layer = Layer(1, 1, 1, slope=None, is_normalised=True).eval()
    for tensor, value in ((layer.conv.weight, 3), (layer.conv.bias, 1), (layer.norm.weight, 2), (layer.norm.bias, 5)):
        torch.nn.init.constant_(tensor, value)
    layer.norm.running_mean.fill_(4)
    layer.norm.running_var.fill_(4 - layer.norm.eps)
    folded = folded_weights(torch.nn.ModuleDict({"only": layer}))
    assert folded["only.weight"].item() == pytest.approx(3)  # 2 (3 x + 1 - 4) / 2 + 5 = 3 x + 2
    assert folded["only.bias"].item() == pytest.approx(2)


def test_inner_takes_the_margin_off_and_none_is_none():
    x = torch.arange(30.0).view(1, 1, 5, 6)
    assert torch.equal(inner(x, 2), torch.tensor([[[[14.0, 15.0]]]]))
    assert torch.equal(inner(x, 0), x)


def test_a_layer_without_relu_passes_negative_values():
    layer = Layer(1, 1, 1, slope=None)
    torch.nn.init.constant_(layer.conv.weight, 1)
    torch.nn.init.constant_(layer.conv.bias, 0)
    leaky = Layer(1, 1, 1, slope=0.25)
    leaky.load_state_dict(layer.state_dict())
    x = torch.tensor([[[[-4.0, 4.0]]]])
    assert layer(x).flatten().tolist() == [-4, 4]
    assert leaky(x).flatten().tolist() == [-1, 4]
    assert np.isclose(Layer(1, 1).slope, 0)
