"""By how much near things are off, against the textbook and against the map that fusion uses."""

import numpy as np
import pytest

from calibration.parallax import nearest_within, parting
from calibration.rig import Camera, Rig, Stereo
from calibration.warp import make_warp

SIDE_BY_SIDE = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
TURNED = tuple(map(tuple, np.array([[np.cos(0.03), 0, np.sin(0.03)], [0, 1, 0], [-np.sin(0.03), 0, np.cos(0.03)]])))
BENT = (-0.2, 0.05, 0.0, 0.0)


def rig_of(R=SIDE_BY_SIDE, T=(0.1, 0, 0), dist=()):
    ir = Camera(width=160, height=120, K=((150, 0, 79.5), (0, 150, 59.5), (0, 0, 1)), dist=dist)
    vis = Camera(width=320, height=240, K=((300, 0, 159.5), (0, 300, 119.5), (0, 0, 1)), dist=dist)
    return Rig(ir=ir, vis=vis, pose=Stereo(R=R, T=T))


def test_things_part_by_focal_length_times_baseline_over_distance():
    apart = parting(rig_of(), [1, 2, 5, np.inf], np.inf)
    np.testing.assert_allclose(apart, [30, 15, 6, 0], atol=1e-6)  # at 5 m by 6 px: 300 px * 0.1 m / 5 m


def test_nothing_is_off_at_the_distance_that_pictures_are_laid_for():
    apart = parting(rig_of(), [2, 4, np.inf], 4.0)
    np.testing.assert_allclose(apart, [7.5, 0, 7.5], atol=1e-6)  # f B |1/z - 1/d|


@pytest.mark.parametrize("laid", [1.5, np.inf])
def test_it_is_what_the_map_of_fusion_does(laid):
    rig = rig_of(TURNED, (0.08, 0.02, 0.2), BENT)
    z = 3.0
    true = make_warp(rig, (160, 120), (320, 240), depth=z).at
    used = make_warp(rig, (160, 120), (320, 240), depth=laid).at
    # IR's middle as it is drawn, and where the map for z says that the thing behind it is
    places = np.argwhere(np.linalg.norm(used - (79.5, 59.5), axis=2) < 0.4)
    y, x = places.mean(axis=0).round().astype(int)
    away = np.linalg.norm(used - true[y, x], axis=2)
    row, column = np.unravel_index(away.argmin(), away.shape)
    assert parting(rig, [z], laid)[0] == pytest.approx(np.hypot(row - y, column - x), abs=1.5)  # both are whole px


def test_the_nearest_distance_within_a_pixel_is_focal_length_times_baseline():
    assert nearest_within(rig_of(), 1.0) == pytest.approx(30.0, rel=0.03)  # m; the step of the search is 1.4 %
    assert nearest_within(rig_of(T=(0, 0, 0)), 1.0) == 0.3  # one place, no parallax
    assert nearest_within(rig_of(T=(10.0, 0, 0)), 1.0) is None


def test_what_is_behind_the_infrared_camera_is_not_told():
    assert np.isnan(parting(rig_of(T=(0, 0, 1.0)), [0.5], np.inf)[0])
