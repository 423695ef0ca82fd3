import numpy as np
import pytest

from calibration.models import corners, moved
from calibration.outlines import View, laid, outlines, view_of
from calibration.patches import (
    FEW,
    Displacements,
    _peak,
    agreeing,
    chosen,
    correction,
    displacements,
    residuals,
    spread,
    together,
)
from tests.calibration.scenery import pair

STILL = np.eye(3)


@pytest.fixture(scope="module")
def shifted():
    """Patches of two lights of one scene, the second 5.5 px further right and 3 px further up."""
    ir, vis = pair(4, STILL, (480, 384))
    grid = laid(view_of(vis), np.array([[1, 0, 5.5], [0, 1, -3], [0, 0, 1]]), (480, 384))
    return displacements(outlines(view_of(ir)), outlines(grid), side=64, step=48, reach=10)


def field(matrix, count=200, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, 480, (count, 2))
    return Displacements(
        at, moved(np.array(matrix), at) + rng.normal(0, noise, (count, 2)), np.ones(count), np.zeros(count)
    )


def test_patches_find_the_shift_between_two_lights(shifted):
    assert shifted.count > 30
    told = (shifted.to - shifted.at)[shifted.weight > 0]
    assert np.median(told, axis=0) == pytest.approx([5.5, -3], abs=0.25)
    found = correction(shifted, "shift", 4.0)
    np.testing.assert_allclose(found[:2, 2], [5.5, -3], atol=0.25)
    assert agreeing(shifted, found, 2.0) > 0.9
    assert agreeing(shifted, STILL, 2.0) < 0.05


def test_patches_whose_best_place_is_at_the_rim_have_no_weight():
    ir, vis = pair(4, STILL, (480, 384))
    away = np.array([[1, 0, 30], [0, 1, 0], [0, 0, 1.0]])
    far = displacements(
        outlines(view_of(ir)), outlines(laid(view_of(vis), away, (480, 384))), side=64, step=64, reach=6
    )
    at_rim = np.abs(far.to - far.at).max(axis=1) >= 6
    assert at_rim.any()
    assert not far.weight[at_rim].any()


def test_what_one_camera_does_not_see_gives_no_patches():
    ir, vis = pair(4, STILL, (480, 384))
    mask = np.ones_like(ir)
    mask[:, 200:] = 0
    found = displacements(outlines(View(ir, mask)), outlines(view_of(vis)), side=64, step=16, reach=4)
    assert len(found.at) > 0
    assert found.at[:, 0].max() < 200


def test_too_few_patches_give_no_map():
    assert correction(field(STILL, count=FEW - 1), "shift", 3.0) is None
    assert correction(field(STILL, count=FEW), "shift", 3.0) is not None


@pytest.mark.parametrize(
    ("matrix", "model"),
    [
        ([[1.01, -0.01, 3], [0.01, 1.01, 2], [0, 0, 1]], "similarity"),
        ([[1.02, 0.01, 3], [0.01, 0.98, 2], [0, 0, 1]], "affine"),
        ([[1.01, 0, 3], [0, 1.01, 2], [6e-5, 0, 1]], "homography"),
    ],
)
def test_the_simplest_map_that_follows_is_chosen(matrix, model):
    assert chosen(field(matrix), 4.0, corners((480, 480))) == model


def test_the_spread_is_that_of_maps_fitted_to_other_noise():
    """Against the empirical spread of 30 fields; a jackknife of nine parts is right to a factor of two."""
    points = np.array([[0.0, 0.0], [480, 480]])
    fields = [field(STILL, count=100, noise=1.0, seed=seed) for seed in range(30)]
    maps = [correction(patches, "similarity", 4.0) for patches in fields]
    true = np.linalg.norm(np.std([moved(M, points) for M in maps], axis=0), axis=1)
    told = np.mean([spread(f, M, "similarity", 4.0, points) for f, M in zip(fields, maps, strict=True)], axis=0)
    assert (told / true).tolist() == pytest.approx([1, 1], rel=0.4)


def test_fields_are_joined_in_order():
    one, two = field(STILL, count=3), field(STILL, count=2, seed=1)
    both = together([one, two])
    np.testing.assert_array_equal(both.to, np.concatenate([one.to, two.to]))
    assert residuals(both, STILL).shape == (5,)


@pytest.mark.parametrize("wrong", [np.inf, np.nan, 7.0])
def test_what_is_no_correlation_is_no_peak(wrong):
    likeness = np.zeros((11, 11), np.float32)
    likeness[4, 6], likeness[8, 2] = 0.5, wrong
    x, y, weight, is_rim = _peak(likeness)
    assert (x, y, is_rim) == (6.0, 4.0, False)
    assert weight == pytest.approx(0.25)


def test_outlines_that_run_across_each_other_everywhere_have_no_weight():
    """Level edges against upright ones: the likeness is negative at every place, and best where it is least so."""
    likeness = np.full((11, 11), -0.8, np.float32)
    likeness[5, 5] = -0.1
    assert _peak(likeness)[2] == 0
