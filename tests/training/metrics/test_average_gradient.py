"""Average gradient: slopes by hand, and where it has no value."""

import numpy as np
import pytest

from tests.training.material import textured
from training.metrics.average_gradient import average_gradient


def test_a_slope_by_hand():
    # 3 a column, none a row: sqrt(9 / 2) at each of 5 x 7 pixels, over 4 x 6
    slope = np.tile(np.arange(7, dtype=np.uint8) * 3, (5, 1))
    assert average_gradient(slope) == pytest.approx(35 * 4.5**0.5 / 24)


def test_a_point_by_hand():
    # Central differences: 4 at its two neighbours along the row; one-sided 8 in the column of two
    point = np.uint8([[0, 0, 8, 0, 0], [0, 0, 0, 0, 0]])
    # row 0: (4, 0) (0, 8) (4, 0), row 1: (0, 8), each over sqrt(2); over 1 x 4
    assert average_gradient(point) == pytest.approx((4 + 8 + 4 + 8) / 2**0.5 / 4)


def test_it_is_indifferent_to_turns_flips_and_brightness():
    x = textured(30, 40) // 2
    for same in (x.T, x[::-1], x[:, ::-1], x + 100, 255 - x):
        assert average_gradient(same) == pytest.approx(average_gradient(x))


def test_a_constant_has_none_and_a_line_no_value():
    assert average_gradient(np.full((20, 30), 7, np.uint8)) == 0
    assert average_gradient(np.zeros((1, 9), np.uint8)) is None
