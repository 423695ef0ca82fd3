import numpy as np
import pytest

from calibration.gate import doubts
from calibration.models import corner_distances
from calibration.outlines import outlines, view_of
from calibration.register import register
from calibration.search import Start, beside
from tests.calibration.scenery import SIZE, pair, similarity

IR_SIZE = 200, 160


def start_at(scale, dx, dy):
    return Start(scale * IR_SIZE[0] / SIZE[0], 0, dx, dy)


@pytest.fixture(scope="module")
def found():
    """The truth, and what is found from a start that is off by 30 px, 10 % and 4 degrees."""
    H = similarity(1.8, 4, 25, -15, IR_SIZE)
    return H, register(*map(view_of, pair(7, H, IR_SIZE)), start=start_at(2.0, 50, 0))


def test_a_similarity_is_found_to_a_pixel_and_said_to_be_one(found):
    H, estimate = found
    assert estimate.model == "similarity"
    assert corner_distances(estimate.matrix, H, IR_SIZE).max() < 1.0


def test_what_is_right_is_believed(found):
    _, estimate = found
    assert doubts(estimate, SIZE) == []
    assert estimate.share > 0.8
    assert estimate.differ < 3
    assert estimate.overlap == pytest.approx(1.0, abs=0.03)


def test_the_error_is_of_the_size_that_is_told(found):
    H, estimate = found
    assert np.median(corner_distances(estimate.matrix, H, IR_SIZE)) < 4 * estimate.sigma + 0.2


def test_two_scenes_that_have_nothing_in_common_are_not_believed():
    H = similarity(1.8, 0, 0, 0, IR_SIZE)
    for seed in range(2):
        estimate = register(*map(view_of, pair(20 + seed, H, IR_SIZE, ir_seed=40 + seed)), start=start_at(1.8, 0, 0))
        assert estimate is None or len(doubts(estimate, SIZE)) >= 2


def test_a_shift_leaves_scale_and_angle():
    H = similarity(2.4, 0, 12, -7, IR_SIZE)
    estimate = register(*map(view_of, pair(9, H, IR_SIZE)), model="shift")
    np.testing.assert_allclose(estimate.matrix[:2, :2], 2.4 * np.eye(2), atol=1e-6)
    assert corner_distances(estimate.matrix, H, IR_SIZE).max() < 1.0


@pytest.mark.parametrize("period", [24, 40])
def test_on_a_fence_no_place_is_believed(period):
    """Fields of a chessboard in both lights: each place half a period off fits as well."""
    y, x = np.indices((384, 480))
    is_dark = (x % period < period / 2) ^ (y % period < period / 2)
    noise = np.random.default_rng(1).normal(0, 5, (2, 384, 480))
    ir, vis = (np.clip(np.where(is_dark, 60, 190) + part, 0, 255).astype(np.uint8) for part in noise)
    estimate = register(view_of(ir[40:340, 60:420]), view_of(vis), start=Start(0.75, 0, 0, 0))
    assert doubts(estimate, SIZE)


def test_a_place_one_window_off_is_looked_at():
    """Windows 14 px apart, too near each other for two candidates of the search."""
    y, x = np.indices((192, 256))
    picture = np.where((x % 14 < 7) & (y % 40 < 20), 60, 190) + np.random.default_rng(1).normal(0, 5, x.shape)
    lines = outlines(view_of(np.clip(picture, 0, 255).astype(np.uint8)))
    found = np.array(beside(lines, lines))
    for x in (-14, 14):
        assert np.hypot(*(found - (x, 0)).T).min() < 0.1
