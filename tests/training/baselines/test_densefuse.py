"""DenseFuse: the dense block's widths, addition that rebuilds, and weights by the l1-norm."""

import pytest
import torch

from tests.training.baselines.conftest import made
from training.baselines.densefuse import DenseFuse, DenseFuseL1


def pictures(count=2, side=30, seed=0):
    return torch.rand(count, 1, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_dense_block_has_16_32_48_and_gives_64_maps():
    network = DenseFuse()
    assert [layer.conv.in_channels for layer in network.dense] == [16, 32, 48]
    assert {layer.conv.out_channels for layer in network.dense} == {16}
    assert network.encode(pictures(1)[0]).shape == (1, 64, 22, 22)
    assert [layer.conv.in_channels for layer in network.decode] == [64, 64, 32, 16]


def test_the_block_keeps_the_first_layers_maps_as_they_are():
    network, (x,) = DenseFuse(), pictures(1)
    assert torch.equal(network.encode(x)[:, :16], network.first(x)[..., 3:-3, 3:-3])


@pytest.mark.parametrize("name", ["densefuse", "densefuse-l1"])
def test_two_equal_pictures_are_rebuilt(name):
    network, (x,) = made(name), pictures(1)
    rebuilt = network.decode(network.encode(x))
    extra = network.margin - 8
    expected = rebuilt[..., extra : rebuilt.shape[-2] - extra, extra : rebuilt.shape[-1] - extra]
    assert torch.allclose(network(x, x), expected, atol=1e-5)


def test_l1_takes_the_active_picture_and_shares_evenly_where_both_are_empty():
    network = DenseFuseL1()
    active, silent = torch.full((1, 64, 5, 5), 0.5), torch.zeros(1, 64, 5, 5)
    assert torch.allclose(network.fuse(active, silent), active[..., 1:-1, 1:-1])
    assert torch.allclose(network.fuse(silent, active), active[..., 1:-1, 1:-1])
    assert torch.equal(network.fuse(silent, silent), silent[..., 1:-1, 1:-1])
    whisper = torch.full_like(silent, 1e-12)
    assert torch.allclose(network.fuse(whisper, 3 * whisper), 2 * whisper[..., 1:-1, 1:-1], rtol=1e-3, atol=0)


def test_l1_weights_are_the_smoothed_sums_by_hand():
    network = DenseFuseL1()
    one, other = torch.zeros(1, 64, 3, 3), torch.ones(1, 64, 3, 3)
    one[0, 0, 0, 0] = 9 * 64  # smoothed over 3x3 and summed over the maps as much as the other
    assert torch.allclose(network.fuse(one, other).flatten(), torch.full((64,), 0.5), atol=1e-5)


def test_the_rule_takes_no_part_in_training():
    torch.manual_seed(0)
    plain, l1 = DenseFuse(), DenseFuseL1()
    l1.load_state_dict(plain.state_dict())
    ir, vis = pictures(2, 40)
    assert torch.equal(plain.loss(ir, vis, torch.Generator()), l1.loss(ir, vis, torch.Generator()))
