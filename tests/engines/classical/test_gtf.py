"""The total variation's minimum, by its own mathematics and by the two ends of lambda."""

import numpy as np
import pytest

from engines.classical import gtf as module
from engines.classical.gtf import LAMBDA, _gradient, _turned, gtf, objective, smoothed
from tests.training.material import noise, textured


@pytest.fixture(scope="module")
def pair():
    return textured(48, 64), textured(48, 64, 1)


def test_without_a_weight_the_picture_is_ir(pair):
    assert (gtf(*pair, weight=0) == pair[0]).all()
    assert (gtf(noise(31, 33), noise(31, 33, 1), weight=0) == noise(31, 33)).all()


def test_with_a_large_weight_the_gradients_are_those_of_vis(pair):
    ir, vis = (plane // 2 + 64 for plane in pair)  # room for VIS' texture on another level
    assert np.ptp(gtf(ir, vis, weight=1000).astype(int) - vis) <= 1


def test_more_weight_brings_the_gradients_nearer_to_vis(pair):
    ir, vis = pair
    apart = [np.abs(_gradient(gtf(ir, vis, weight).astype(np.float32) - vis)).mean() for weight in (0, 0.5, 1, 4, 16)]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < apart[0] / 4


@pytest.mark.parametrize(("width", "stays"), [(6, False), (10, True)])
def test_a_warm_stripe_stays_if_it_is_wider_than_twice_the_weight(width, stays):
    """|y - s|_1 + lambda TV: a stripe of width w and length n costs w n if it goes and 2 lambda n if it stays."""
    assert LAMBDA == 4
    ir, vis = np.full((64, 64), 50, np.uint8), np.full((64, 64), 50, np.uint8)
    ir[:, 30 : 30 + width] = 200
    wanted = ir if stays else vis
    assert np.abs(gtf(ir, vis)[:, 16:-8].astype(int) - wanted[:, 16:-8]).max() <= 3


def test_the_texture_of_vis_lies_on_the_levels_of_ir():
    """A broad warm square in IR, fine texture in VIS: both are in the picture, whole."""
    ir, texture = np.full((96, 96), 60, np.uint8), np.zeros((96, 96), int)
    ir[24:72, 24:72] = 180
    texture[::4] = 10
    fused = gtf(ir, (120 + texture).astype(np.uint8)).astype(int)
    inside, outside = fused[40:56, 40:56], fused[4:16]
    assert abs(np.median(inside) - np.median(outside) - 120) <= 4
    assert np.ptp(inside) == pytest.approx(10, abs=1)
    assert np.ptp(outside) == pytest.approx(10, abs=1)


def test_nothing_near_the_minimum_is_lower(pair):
    s = (pair[0].astype(np.float32) - pair[1]) / 255
    y = smoothed(s, LAMBDA)
    reached = objective(y, s, LAMBDA)
    rng = np.random.default_rng(0)
    others = [y * 0.99, y * 1.01, y + np.float32(0.005), y - np.float32(0.005), s, np.full_like(s, np.median(s)),
              0.98 * y + 0.02 * s, y + rng.normal(0, 2e-3, y.shape).astype(np.float32)]  # fmt: skip
    assert all(objective(other, s, LAMBDA) > reached * 0.999 for other in others)


def test_three_times_the_rounds_lower_it_by_less_than_a_hundredth(pair, monkeypatch):
    s = (pair[0].astype(np.float32) - pair[1]) / 255
    reached = objective(smoothed(s, LAMBDA), s, LAMBDA)
    monkeypatch.setattr(module, "ROUNDS", 600)
    monkeypatch.setattr(module, "CLOSE_ENOUGH", 0)
    assert reached < 1.01 * objective(smoothed(s, LAMBDA), s, LAMBDA)


def test_one_difference_is_the_transpose_of_the_other():
    rng = np.random.default_rng(0)
    y, z = rng.standard_normal((6, 8)).astype(np.float32), rng.standard_normal((2, 6, 8)).astype(np.float32)
    assert (_gradient(y) * z).sum() == pytest.approx((y * _turned(z)).sum(), rel=1e-5)
