import cv2
import numpy as np
import pytest

from calibration.outlines import laid, outlines, scaling, shrunk, view_of
from tests.calibration.scenery import world

NOISE = np.random.default_rng(1).integers(-3, 4, (200, 300))
PICTURE = np.clip(cv2.GaussianBlur(world(3, 1)[:200, :300], (0, 0), 1.0) + NOISE, 0, 255).astype(np.uint8)


def test_a_negative_has_the_same_outlines():
    positive, negative = outlines(view_of(PICTURE)), outlines(view_of(255 - PICTURE))
    np.testing.assert_allclose(positive.ways, negative.ways, atol=1e-3)
    assert positive.strength.max() > 0.4


def test_upright_and_level_edges_point_opposite_ways():
    square = np.full((80, 80), 40, np.uint8)
    square[20:60, 20:60] = 200
    ways = outlines(view_of(cv2.add(square, np.indices((80, 80)).sum(0).astype(np.uint8) % 2))).ways
    assert ways[40, 20, 0] > 0.3  # the gradient of an upright edge lies at 0 degrees, of a level one at 90: twice 180
    assert ways[20, 40, 0] < -0.3


def test_the_edge_of_a_black_wedge_is_no_outline():
    wedge = PICTURE.copy()
    wedge[:, :60] = 0
    view = view_of(wedge)
    assert not view.mask[:, :58].any()
    found = outlines(view)
    assert not found.ways[:, :61].any()
    np.testing.assert_array_equal(found.mask[20:-20, 70:-20], 1)


def test_a_flat_object_inside_the_picture_stays():
    noisy = np.random.default_rng(1).integers(0, 255, (120, 160), np.uint8)
    noisy[40:80, 60:100] = 128
    assert view_of(noisy).mask.all()


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_a_picture_is_laid_where_its_matrix_says(ratio):
    """The middle of a bright square, found again on the grid."""
    picture = np.zeros((120, 160), np.uint8)
    picture[50:61, 80:91] = 255  # about (85, 55)
    grid = laid(view_of(picture), scaling(ratio, ratio), (int(160 * ratio), int(120 * ratio))).luma.astype(float)
    y, x = np.indices(grid.shape)
    middle = (grid * x).sum() / grid.sum(), (grid * y).sum() / grid.sum()
    assert middle == pytest.approx([(85.5) * ratio - 0.5, (55.5) * ratio - 0.5], abs=0.05)


def test_shrinking_never_enlarges():
    view = view_of(PICTURE)
    assert shrunk(view, 1.7)[0].size == view.size
    small, matrix = shrunk(view, 0.5)
    assert small.size == (150, 100)
    np.testing.assert_allclose(matrix, [[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
