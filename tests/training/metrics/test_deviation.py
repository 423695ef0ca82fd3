"""Standard deviation of a picture: by hand and its bounds."""

import numpy as np
import pytest

from tests.training.material import textured
from training.metrics.deviation import deviation


def test_by_hand():
    # mean 3, squares 9 1 1 9 over four pixels, not three
    assert deviation(np.uint8([[0, 2], [4, 6]])) == pytest.approx(5**0.5)


def test_halves_of_black_and_white_are_the_most_and_a_constant_the_least():
    assert deviation(np.uint8([[0, 255]])) == 127.5
    assert deviation(np.full((480, 640), 7, np.uint8)) == 0


def test_contrast_counts_and_brightness_does_not():
    x = textured(30, 40) // 4
    assert deviation(2 * x) == pytest.approx(2 * deviation(x))
    assert deviation(x + 100) == pytest.approx(deviation(x))
    assert deviation(255 - x) == pytest.approx(deviation(x))
