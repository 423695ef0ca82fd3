"""vifp: window by window after the formula, and its properties."""

import cv2
import numpy as np
import pytest
import scipy.signal

from tests.training.material import noise, textured
from training.metrics.vif import LEAST_SIDE, vif, vifp


def by_windows(r, f):
    """The formula with two-dimensional windows and scipy's convolution."""
    r, f, above, below = r.astype(float), f.astype(float), 0.0, 0.0
    for scale, size in enumerate((17, 9, 5, 3)):
        at = np.arange(size) - size // 2
        window = np.exp(-(at**2 + at[:, None] ** 2) / (2 * (size / 5) ** 2))
        window /= window.sum()

        def mean(x, window=window):
            return scipy.signal.convolve2d(x, window, "valid")

        if scale:
            r, f = mean(r)[::2, ::2], mean(f)[::2, ::2]
        var_r, var_f, cov = mean(r * r) - mean(r) ** 2, mean(f * f) - mean(f) ** 2, mean(r * f) - mean(r) * mean(f)
        g = np.where(cov < 0, 0, cov / var_r)
        rest = var_f - g * cov
        above += np.log10(1 + g**2 * var_r / (rest + 2)).sum()
        below += np.log10(1 + var_r / 2).sum()
    return above / below


@pytest.mark.parametrize("size", [(41, 41), (48, 64), (63, 50)])
def test_it_is_the_formula_window_by_window(size):
    x = textured(*size)
    for other in (noise(*size), 255 - x, (x // 2 + noise(*size) // 3).astype(np.uint8)):
        assert vifp(x, other) == pytest.approx(by_windows(x, other), rel=1e-6)


def test_a_picture_holds_all_of_itself_and_brightness_does_not_count():
    x = textured(60, 70) // 2
    assert vifp(x, x) == pytest.approx(1, abs=1e-9)
    assert vifp(x, x + 100) == pytest.approx(1, abs=1e-9)


def test_less_contrast_blur_and_noise_hold_less_and_more_contrast_more():
    x = textured(80, 90) // 3
    blurred = cv2.GaussianBlur(x, (0, 0), 2)
    grainy = np.clip(x + np.random.default_rng(0).normal(0, 6, x.shape), 0, 255).astype(np.uint8)
    assert vifp(x, 2 * x) > 1.05
    for worse in (x // 2, blurred, grainy):
        assert 0 < vifp(x, worse) < 0.9


def test_a_negative_and_a_constant_hold_nothing():
    x = textured(50, 60)
    assert vifp(x, 255 - x) == pytest.approx(0, abs=1e-9)
    assert vifp(x, np.full_like(x, 70)) == 0


def test_of_a_constant_there_is_nothing_to_hold():
    x, flat = textured(50, 60), np.full((50, 60), 70, np.uint8)
    assert vifp(flat, x) is None
    assert vif(x, flat, x) is None
    assert vif(flat, x, x) is None


def test_vif_is_the_sum_of_both():
    ir, vis, fused = textured(50, 60), textured(50, 60, 1), textured(50, 60, 2)
    assert vif(ir, vis, fused) == pytest.approx(vifp(ir, fused) + vifp(vis, fused))
    assert vif(ir, vis, ir) == pytest.approx(1 + vifp(vis, ir))


def test_below_the_least_side_there_is_no_value():
    assert LEAST_SIDE == 41
    assert vifp(noise(41, 41), noise(41, 41)) == pytest.approx(1)
    for size in ((40, 90), (90, 40)):
        assert vifp(noise(*size), noise(*size)) is None
