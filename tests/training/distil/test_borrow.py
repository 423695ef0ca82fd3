"""Maps borrowed from the teacher: which they are, that they follow the same rule, and that training leaves them."""

import numpy as np
import pytest
import torch

from engines.rules import ACTIVITY_RATIO
from tests.training.material import textured
from training.distil.borrow import ALIKE, SELDOM, borrowed_windows, kept_windows, windows_of
from training.distil.export import export
from training.distil.network import LightNetwork, Shape

SHAPE = Shape(block=2, maps=8, stem=6, width=16, depth=0)
DARK, BRIGHT = 0.5, 0.3
"""The teacher's map 0 is on where its surroundings are darker, its maps 1 and 2 where they are brighter than this."""


def pictures(count=24):
    """IR and VIS of all kinds of brightness, one below the other, each pair as bright as the other of it."""
    found, rng = [], np.random.default_rng(0)
    for k in range(count):
        low, high = sorted(rng.uniform(0, 1, 2))
        pair = [low + (high - low) * textured(40, 56, 2 * k + n).astype(float) / 255 for n in range(2)]
        found.append(np.rint(255 * np.stack(pair)).astype(np.uint8))
    return found


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A network with three common maps that are on by the brightness of a block, and others that never are."""
    network = LightNetwork(SHAPE)
    stem, middle = network.common.stem, SHAPE.stem // 4
    with torch.no_grad():
        stem.weight.zero_()
        stem.weight[:3, :, middle, middle] = torch.tensor([-0.25, 0.25, 0.5])[:, None]
        stem.bias.fill_(-1)
        stem.bias[:3] = torch.tensor([DARK, -BRIGHT, -2 * BRIGHT])
    return export(network, tmp_path_factory.mktemp("teacher") / "t", name="t", training={}, metrics={})


def rules_of(picture, is_on):
    shares = [is_on(luma / 255).mean() for luma in picture]
    return min(shares) >= ACTIVITY_RATIO


def test_one_window_for_each_way_in_which_rules_change(teacher):
    seen = pictures()
    weight, bias = borrowed_windows(teacher, seen, most=4, side=6, seed=0)
    assert weight.shape == (2, 6, 6)  # dark, bright; what is twice as bright changes with bright, the rest never
    assert sorted(torch.sign(weight.sum((1, 2))).tolist()) == [-1, 1]
    assert weight.sum((1, 2)).abs().tolist() == pytest.approx([1, 1])
    for k in range(2):
        is_dark = weight[k].sum() < 0
        blocks = weight[k].reshape(3, 2, 3, 2).mean((1, 3)).abs()
        assert blocks.argmax() == 4  # the teacher's block, not one beside it
        level = DARK if is_dark else BRIGHT
        assert abs(bias[k] / weight[k].sum()) == pytest.approx(level, abs=0.02)


def test_no_more_windows_than_asked_for_and_none_where_no_rule_changes(teacher):
    assert len(borrowed_windows(teacher, pictures(), most=1, side=6, seed=0)[1]) == 1
    weight, bias = borrowed_windows(teacher, pictures()[:1], most=4, side=6, seed=0)
    assert (weight.shape, bias.shape) == ((0, 6, 6), (0,))
    assert 0 < SELDOM < 1 - ALIKE < 0.5


def test_a_light_network_with_them_averages_when_the_teacher_does(teacher):
    seen = pictures()
    weight, bias = borrowed_windows(teacher, seen, most=4, side=6, seed=0)
    network, rng = LightNetwork(SHAPE), np.random.default_rng(1)
    network.borrow(weight, bias)
    windows = [[windows_of(luma, 6, 2, 1000, rng) for luma in picture] for picture in seen]
    found = network.averaged(torch.from_numpy(np.array(windows)).float() / 255)[:, :2].numpy()
    is_dark = int(weight[1].sum() < 0)
    wanted = np.array([[rules_of(p, lambda x: x > BRIGHT), rules_of(p, lambda x: x < DARK)] for p in seen])
    wanted = wanted[:, [0, 1] if is_dark else [1, 0]]
    assert (found == wanted).mean() >= 0.95
    assert 0.1 < wanted.mean() < 0.9


def test_the_rule_of_windows_is_the_rule_of_the_picture():
    torch.manual_seed(3)
    network = LightNetwork(SHAPE)
    with torch.no_grad():
        network.common.stem.bias += torch.linspace(-0.3, 0.3, SHAPE.maps)
    ir, vis = textured(60, 80, 0) // 3, textured(60, 80, 1)
    sides = [torch.from_numpy(x[None, None].astype(np.float32) / 255) for x in (ir, vis)]
    everywhere = [np.lib.stride_tricks.sliding_window_view(x, (6, 6))[::2, ::2].reshape(-1, 36) for x in (ir, vis)]
    averaged = network.averaged(torch.from_numpy(np.array([everywhere])).float() / 255)
    assert averaged.any()
    assert not averaged.all()
    with torch.no_grad():
        f = network.encode(*sides)
        active = [(x > 0).float().mean((2, 3)) >= ACTIVITY_RATIO for x in (f.common_ir, f.common_vis)]
        assert torch.equal(averaged, active[0] & active[1])
        assert not torch.equal(active[0], active[1])
        assert torch.equal(network(*sides), network(*sides, averaged))
        assert not torch.equal(network(*sides), network(*sides, ~averaged))


def test_a_borrowed_window_is_on_where_it_says():
    torch.manual_seed(0)
    network, weight, bias = LightNetwork(SHAPE), torch.randn(8, 6, 6), torch.randn(8)
    network.borrow(weight, bias)
    windows = torch.rand(5, 2, 200, 36)
    shares = ((windows @ weight.flatten(1).T + bias) > 0).float().mean(2)
    assert torch.equal(network.averaged(windows), shares.amin(1) >= ACTIVITY_RATIO)
    assert 0.1 < network.averaged(windows).float().mean() < 0.9


def test_training_leaves_them_alone():
    torch.manual_seed(1)
    network = LightNetwork(SHAPE)
    network.keep_borrowed(3)
    before = network.common.stem.weight.clone()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    network(torch.rand(1, 1, 40, 40), torch.rand(1, 1, 40, 40)).square().sum().backward()
    optimizer.step()
    changed = (network.common.stem.weight != before).flatten(1).any(1)
    assert not changed[:3].any()
    assert changed[3:].sum() >= 3  # a map that is nowhere on does not learn


def test_a_run_that_goes_on_takes_the_windows_it_began_with(tmp_path):
    path, first = tmp_path / "borrowed.safetensors", (torch.rand(2, 6, 6), torch.rand(2))
    kept_windows(path, lambda: first, is_new=True)
    weight, bias = kept_windows(path, lambda: pytest.fail("made again"), is_new=False)
    assert torch.equal(weight, first[0])
    assert torch.equal(bias, first[1])
    path.write_bytes(b"something else")
    assert torch.equal(kept_windows(path, lambda: first, is_new=False)[1], first[1])


def test_a_run_that_begins_takes_no_windows_of_another(tmp_path):
    path, first, second = tmp_path / "borrowed.safetensors", (torch.rand(2, 6, 6), torch.rand(2)), torch.rand(1, 12, 12)
    kept_windows(path, lambda: first, is_new=True)
    kept_windows(path, lambda: (second, torch.rand(1)), is_new=True)
    assert torch.equal(kept_windows(path, lambda: first, is_new=False)[0], second)
