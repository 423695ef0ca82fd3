"""FusionGAN: what its content wants, and that neither network's loss reaches into the other."""

import pytest
import torch

from training.baselines.fusiongan import FAKE, REAL, FusionGAN, Opponent, content_loss


def pictures(count=2, side=44, seed=0):
    return torch.rand(count, 2, 1, side, side, generator=torch.Generator().manual_seed(seed))


def dice():
    return torch.Generator().manual_seed(7)


def test_the_content_falls_as_gradients_near_those_of_visible():
    ir, vis = pictures()
    flat = torch.full_like(ir, 0.5)
    losses = [float(content_loss(flat + share * vis, flat, vis)) for share in (0, 0.25, 0.5)]
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 0.5 * losses[0]


def test_the_content_falls_as_brightness_nears_infrared_by_hand():
    ir, vis = torch.full((1, 1, 8, 8), 0.5), torch.zeros(1, 1, 8, 8)
    assert content_loss(ir, ir, vis) == 0
    assert content_loss(ir + 0.25, ir, vis) == pytest.approx(0.25)  # (2 / 4)^2
    assert content_loss(vis, ir, vis) == pytest.approx(1)


def test_a_slope_has_no_laplacian_and_a_point_has_21_times_its_square():
    ramp = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8) / 8
    zero = torch.zeros(1, 1, 8, 8)
    assert content_loss(ramp, ramp, zero) == pytest.approx(0, abs=1e-9)
    point = zero.clone()
    point[0, 0, 4, 4] = 0.5
    assert content_loss(point, point, zero) == pytest.approx(5 * (4**2 + 4 * 1) / 36)


def test_neither_loss_reaches_the_other_network(monkeypatch):
    """The gradient of the whole is that of each loss with the other network held."""
    torch.manual_seed(0)
    network = FusionGAN()
    ir, vis = pictures()
    network.loss(ir, vis, dice()).backward()
    together = {name: p.grad.clone() for name, p in network.named_parameters()}

    rolls, inside = dice(), (slice(None), slice(None), slice(6, -6), slice(6, -6))

    def labels(bounds):
        return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(2, generator=rolls)

    def miss(x, wanted):
        return ((network.opponent(x) - wanted) ** 2).mean()

    wanted = labels(REAL), labels(REAL), labels(FAKE)
    fused = network(ir, vis)
    generator = miss(fused, wanted[0]) + 100 * content_loss(fused, ir[inside], vis[inside])
    opponent = miss(vis[inside], wanted[1]) + miss(fused.detach(), wanted[2])
    for loss, part in ((generator, network.generate), (opponent, network.opponent)):
        names = [name for name, p in network.named_parameters() if any(p is q for q in part.parameters())]
        grads = torch.autograd.grad(loss, list(part.parameters()), retain_graph=True)
        for name, grad in zip(names, grads, strict=True):
            assert torch.allclose(together[name], grad, rtol=1e-3, atol=1e-4), name


def test_what_is_held_back_is_judged_without_the_opponent():
    network = FusionGAN().eval()
    ir, vis = pictures()
    before = network.held_loss(ir, vis, dice())
    torch.nn.init.constant_(network.opponent.last.bias, 100)
    assert network.held_loss(ir, vis, dice()) == before


def test_the_result_stays_between_black_and_white():
    network = FusionGAN()
    torch.nn.init.constant_(network.generate[-1].conv.bias, 50)
    assert network(*pictures()).max() <= 1


def test_the_opponent_takes_pictures_of_31_px_and_more():
    assert Opponent()(torch.rand(3, 1, 31, 40)).shape == (3,)
