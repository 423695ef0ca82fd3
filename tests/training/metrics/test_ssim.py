"""SSIM as a metric: scikit-image's on the valid area, and its properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from tests.training.material import noise, textured
from training.metrics.ssim import fusion_ssim, ssim

SEEDS = st.integers(0, 10**6)


@pytest.mark.parametrize(("height", "width"), [(11, 11), (12, 40), (64, 48)])
@pytest.mark.parametrize("seed", range(3))
def test_ssim_is_scikit_images_on_the_valid_area(height, width, seed):
    x = textured(height, width, seed)
    y = (x // 2 + noise(height, width, seed) // 3).astype(np.uint8)
    _, full = structural_similarity(
        x, y, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert ssim(x, y) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-10)


def test_flat_pictures_by_hand():
    # no variance: (2 * 50 * 200 + 6.5025) / (50^2 + 200^2 + 6.5025)
    x, y = np.full((12, 12), 50, np.uint8), np.full((12, 12), 200, np.uint8)
    assert ssim(x, y) == pytest.approx(20006.5025 / 42506.5025, abs=1e-9)


@given(SEEDS)
def test_equal_pictures_give_one_and_others_less(seed):
    x = noise(13, 15, seed)
    assert ssim(x, x) == pytest.approx(1, abs=1e-12)
    assert -1 <= ssim(x, noise(13, 15, seed + 1)) < 1


@given(SEEDS)
def test_ssim_is_symmetric_and_indifferent_to_flips(seed):
    x, y = noise(14, 17, seed), noise(14, 17, seed + 1)
    assert ssim(x, y) == pytest.approx(ssim(y, x), abs=1e-12)
    assert ssim(x, y) == pytest.approx(ssim(x[::-1, ::-1], y[::-1, ::-1]), abs=1e-12)


def test_a_negative_has_negative_ssim():
    x = noise(40, 40)
    assert ssim(x, 255 - x) < -0.8


def test_only_the_area_where_the_window_fits_counts():
    """11x11 pictures have one window; it is centred, so a change at the corner weighs less than one in the middle."""
    x = textured(11, 11)
    corner, middle = x.copy(), x.copy()
    corner[0, 0], middle[5, 5] = 255 - corner[0, 0], 255 - middle[5, 5]
    assert ssim(x, middle) < ssim(x, corner) < 1


def test_fusion_ssim_is_the_mean_of_both():
    ir, vis, fused = noise(20, 20), noise(20, 20, 1), noise(20, 20, 2)
    assert fusion_ssim(ir, vis, fused) == pytest.approx((ssim(ir, fused) + ssim(vis, fused)) / 2)
    assert fusion_ssim(ir, vis, ir) == pytest.approx((1 + ssim(ir, vis)) / 2)


@pytest.mark.parametrize(("one", "two"), [((10, 40), (10, 40)), ((20, 20), (20, 21)), ((20, 20, 3), (20, 20, 3))])
def test_pictures_it_has_no_value_for_are_an_error(one, two):
    """Found: below 11 px the mean of nothing came out as nan."""
    with pytest.raises(ValueError, match=r"give two pictures \(H, W\) of one shape, 11 px or more"):
        ssim(np.zeros(one, np.uint8), np.zeros(two, np.uint8))
