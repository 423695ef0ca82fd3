"""A network's inputs, rebuilt: their size, their values, and the mean of their SSIM."""

import numpy as np
import pytest
import torch

from tests.training.material import noise, textured, write_pairs
from training.data import find_pairs, read_luma
from training.export import load_network
from training.metrics.ssim import ssim
from training.reconstruction import reconstruct, reconstruction_ssim


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (32, 33), (45, 64)])
def test_reconstructions_have_the_size_of_their_pictures(network, size):
    for rebuilt in reconstruct(network, noise(*size), noise(*size, 1)):
        assert rebuilt.shape == size
        assert rebuilt.dtype == np.uint8


def test_reconstruction_is_the_networks_inside_the_margin(network):
    """Away from the border no reflected pixel is seen, so that padding by hand does not matter."""
    ir, vis = textured(50, 60), textured(50, 60, 1)
    with torch.no_grad():
        wanted = network(*(torch.from_numpy(x)[None, None].float() / 255 for x in (ir, vis)))
    for found, luma in zip(reconstruct(network, ir, vis), wanted, strict=True):
        inside = found[8:-8, 8:-8].astype(int)
        off = np.abs(inside - np.rint(255 * luma[0, 0].numpy()).clip(0, 255))
        assert off.max() <= 1, f"max {off.max()} mean {off.mean()}"
        assert (off > 0).mean() < 0.01  # rounding at x.5


def test_ssim_is_the_mean_over_the_pairs_of_each_source(exported, tmp_path):
    pairs = find_pairs([write_pairs(tmp_path / "pairs", 2)]).pairs
    network = load_network(exported)
    read = [(read_luma(pair.ir), read_luma(pair.vis)) for pair in pairs]
    values = [[ssim(*both) for both in zip(reconstruct(network, *pair), pair, strict=True)] for pair in read]
    wanted = np.mean(values, axis=0)
    found = reconstruction_ssim(exported, pairs)
    assert [found["ir"], found["vis"]] == pytest.approx(wanted, abs=1e-3)  # a convolution in another order rounds off
