"""The synthetic pair is what it says: each camera sees half, shifted and late by known amounts."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from pipeline.source import open_source
from pipeline.synthetic import GROUND, Scene, ir_frames, target_centre, target_mask, vis_frames, write_pair

SCENE = Scene(width=160, height=120, frames=20, shift=(-6, 4), offset=0.2)


def warm_middle(luma):
    y, x = np.nonzero(luma > GROUND + 80)
    return x.mean(), y.mean()


def test_the_target_is_warm_in_ir_and_leaves_no_trace_in_vis():
    first, last = list(vis_frames(SCENE))[:: SCENE.frames - 1]
    np.testing.assert_array_equal(first.luma, last.luma)
    ir = next(ir_frames(SCENE)).luma
    assert ir.max() > GROUND + 150


def test_the_texture_is_in_vis_alone():
    ir, vis = next(ir_frames(SCENE)).luma, next(vis_frames(SCENE)).luma
    cold = ir[:40]  # above the figure
    assert cv2.Laplacian(vis[:60], cv2.CV_64F).std() > 3 * cv2.Laplacian(cold, cv2.CV_64F).std()


@pytest.mark.parametrize("k", [0, 5, 10])
def test_shift_and_offset_bring_ir_onto_the_truth(k):
    frame = list(ir_frames(SCENE))[k]
    x, y = warm_middle(frame.luma)
    true_y, true_x = (np.mean(axis) for axis in np.nonzero(target_mask(SCENE, frame.time + SCENE.offset) > 0.4))
    assert (x + SCENE.shift[0], y + SCENE.shift[1]) == pytest.approx((true_x, true_y), abs=1.0)


def test_the_target_moves():
    assert target_centre(SCENE, 0.7)[0] - target_centre(SCENE, 0.0)[0] > 0.4 * SCENE.width


def test_the_same_seed_films_the_same_and_another_does_not():
    again, other = next(vis_frames(SCENE)), next(vis_frames(Scene(width=160, height=120, seed=1)))
    np.testing.assert_array_equal(next(vis_frames(SCENE)).luma, again.luma)
    assert (other.luma != again.luma).any()


def test_unequal_rates_cover_the_same_time(tmp_path):
    pair = write_pair(tmp_path, Scene(width=64, height=48, frames=50, ir_rate=Fraction(9)))
    with open_source(pair.ir) as ir, open_source(pair.vis) as vis:
        assert (ir.info.rate, vis.info.rate) == (9, 25)
        assert (len(list(ir.frames())), len(list(vis.frames()))) == (18, 50)
        assert (vis.info.width, vis.info.height) == (64, 48)
