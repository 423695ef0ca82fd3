"""MS-SSIM of fused pictures: window by window as published, and its properties."""

import cv2
import numpy as np
import pytest

from tests.training.material import noise, textured
from training.metrics import ms_ssim as module
from training.metrics.ms_ssim import LEAST_SIDE, ms_ssim


def by_windows(ir, vis, f):
    """Q of one scale, every window by itself."""
    one = cv2.getGaussianKernel(11, 1.5)
    gauss, values = one @ one.T, []
    for row in range(f.shape[0] - 10):
        for column in range(f.shape[1] - 10):
            box = np.s_[row : row + 11, column : column + 11]
            x = [picture[box].astype(float) for picture in (ir, vis)]
            away = [p - p.mean() for p in x]
            R = np.linalg.norm(sum(x) - sum(x).mean()) / (sum(np.linalg.norm(p) for p in away) + 1e-300)
            p = min(np.tan(np.pi / 2 * min(R, 1 - 1e-15)), 10)
            contrast = [np.linalg.norm(p) + 0.001 for p in away]
            weight = np.array([(c / 11) ** p for c in contrast]) + 1e-300
            r = sum(w * a / c for w, a, c in zip(weight / weight.sum(), away, contrast, strict=True))
            if np.linalg.norm(r) > 0:
                r = r / np.linalg.norm(r) * max(contrast)
            y = f[box].astype(float)
            r, y = r - (gauss * r).sum(), y - (gauss * y).sum()
            C = (0.03 * 255) ** 2
            values.append((2 * (gauss * r * y).sum() + C) / ((gauss * (r * r + y * y)).sum() + C))
    return np.mean(values)


def halved(x):
    x = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2)), "symmetric")
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean((1, 3))


@pytest.mark.parametrize("kind", ["grain", "mean", "flat", "negative"])
def test_it_is_the_published_measure_window_by_window(kind):
    ir, vis = textured(45, 50), textured(45, 50, 1)
    ir[:20, :20] = 90  # no contrast in one source
    fused = {"grain": noise(45, 50), "mean": ir // 2 + vis // 2, "flat": np.full_like(ir, 60), "negative": 255 - ir}
    planes, wanted = [ir, vis, fused[kind]], 1.0
    for weight in module.WEIGHTS:
        wanted *= max(0, by_windows(*planes)) ** weight
        planes = [halved(plane.astype(float)) for plane in planes]
    assert ms_ssim(ir, vis, fused[kind]) == pytest.approx(wanted, abs=1e-6)


def test_a_picture_has_all_of_its_own_structure():
    x = textured(60, 70)
    assert ms_ssim(x, x, x) == pytest.approx(1, abs=1e-4)  # but for the constant beside each contrast
    assert ms_ssim(x, x, (x // 2 + 60).astype(np.uint8)) < 0.95


def test_brightness_does_not_count():
    ir, vis = textured(60, 70) // 3, textured(60, 70, 1) // 3
    fused = np.maximum(ir, vis)
    assert ms_ssim(ir, vis, fused + 150) == pytest.approx(ms_ssim(ir, vis, fused), abs=1e-9)
    assert ms_ssim(ir + 100, vis, fused) == pytest.approx(ms_ssim(ir, vis, fused), abs=1e-9)


def test_the_structure_of_whichever_source_has_it_is_wanted():
    """Left half in one source, right half in the other: their sum has all of it, the mean half the contrast."""
    ir, vis = np.full((80, 96), 20, np.uint8), np.full((80, 96), 20, np.uint8)
    ir[:, :48], vis[:, 48:] = textured(80, 48) // 2 + 20, textured(80, 48, 1) // 2 + 20
    both = np.where(np.arange(96) < 48, ir, vis)
    assert ms_ssim(ir, vis, both) > 0.9  # not at the step between the halves
    assert ms_ssim(ir, vis, both) > ms_ssim(ir, vis, ir // 2 + vis // 2) + 0.05
    assert ms_ssim(ir, vis, both) > ms_ssim(ir, vis, ir) + 0.3


def test_the_order_of_the_sources_does_not_matter_and_values_are_bounded():
    ir, vis = noise(50, 60), noise(50, 60, 1)
    for fused in (ir, noise(50, 60, 2), 255 - ir, np.zeros_like(ir)):
        found = ms_ssim(ir, vis, fused)
        assert 0 <= found <= 1
        assert found == pytest.approx(ms_ssim(vis, ir, fused), abs=1e-9)


def test_a_negative_has_none_of_the_structure():
    x = noise(60, 70)
    assert ms_ssim(x, x, 255 - x) == 0


def test_constant_pictures_have_a_value():
    flat = np.full((60, 70), 9, np.uint8)
    assert ms_ssim(flat, flat, flat) == pytest.approx(1)
    assert 0 <= ms_ssim(flat, flat, noise(60, 70)) < 0.1
    assert 0 <= ms_ssim(noise(60, 70), flat, flat) < 0.1


def test_below_the_least_side_there_is_no_value():
    assert LEAST_SIDE == 44
    x = noise(44, 60)
    assert ms_ssim(x, x, x) is not None
    assert ms_ssim(x[:43], x[:43], x[:43]) is None
