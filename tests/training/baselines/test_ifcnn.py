"""IFCNN: a maximum that knows no order, a first layer that stays, and learning from half blurred pictures."""

import numpy as np
import torch

from tests.training.baselines.conftest import made
from training.baselines import ifcnn
from training.baselines.ifcnn import IFCNN


def pictures(count=2, side=26, seed=0):
    return torch.rand(count, 1, 1, side, side, generator=torch.Generator().manual_seed(seed))


def vgg():
    rng = np.random.default_rng(0)
    return {
        "block1_conv1.weight": rng.normal(size=(64, 3, 3, 3)).astype(np.float32),
        "block1_conv1.bias": rng.normal(size=64).astype(np.float32),
    }


def test_the_inputs_may_change_places():
    network = made("ifcnn")
    ir, vis = pictures()
    assert torch.allclose(network(ir, vis), network(vis, ir), atol=1e-6)


def test_a_picture_and_one_that_excites_nothing_give_the_picture():
    network = made("ifcnn")
    (x,) = pictures(1)
    features = network.conv2(network.conv1(x))
    alone = network.conv4(network.conv3(features))
    assert torch.allclose(network.conv4(network.conv3(torch.maximum(features, torch.zeros_like(features)))), alone)


def test_the_first_layer_comes_from_vgg_summed_over_colours_and_stays():
    network, weights = IFCNN(), vgg()
    network.start_from(weights)
    (x,) = pictures(1)
    kernel, bias = (torch.from_numpy(weights[f"block1_conv1.{kind}"]) for kind in ("weight", "bias"))
    expected = torch.nn.functional.conv2d(x.expand(-1, 3, -1, -1), kernel, bias)
    assert torch.allclose(network.conv1(x), expected, atol=1e-4)
    network.loss(*pictures(), torch.Generator().manual_seed(0)).backward()
    assert network.conv1.conv.weight.grad is None
    assert network.conv2.conv.weight.grad is not None


def test_the_loss_is_the_mean_square_of_levels_to_the_sharp_picture(monkeypatch):
    network, (ir, vis) = IFCNN(), pictures()
    sharp = torch.cat([ir, vis])[..., 3:-3, 3:-3]
    seen = []

    def answer(first, second):
        seen.append((first, second))
        return sharp + 2 / 255

    monkeypatch.setattr(network, "forward", answer)
    assert abs(float(network.loss(ir, vis, torch.Generator().manual_seed(0))) - 4) < 1e-3
    first, second = seen[0]
    both = torch.cat([ir, vis])
    assert torch.equal(torch.where(first == both, first, second), both), "each place is sharp in one of the two"
    assert not torch.equal(first, both)
    assert ifcnn.MAPS == 64
