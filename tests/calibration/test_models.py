import numpy as np
import pytest

from calibration.models import corner_distances, corners, fitted, moved, robustly_fitted

MAPS = {
    "shift": [[1, 0, 7.5], [0, 1, -3], [0, 0, 1]],
    "similarity": [[1.1, -0.2, 7.5], [0.2, 1.1, -3], [0, 0, 1]],
    "affine": [[1.1, -0.2, 7.5], [0.1, 0.9, -3], [0, 0, 1]],
    "homography": [[1.1, -0.2, 7.5], [0.1, 0.9, -3], [1e-4, -2e-4, 1]],
}
POINTS = np.random.default_rng(1).uniform(0, 500, (40, 2))


@pytest.mark.parametrize("model", MAPS)
def test_points_give_back_the_map_that_moved_them(model):
    M = np.array(MAPS[model])
    found = fitted(POINTS, moved(M, POINTS), np.ones(40), model)
    assert corner_distances(found, M, (500, 500)).max() < 1e-6


@pytest.mark.parametrize("model", MAPS)
def test_points_without_weight_do_not_count(model):
    M, weight = np.array(MAPS[model]), np.ones(40)
    target = moved(M, POINTS)
    target[:9], weight[:9] = 0, 0
    assert corner_distances(fitted(POINTS, target, weight, model), M, (500, 500)).max() < 1e-6


def test_a_third_of_the_points_at_wrong_places_moves_the_map_by_less_than_half_a_pixel():
    rng = np.random.default_rng(2)
    M = np.array([[1.01, -0.005, 3], [0.005, 1.01, -2], [0, 0, 1]])
    target = moved(M, POINTS) + rng.normal(0, 0.3, (40, 2))
    target[::3] += rng.uniform(-40, 40, (14, 2))
    found = robustly_fitted(POINTS, target, np.ones(40), "similarity", 2.0)
    assert corner_distances(found, M, (500, 500)).max() < 0.5


def test_corners_are_the_centres_of_corner_pixels():
    assert corners((4, 3)).tolist() == [[0, 0], [3, 0], [0, 2], [3, 2]]
