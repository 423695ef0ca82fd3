"""The light network: its sizes, where it starts, and that its files compute what it computes."""

import numpy as np
import pytest
import torch

from engines import rules
from engines.model import ModelError, load_model
from engines.onnx_cpu import OnnxFuser
from tests.training.material import textured
from training.distil.export import export, load_light
from training.distil.network import LightNetwork, Shape
from training.export import ExportError

SHAPES = [
    Shape(),
    Shape(block=2, maps=8, stem=6, width=32),
    Shape(block=2, maps=16, stem=2, layers=2, width=16, depth=0),
    Shape(maps=32, stem=4, layers=1, width=32, depth=1),
]


def luma(height, width, seed):
    return torch.from_numpy(textured(height, width, seed)[None, None].astype(np.float32) / 255)


def shaken(shape, seed=0):
    """A network that is not symmetric in anything, so that no error cancels."""
    torch.manual_seed(seed)
    network = LightNetwork(shape)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize("shape", SHAPES)
def test_its_margin_is_what_it_eats(shape):
    network, side = LightNetwork(shape), 2 * shape.margin
    fused = network(luma(side + 8, side + 12, 0), luma(side + 8, side + 12, 1))
    assert fused.shape == (1, 1, 8, 12)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_starts_near_the_mean_of_its_sources(shape):
    torch.manual_seed(0)
    network, m = LightNetwork(shape), shape.margin
    ir, vis = luma(96, 104, 0), luma(96, 104, 1)
    wanted = ((ir + vis) / 2)[..., m:-m, m:-m]
    with torch.no_grad():
        found = network(ir, vis)
    assert np.corrcoef(found.flatten(), wanted.flatten())[0, 1] > 0.6


def test_a_pixel_further_away_than_the_margin_changes_nothing():
    network, m, block = shaken(Shape()), Shape().margin, Shape().block
    ir, vis = luma(80, 80, 0), luma(80, 80, 1)
    with torch.no_grad():
        f = network.encode(ir, vis)
        before = network.decode(f.common_ir, f.private_ir)
        ir[..., 40, 40] += 0.5
        f = network.encode(ir, vis)
        changed = (network.decode(f.common_ir, f.private_ir) != before)[0, 0].nonzero() + m
    assert changed.min() > 40 - m - block  # the pixels of a block move as one
    assert changed.max() < 40 + m + block
    assert changed.max() - changed.min() >= m


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_folder_computes_what_the_network_computes(shape, tmp_path):
    network = shaken(shape)
    info = export(network, tmp_path / "light", name="light", training={"data": "none"}, metrics={})
    assert (info.kind, info.maps, info.multiple, info.margin) == ("jcae", shape.maps, shape.block, shape.margin)
    assert info.activity_ratio == rules.ACTIVITY_RATIO
    again = load_model(tmp_path / "light")
    back = load_light(again.folder)
    assert back.shape == shape
    for name, value in network.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    ir, vis = textured(37, 51, 2), textured(37, 51, 3)
    m, fuser = shape.margin, OnnxFuser(again, threads=1)
    more = [(m, m + -side % shape.block) for side in ir.shape]
    sides = [np.pad(x, more, mode="reflect")[None, None] / np.float32(255) for x in (ir, vis)]
    with torch.no_grad():
        wanted = network(*(torch.from_numpy(x) for x in sides))[0, 0, :37, :51].numpy()
    off = np.abs(fuser.fuse(ir, vis).astype(int) - np.rint(255 * wanted).clip(0, 255))
    assert off.max() <= 1, np.bincount(off.astype(int).ravel())
    assert (off > 0).mean() < 0.005
    fuser.close()


def test_a_graph_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    from training.distil import export as exporting

    def swapped(network):
        weights = window_weights(network)
        weights["private_ir.stem.weight"] = weights["private_ir.stem.weight"].swapaxes(2, 3).copy()
        return weights

    window_weights = exporting.window_weights
    monkeypatch.setattr(exporting, "window_weights", swapped)
    with pytest.raises(ExportError, match=r"encoder_ir\.onnx: off by"):
        export(shaken(Shape()), tmp_path / "light", name="light", training={}, metrics={})
    assert not (tmp_path / "light").exists()


def test_the_full_model_is_no_light_one(tmp_path):
    with pytest.raises(ModelError, match="not a light network's"):
        load_light(load_model("jcae").folder)
    with pytest.raises(ModelError, match="cannot be read"):
        load_light(tmp_path)
