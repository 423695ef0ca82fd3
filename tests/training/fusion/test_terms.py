"""The terms of the fusion loss agree with the metrics that they stand for, and pull where they should."""

import cv2
import numpy as np
import pytest
import torch

from training.fusion.filters import gradient
from training.fusion.information import mutual_information, scd, vifp
from training.fusion.loss import WEIGHTS, fusion_terms, rebuilt_term, weighted
from training.fusion.salience import blob_loss, brightness_loss, target_loss, unsteadiness, visible_difference
from training.fusion.structure import edge_share, gradient_loss, ms_ssim
from training.metrics import correlation, qabf, qcv, vif
from training.metrics import ms_ssim as structure
from training.metrics import mutual_information as bits


def scene(seed=0, size=96):
    """IR with two warm blobs on a dark ground, VIS with blocks and a gradient, and something fused of them: uint8."""
    rng = np.random.default_rng(seed)
    ir = np.full((size, size), 60.0)
    ir[20:36, 24:34] = 220
    ir[60:70, 66:80] = 200
    vis = np.kron(rng.uniform(40, 200, (12, 12)), np.ones((size // 12, size // 12))) + np.linspace(0, 40, size)
    pictures = [cv2.GaussianBlur(x, (0, 0), 1.0) + rng.normal(0, 2, x.shape) for x in (ir, vis)]
    ir, vis = (x.clip(0, 255).astype(np.uint8) for x in pictures)
    fused = (0.7 * np.maximum(ir, vis) + 0.3 * (ir / 2 + vis / 2)).astype(np.uint8)
    return ir, vis, fused


def tensors(*pictures):
    return [torch.from_numpy(x).double()[None, None] / 255 for x in pictures]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("term", "metric", "within"),
    [
        (ms_ssim, structure.ms_ssim, 0.005),
        (lambda a, b, f: vifp(a, f) + vifp(b, f), vif.vif, 0.01),
        (scd, correlation.scd, 0.02),  # flat differences are kept from blowing up
        (edge_share, qabf.qabf, 0.06),  # its angles do not wrap, and zeros stand outside
    ],
    ids=["ms-ssim", "vif", "scd", "qabf"],
)
def test_a_term_is_its_metric(seed, term, metric, within):
    pictures = scene(seed)
    assert float(term(*tensors(*pictures))) == pytest.approx(metric(*pictures), abs=within)


def test_visible_difference_is_qcv_but_for_rounding_and_the_border():
    hill = np.sin(np.linspace(0, np.pi, 96)) ** 0.5  # the metric takes the border for an edge: zeros stand outside
    ir, vis, fused = ((x * hill * hill[:, None]).astype(np.uint8) for x in scene())
    found = float(visible_difference(*tensors(ir, vis, fused)))
    assert found == pytest.approx(qcv.qcv(ir, vis, fused), rel=0.1)


def test_mutual_information_in_fewer_cells_orders_pictures_as_the_metric():
    _, vis, fused = scene()
    noisy = (fused + np.random.default_rng(0).normal(0, 12, fused.shape)).clip(0, 255).astype(np.uint8)
    soft = [float(mutual_information(*tensors(vis, f))) for f in (vis, fused, noisy)]
    hard = [bits.mutual_information(vis, f) for f in (vis, fused, noisy)]
    assert soft == sorted(soft, reverse=True)
    assert hard == sorted(hard, reverse=True)


def test_mutual_information_has_the_gradient_of_its_own_differences():
    ir, _, fused = tensors(*scene(size=24))
    fused.requires_grad_()
    mutual_information(ir, fused).backward()
    place, step = (0, 0, 11, 7), 1e-4
    moved = [fused.detach().clone() for _ in range(2)]
    moved[0][place] += step
    moved[1][place] -= step
    slope = (mutual_information(ir, moved[0]) - mutual_information(ir, moved[1])) / (2 * step)
    assert float(fused.grad[place]) == pytest.approx(float(slope), rel=1e-3)


def test_gradient_of_a_ramp_is_two_a_step():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    across, down = gradient(ramp)
    assert torch.equal(across[..., 1:-1], torch.full((1, 1, 8, 6), 2.0))
    assert not down.any()


def test_gradient_loss_is_nothing_where_the_stronger_edges_are_all_there():
    ir, vis, _ = tensors(*scene())
    flat = torch.full_like(ir, 0.5)
    assert float(gradient_loss(ir, flat, ir)) == 0
    assert float(gradient_loss(flat, vis, vis)) == 0
    assert float(gradient_loss(ir, vis, flat)) > 0.01


def test_brightness_does_not_see_detail():
    ir, vis, _ = tensors(*scene())
    wanted = 0.75 * torch.maximum(ir, vis) + 0.25 * (ir + vis) / 2
    grain = 0.05 * (-1.0) ** (torch.arange(96)[:, None] + torch.arange(96))
    assert float(brightness_loss(ir, vis, wanted)) == pytest.approx(0, abs=1e-9)
    assert float(brightness_loss(ir, vis, wanted + grain)) < 0.002
    assert float(brightness_loss(ir, vis, wanted + 0.05)) == pytest.approx(0.05, rel=1e-3)


def test_a_lost_target_costs_its_contrast_and_a_kept_one_nothing():
    ir, vis, _ = tensors(*scene())
    faint = 0.3 * ir + 0.4
    kept, faded, lost = (float(target_loss(ir, x)) for x in (ir, faint, 0 * vis + 0.4))
    assert kept < 1e-4  # where a blob's rim is darker than around it
    assert 1000 * kept < faded < 0.8 * lost


@pytest.mark.parametrize(("kept", "loss"), [(1.2, 0), (0.95, 0), (0.5, 0.45), (0.2, 0.75 * 1.4), (-0.1, 1.05 * 2)])
def test_a_blob_costs_what_it_falls_short_of_its_contrast(kept, loss):
    place = torch.arange(96) - 48.0
    disc = ((place[:, None] ** 2 + place**2) < 64).float()[None, None]
    ir, fused = (60 + 100 * disc) / 255, 0.3 + kept * 100 / 255 * disc
    assert float(blob_loss(ir, fused)) == pytest.approx(loss, abs=1e-5)
    both = blob_loss(torch.cat([ir, ir]), torch.cat([fused, 0.3 + 100 / 255 * disc]))
    assert float(both) == pytest.approx(loss / 2, abs=1e-5)
    assert float(blob_loss(0 * ir, fused)) == 0


def test_steady_is_what_does_not_follow_the_gain_nor_adds_noise():
    torch.manual_seed(0)
    fused, noise = torch.rand(1, 1, 64, 64), 0.02 * torch.randn(1, 1, 64, 64)
    assert float(unsteadiness(fused, fused, noise)) == 0
    assert float(unsteadiness(fused, fused + 0.5 * noise, noise)) < 0.002
    assert float(unsteadiness(fused, fused + 0.1, noise)) == pytest.approx(0.1, abs=1e-5)
    assert float(unsteadiness(fused, fused + 3 * noise, noise)) > 0.02


def test_every_term_is_weighted_and_descends_to_a_better_picture():
    ir, vis, fused = (x.float() for x in tensors(*scene()))
    fused = torch.full_like(fused, 0.4).add_(0.03 * torch.rand_like(fused)).requires_grad_()
    optimizer = torch.optim.Adam([fused], 0.02)
    before = {name: float(term.detach()) for name, term in fusion_terms(ir, vis, fused).items()}
    for _ in range(60):
        optimizer.zero_grad()
        weighted(fusion_terms(ir, vis, fused)).backward()
        optimizer.step()
    after = {name: float(term.detach()) for name, term in fusion_terms(ir, vis, fused).items()}
    assert set(before) | {"rebuilt", "unsteady"} == set(WEIGHTS)
    assert all(after[name] < before[name] for name in before), (before, after)


def test_a_perfect_reconstruction_costs_nothing():
    ir, vis, _ = tensors(*scene())
    assert float(rebuilt_term((ir, vis), (ir, vis))) == pytest.approx(0, abs=1e-6)
    assert float(rebuilt_term((vis, ir), (ir, vis))) > 0.1


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_constant_pictures_have_finite_terms_and_gradients(level):
    flat = torch.full((2, 1, 64, 64), level)
    fused = flat.clone().requires_grad_()
    terms = fusion_terms(flat, flat, fused)
    weighted(terms).backward()
    assert all(bool(torch.isfinite(term)) for term in terms.values()), terms
    assert bool(torch.isfinite(fused.grad).all())
