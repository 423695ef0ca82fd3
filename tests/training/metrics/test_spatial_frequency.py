"""Spatial frequency: by hand, and what it does not see."""

import numpy as np
import pytest

from tests.training.material import textured
from training.metrics.spatial_frequency import spatial_frequency


def test_by_hand():
    # along rows 3^2 and 4^2, along columns 1^2 and 2^2, over four pixels
    assert spatial_frequency(np.uint8([[1, 4], [2, 6]])) == pytest.approx((30 / 4) ** 0.5)


def test_steps_down_count_as_steps_up():
    """uint8 does not wrap."""
    assert spatial_frequency(np.uint8([[255, 0]])) == pytest.approx((255**2 / 2) ** 0.5)
    assert spatial_frequency(np.uint8([[0, 255]])) == pytest.approx((255**2 / 2) ** 0.5)


def test_it_is_indifferent_to_turns_flips_and_brightness():
    x = textured(30, 40) // 2
    for same in (x.T, x[::-1], x[:, ::-1], x + 100, 255 - x):
        assert spatial_frequency(same) == pytest.approx(spatial_frequency(x))
    assert spatial_frequency(2 * x) == pytest.approx(2 * spatial_frequency(x))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (20, 30)])
def test_a_constant_has_none(size):
    assert spatial_frequency(np.full(size, 7, np.uint8)) == 0
