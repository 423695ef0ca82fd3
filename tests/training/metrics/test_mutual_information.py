"""Mutual information in bits: by hand, against entropy, and its properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.training.material import noise
from training.metrics.mutual_information import fusion_mi, mutual_information

PICTURES = arrays(np.uint8, (5, 6), elements=st.integers(0, 255))
FEW = arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 7, 254, 255]))


def entropy(x):
    """H(X) in bits, from counted values."""
    p = np.unique(x, return_counts=True)[1] / x.size
    return float(-(p * np.log2(p)).sum())


def test_by_hand():
    # Four pixels, two bits: p(0,0) = 1/2, p(0,9) = 1/4, p(5,9) = 1/4
    x, y = np.uint8([[0, 0, 0, 5]]), np.uint8([[0, 0, 9, 9]])
    wanted = (
        0.5 * np.log2(0.5 / (0.75 * 0.5)) + 0.25 * np.log2(0.25 / (0.75 * 0.5)) + 0.25 * np.log2(0.25 / (0.25 * 0.5))
    )
    assert mutual_information(x, y) == pytest.approx(wanted, abs=1e-12)
    assert wanted == pytest.approx(0.3113, abs=1e-4)


def test_one_shared_bit():
    x = np.uint8([[0, 1, 0, 1], [0, 1, 0, 1]])
    assert mutual_information(x, 255 - x) == pytest.approx(1)


def test_all_256_levels_count():
    """Qu's published code merges 254 and 255."""
    x = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert mutual_information(x, x) == pytest.approx(8)
    assert mutual_information(np.uint8([[254, 255]]), np.uint8([[254, 255]])) == pytest.approx(1)


@given(PICTURES)
def test_information_about_itself_is_the_entropy(x):
    assert mutual_information(x, x) == pytest.approx(entropy(x), abs=1e-9)


@given(FEW, FEW)
def test_it_is_symmetric_and_not_above_either_entropy(x, y):
    found = mutual_information(x, y)
    assert found == pytest.approx(mutual_information(y, x), abs=1e-9)
    assert 0 <= found <= min(entropy(x), entropy(y)) + 1e-9


@given(FEW, FEW)
def test_it_is_the_chain_of_entropies(x, y):
    joint = entropy(x.astype(int) * 256 + y)
    assert mutual_information(x, y) == pytest.approx(entropy(x) + entropy(y) - joint, abs=1e-9)


@given(FEW, FEW, st.permutations(range(256)))
def test_other_names_for_the_levels_change_nothing(x, y, names):
    renamed = np.array(names, np.uint8)[x]
    assert mutual_information(renamed, y) == pytest.approx(mutual_information(x, y), abs=1e-9)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=12), st.lists(st.integers(0, 255), min_size=1, max_size=12))
def test_independent_pictures_share_nothing(rows, columns):
    """Every level of one beside every level of the other, as often as chance has it: never below 0 by rounding."""
    x, y = np.meshgrid(np.uint8(rows), np.uint8(columns))
    assert 0 <= mutual_information(x, y) < 1e-12


def test_fusion_mi_is_the_sum_of_both():
    ir, vis = noise(40, 40), noise(40, 40, 1)
    fused = np.maximum(ir, vis)
    assert fusion_mi(ir, vis, fused) == pytest.approx(mutual_information(fused, ir) + mutual_information(fused, vis))
    assert fusion_mi(ir, vis, ir) == pytest.approx(entropy(ir) + mutual_information(ir, vis))
