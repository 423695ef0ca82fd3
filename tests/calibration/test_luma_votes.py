"""Which of two places luma speaks for, where one of them is known to be right."""

import cv2
import numpy as np
import pytest

from calibration.luma_votes import VOTES, information, luma_votes
from tests.calibration.scenery import SIZE, pair

STILL = np.eye(3)


def shifted(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_all_are_for_the_right_place_against_one_four_px_off(seed):
    ir, vis = pair(seed, STILL, SIZE)
    assert luma_votes(ir, vis, STILL, shifted(4, 0)) == VOTES
    assert luma_votes(ir, vis, shifted(0, -4), STILL) == 0


def test_nothing_speaks_for_one_of_two_equal_places():
    ir, vis = pair(4, STILL, SIZE)
    assert luma_votes(ir, vis, STILL, STILL) == 0


def test_what_one_place_does_not_show_counts_for_neither():
    """Black comes in at the border where a place leads out of the picture: alike to itself, not to the scene."""
    ir, vis = pair(4, STILL, SIZE)
    vis = cv2.rectangle(vis, (0, 0), (40, SIZE[1]), 0, -1)
    assert luma_votes(ir, vis, STILL, shifted(41, 0)) == VOTES


def test_places_without_common_pixels_get_no_votes():
    ir, vis = pair(4, STILL, SIZE)
    assert luma_votes(ir, vis, STILL, shifted(2 * SIZE[0], 0)) == 0


def test_information_is_two_where_one_tells_the_other_and_one_where_nothing_does():
    luma = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8)
    other = np.random.default_rng(1).integers(0, 256, 100_000, dtype=np.uint8)
    assert information(luma, 255 - luma, 16) == pytest.approx(2.0, abs=1e-6)
    assert information(luma, other, 16) == pytest.approx(1.0, abs=0.002)
