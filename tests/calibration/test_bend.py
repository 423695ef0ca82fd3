"""Two lenses that bend the picture differently, and outlines mostly in its middle."""

import numpy as np
import pytest

from calibration.bend import fitted_with_bend, raster
from calibration.models import corner_distances, corners, fitted, moved, robustly_fitted

SIZE = (320, 240)
MIDDLE = np.array([159.5, 119.5])
WHOLE = raster(np.eye(3), SIZE, SIZE)


def bent(points, k):
    """Moved out by k px at the corners, by the cube of the radius."""
    out = (points - MIDDLE) / np.linalg.norm(MIDDLE)
    return points + k * out * (out**2).sum(axis=1, keepdims=True)


def outlines(seed=0, reach=0.75):
    """Places of 150 patches, none in the corners."""
    spread = np.random.default_rng(seed).uniform(-1, 1, (150, 2)) * MIDDLE * reach
    return MIDDLE + spread


def turned():
    return np.array([[1.01, -0.02, 3.0], [0.02, 1.01, -2.0], [0, 0, 1]])


@pytest.mark.parametrize("model", ["similarity", "affine", "homography"])
def test_the_map_is_the_one_that_is_best_all_over_the_picture(model):
    source, H = outlines(), turned()
    found, alone = (
        fit(source, bent(moved(H, source), -6.0), np.ones(150), model, 4.0, *more)
        for fit, more in ((fitted_with_bend, (WHOLE,)), (robustly_fitted, ()))
    )
    best = fitted(WHOLE, bent(moved(H, WHOLE), -6.0), np.ones(len(WHOLE)), model)
    assert corner_distances(found, best, SIZE).max() < 0.3
    assert corner_distances(alone, best, SIZE).max() > 1.0


def test_where_nothing_is_bent_it_is_the_plain_map():
    source, H = outlines(), turned()
    found = fitted_with_bend(source, moved(H, source), np.ones(150), "similarity", 4.0, WHOLE)
    assert corner_distances(found, H, SIZE).max() < 1e-6


def test_patches_that_lie_apart_are_let_go():
    source, H = outlines(), turned()
    target = bent(moved(H, source), -6.0)
    rightly = fitted_with_bend(source, target, np.ones(150), "similarity", 4.0, WHOLE)
    target[:40] += [25.0, -10.0]
    found = fitted_with_bend(source, target, np.ones(150), "similarity", 4.0, WHOLE)
    assert corner_distances(found, rightly, SIZE).max() < 1.0


def test_outlines_in_the_middle_only_do_not_tell_of_a_bend():
    """Noise of half a px must not become tens of px at the corners."""
    source, noise = outlines(reach=0.3), np.random.default_rng(1).normal(0, 0.5, (150, 2))
    found = fitted_with_bend(source, source + noise, np.ones(150), "similarity", 4.0, WHOLE)
    assert corner_distances(found, np.eye(3), SIZE).max() < 1.5


def test_the_raster_is_what_lies_on_both():
    half = np.array([[1.0, 0, 160], [0, 1, 0], [0, 0, 1]])
    points = raster(half, SIZE, SIZE)
    assert points[:, 0].min() >= 160
    assert points.max(axis=0) == pytest.approx(np.array(corners(SIZE)[3]), abs=25)
    assert len(points) == pytest.approx(len(WHOLE) / 2, rel=0.1)
