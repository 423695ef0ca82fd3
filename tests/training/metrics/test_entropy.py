"""Entropy: scikit-image's, by hand, and its bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import shannon_entropy

from tests.training.material import textured
from training.metrics.entropy import entropy
from training.metrics.mutual_information import mutual_information

PICTURES = arrays(np.uint8, (5, 6), elements=st.integers(0, 255))


def test_by_hand():
    # 1/2, 1/4, 1/4: 0.5 * 1 + 2 * 0.25 * 2
    assert entropy(np.uint8([[0, 0], [255, 9]])) == pytest.approx(1.5)


@given(PICTURES)
def test_entropy_is_scikit_images_and_what_a_picture_shares_with_itself(x):
    assert entropy(x) == pytest.approx(shannon_entropy(x), abs=1e-12)
    assert entropy(x) == pytest.approx(mutual_information(x, x), abs=1e-9)
    assert 0 <= entropy(x) <= np.log2(30) + 1e-12


def test_all_levels_once_are_eight_bits_and_a_constant_none():
    assert entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == pytest.approx(8)
    assert str(entropy(np.full((4, 4), 7, np.uint8))) == "0.0"


def test_which_level_stands_for_which_does_not_matter():
    x = textured(20, 30)
    assert entropy(x) == entropy(np.random.default_rng(0).permutation(256).astype(np.uint8)[x])
