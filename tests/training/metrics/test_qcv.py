"""Qcv: block by block after the formula, by hand, and its properties."""

import cv2
import numpy as np
import pytest

from tests.training.material import noise, textured
from training.metrics.qcv import qcv, stretched


def spread(height, width, seed=0):
    """Noise that has both 0 and 255, so that stretching leaves it alone."""
    picture = noise(height, width, seed)
    picture[0, :2] = 0, 255
    return picture


def by_blocks(ir, vis, fused):
    """The formula on pictures that need no stretching, through a full complex transform."""
    ir, vis, fused = (p.astype(float) for p in (ir, vis, fused))
    height, width = fused.shape
    rows = np.arange(height) - height // 2
    columns = np.arange(width) - width // 2
    r = np.hypot(rows[:, None] / 4, columns / 4)
    csf = 2.6 * (0.0192 + 0.144 * r) * np.exp(-((0.144 * r) ** 1.1))
    above = below = 0.0
    for source in (ir, vis):
        seen = np.fft.ifft2(np.fft.ifftshift(np.fft.fftshift(np.fft.fft2(source - fused)) * csf))
        assert np.abs(seen.imag).max() < 1e-9
        p = np.pad(source, 1)
        x = p[:-2, 2:] + 2 * p[1:-1, 2:] + p[2:, 2:] - p[:-2, :-2] - 2 * p[1:-1, :-2] - p[2:, :-2]
        y = p[2:, :-2] + 2 * p[2:, 1:-1] + p[2:, 2:] - p[:-2, :-2] - 2 * p[:-2, 1:-1] - p[:-2, 2:]
        edges = np.hypot(x, y) ** 5
        for top in range(0, height, 16):
            for left in range(0, width, 16):
                block = np.s_[top : top + 16, left : left + 16]
                salient = edges[block].sum()
                above += salient * (seen.real[block] ** 2).sum() / 256
                below += salient
    return above / below


@pytest.mark.parametrize("size", [(32, 48), (40, 57), (33, 35), (16, 16)])
def test_it_is_the_formula_block_by_block(size):
    ir, vis, fused = spread(*size), spread(*size, 1), spread(*size, 2)
    assert qcv(ir, vis, fused) == pytest.approx(by_blocks(ir, vis, fused), rel=1e-10)


def test_a_shift_in_brightness_by_hand():
    """A difference of the mean alone passes by S(0) = 2.6 * 0.0192; block by block its square is the same."""
    ir = np.zeros((32, 32), np.uint8)
    ir[:, 16:] = 255
    fused = np.full_like(ir, 50)  # constant: left as it is
    both = by_blocks(ir, ir, fused)
    assert qcv(ir, ir, fused) == pytest.approx(both)
    flat = np.full_like(ir, 90)
    assert qcv(flat, flat, fused) == pytest.approx((2.6 * 0.0192 * 40) ** 2)


def test_equal_pictures_differ_by_nothing_and_a_copy_from_the_other_source():
    ir, vis = spread(40, 50), textured(40, 50)
    assert qcv(ir, ir, ir) == 0
    assert qcv(ir, vis, ir) > 0
    assert qcv(ir, vis, vis) == pytest.approx(qcv(vis, ir, vis), rel=1e-12)


def test_the_source_with_strong_edges_decides():
    """Grain against a smooth picture, both of them over all levels; the smooth one's weight is that of its border."""
    grain, smooth = spread(64, 64), stretched(cv2.GaussianBlur(spread(64, 64, 1), (0, 0), 6)).astype(np.uint8)
    assert qcv(grain, smooth, grain) < qcv(grain, smooth, smooth) / 2


def test_contrast_and_brightness_of_a_whole_picture_do_not_count():
    """As published, every picture is stretched first."""
    ir, vis = spread(40, 50), spread(40, 50, 1)
    half = (ir // 4).astype(np.uint8)
    assert qcv(ir, vis, half + 70) == qcv(ir, vis, half)
    assert qcv(ir, vis, 255 - (255 - ir)) == qcv(ir, vis, ir)


def test_stretching_by_hand():
    # (8 - 6) / 4 * 255 = 127.5 goes up, also where rint would go to the even level
    assert stretched(np.uint8([[6, 8, 10]])).tolist() == [[0, 128, 255]]
    assert stretched(np.uint8([[7, 7]])).tolist() == [[7, 7]]


def test_black_sources_have_no_value_and_a_constant_result_has_one():
    black = np.zeros((32, 32), np.uint8)
    assert qcv(black, black, spread(32, 32)) is None
    assert qcv(spread(32, 32), black, black) > 0
