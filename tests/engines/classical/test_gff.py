"""Weights that follow the edges of the pictures, and the guided filter that makes them do so."""

import cv2
import numpy as np
import pytest

from engines.classical.gff import BASE_FILTER, DETAIL_FILTER, gff, guided_filter, picked, weights
from tests.training.material import noise


def test_the_filter_keeps_what_is_linear_in_its_guide():
    """He et al.: with eps near 0, a guide + b comes through unchanged."""
    guide = noise(40, 50) / 255
    found = guided_filter(guide, 0.25 * guide + 0.5, 3, 1e-12)
    assert np.abs(found - (0.25 * guide + 0.5)).max() < 1e-9


def test_the_filter_is_a_mean_of_means_where_eps_is_large():
    guide, plane = noise(40, 50) / 255, noise(40, 50, 1) / 255
    found = guided_filter(guide, plane, 2, 1e9)[8:-8, 8:-8]
    wanted = cv2.blur(cv2.blur(plane, (5, 5)), (5, 5))[8:-8, 8:-8]
    assert np.abs(found - wanted).max() < 1e-6


def test_a_constant_comes_through_up_to_the_border():
    assert np.abs(guided_filter(noise(9, 9) / 255, np.full((9, 9), 0.7), 45, 0.3) - 0.7).max() < 1e-12


@pytest.mark.parametrize("filter_", [BASE_FILTER, DETAIL_FILTER])
def test_weights_lie_between_0_and_1_and_add_up_to_1(filter_):
    pictures = [noise(60, 70) / 255, noise(60, 70, 1) / 255]
    of_ir, of_vis = weights(pictures, picked(*pictures), *filter_)
    assert np.abs(of_ir + of_vis - 1).max() < 1e-9
    assert min(of_ir.min(), of_vis.min()) >= 0


def test_weights_of_detail_jump_where_the_picture_does():
    """Picks end 3 px beside a step of the guide; the weights end at the step."""
    guide = np.full((60, 80), 0.2) + np.random.default_rng(0).normal(0, 1e-4, (60, 80))
    guide[:, 40:] += 0.6
    pick = np.zeros((60, 80))
    pick[:, 43:] = 1
    found = guided_filter(guide, pick, *DETAIL_FILTER)[30]
    assert found[40] - found[39] > 0.5
    assert found[40] - found[39] == np.diff(found).max()


def test_the_more_salient_source_is_picked_alone():
    busy, flat = noise(20, 20) / 255, np.full((20, 20), 0.5)
    assert [plane.min() for plane in picked(busy, flat)] == [1, 0]
    assert [plane.max() for plane in picked(flat, busy)] == [0, 1]


def test_both_are_picked_where_they_are_equally_salient():
    flat = np.full((20, 20), 0.5)
    assert all((plane == 1).all() for plane in picked(flat, flat))


def test_detail_is_taken_from_the_sharper_source():
    ir, vis = np.full((64, 192), 100, np.uint8), np.full((64, 192), 140, np.uint8)
    ir[:, :96], vis[:, 96:] = noise(64, 96) // 4 + 70, noise(64, 96, 1) // 4 + 110
    found = gff(ir, vis).astype(float)
    for side, source in ((np.s_[8:-8, 8:80], ir), (np.s_[8:-8, 112:-8], vis)):
        assert np.corrcoef(found[side].ravel(), source[side].astype(float).ravel())[0, 1] > 0.95
        assert found[side].std() / source[side].std() == pytest.approx(1, abs=0.05)  # whole, not by halves
