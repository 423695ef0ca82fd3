"""The reference rules against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engines import rules

FEATURES = arrays(np.float32, (2, 3, 4, 5), elements=st.floats(0, 100, width=32, allow_subnormal=False))


def maps(*values):
    """One map of 1 x n positions for each tuple of values, (M, 1, n)."""
    return np.array(values, np.float32)[:, None, :]


def test_private_rule_is_the_elementwise_maximum():
    fused = rules.fuse_private(maps((1, 5), (0, 2)), maps((3, 4), (0, 7)))
    np.testing.assert_array_equal(fused, maps((3, 5), (0, 7)))


def test_weighted_average_by_hand():
    # sums over maps: ir 1 + 3 = 4, vis 2 + 10 = 12, so w1 = 0.25; map 0: 0.25 * 1 + 0.75 * 2 = 1.75
    fused = rules.fuse_common(maps((1,), (3,)), maps((2,), (10,)), np.array([True, True]))
    np.testing.assert_allclose(fused, maps((1.75,), (0.25 * 3 + 0.75 * 10,)))


def test_maps_that_are_not_averaged_take_the_maximum_but_weigh_in():
    fused = rules.fuse_common(maps((1,), (3,)), maps((2,), (10,)), np.array([True, False]))
    np.testing.assert_allclose(fused, maps((1.75,), (10,)))


def test_weight_is_half_where_both_sums_are_zero():
    weight = rules.average_weight(maps((0, 1), (0, 1)), maps((0, 3), (0, 3)))
    np.testing.assert_array_equal(weight, [[[0.5, 0.25]]])
    assert not rules.fuse_common(maps((0,)), maps((0,)), np.array([True])).any()


def test_equal_pictures_are_a_tie_that_changes_nothing():
    same = np.random.default_rng(0).random((4, 6, 6)).astype(np.float32)
    for averaged in (True, False):
        np.testing.assert_allclose(rules.fuse_common(same, same, np.full(4, averaged)), same, rtol=1e-6)


def test_activity_counts_nonzero_positions_of_the_less_active_picture():
    ir, vis = maps((1, 0, 0, 2)), maps((1, 1, 1, 0))
    np.testing.assert_array_equal(rules.activity(ir, vis), np.float32([0.5]))


@pytest.mark.parametrize(("count", "expected"), [(59, False), (60, True), (61, True)])
def test_threshold_counts_when_reached_exactly(count, expected):
    picture = np.zeros((1, 10, 10), np.float32)
    picture.flat[:count] = 1
    activity = rules.activity(picture, np.ones_like(picture))
    assert rules.averaged_maps(activity, rules.next_threshold(None, maps=1))[0] == expected


def test_both_pictures_must_reach_the_threshold():
    full, sparse = np.ones((1, 10, 10), np.float32), np.eye(10, dtype=np.float32)[None]
    for ir, vis in ((full, sparse), (sparse, full)):
        assert not rules.averaged_maps(rules.activity(ir, vis), rules.next_threshold(None, maps=1))[0]


def test_hysteresis_by_hand():
    first = rules.next_threshold(None, maps=2)
    np.testing.assert_array_equal(first, np.float32([0.6, 0.6]))
    later = rules.next_threshold(np.array([True, False]), maps=2, band=0.03)
    np.testing.assert_allclose(later, [0.57, 0.63], rtol=1e-6)


def test_a_map_inside_the_band_keeps_its_rule_for_ever():
    averaged = None
    seen = []
    for value in (0.61, 0.59, 0.58, 0.60, 0.56, 0.59, 0.62, 0.64):
        threshold = rules.next_threshold(averaged, maps=1)
        averaged = rules.averaged_maps(np.float32([value]), threshold)
        seen.append(bool(averaged[0]))
    assert seen == [True, True, True, True, False, False, False, True]


@given(FEATURES, FEATURES)
def test_fused_features_lie_between_their_sources(ir, vis):
    averaged = rules.averaged_maps(rules.activity(ir, vis), rules.next_threshold(None, maps=3))
    fused = rules.fuse_common(ir, vis, averaged)
    slack = 1e-5 * np.maximum(ir, vis) + 1e-37  # float32 rounding of w1, and products that underflow
    assert (fused >= np.minimum(ir, vis) - slack).all()
    assert (fused <= np.maximum(ir, vis) + slack).all()


@given(FEATURES, FEATURES)
def test_swapping_the_cameras_changes_nothing(ir, vis):
    assert np.array_equal(rules.activity(ir, vis), rules.activity(vis, ir))
    averaged = np.ones((2, 3), bool)
    np.testing.assert_allclose(
        rules.fuse_common(ir, vis, averaged), rules.fuse_common(vis, ir, averaged), rtol=1e-4, atol=1e-5
    )


@given(FEATURES, FEATURES)
def test_pairs_of_a_batch_do_not_see_each_other(ir, vis):
    threshold = rules.next_threshold(None, maps=3)
    together = rules.fuse_common(ir, vis, rules.averaged_maps(rules.activity(ir, vis), threshold))
    for k in range(2):
        alone = rules.fuse_common(ir[k], vis[k], rules.averaged_maps(rules.activity(ir[k], vis[k]), threshold))
        np.testing.assert_array_equal(together[k], alone)
