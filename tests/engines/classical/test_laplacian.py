"""The pyramid rebuilds its picture, and takes from each band what is stronger."""

import numpy as np
import pytest

from engines.classical.laplacian import LEVELS, bands, collapse, laplacian
from engines.classical.max import maximum
from engines.classical.mean import mean
from tests.training.material import noise


def test_mean_and_maximum_by_hand():
    ir, vis = np.uint8([[0, 255, 10, 11]]), np.uint8([[255, 254, 11, 12]])
    assert mean(ir, vis).tolist() == [[128, 255, 11, 12]]  # halves go up
    assert maximum(ir, vis).tolist() == [[255, 255, 11, 12]]


@pytest.mark.parametrize("size", [(64, 96), (61, 90), (1, 40), (17, 17)])
def test_the_bands_hold_the_whole_picture(size):
    picture = noise(*size)
    assert np.abs(collapse(bands(picture)) - picture).max() < 1e-3


def test_a_band_of_detail_has_no_brightness_and_the_base_has_no_detail():
    picture = noise(96, 96)
    *details, base = bands(picture)
    assert [band.shape[0] for band in details] == [96, 48, 24, 12]
    assert len(details) == LEVELS
    assert all(abs(band.mean()) < 3 for band in details)
    assert base.std() < picture.std() / 8


def test_the_stronger_coefficient_of_each_band_is_taken():
    """Bands of both sources, then of the fused picture: away from rounding they are the ones of larger magnitude."""
    ir, vis = (noise(64, 64, seed) // 4 + 96 for seed in (0, 1))  # far from black and white, so that nothing is cut off
    a, b, found = bands(ir), bands(vis), bands(laplacian(ir, vis))
    wanted = collapse([*(np.where(np.abs(x) >= np.abs(y), x, y) for x, y in zip(a[:-1], b[:-1], strict=True)),
                       (a[-1] + b[-1]) / 2])  # fmt: skip
    assert np.abs(collapse(found) - wanted).max() <= 0.51


def test_the_order_of_the_sources_does_not_matter():
    ir, vis = noise(40, 56), noise(40, 56, 1)
    assert np.abs(laplacian(ir, vis).astype(int) - laplacian(vis, ir)).max() <= 1  # ties alone
