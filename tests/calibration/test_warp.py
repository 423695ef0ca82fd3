"""The map between the two pictures, against projective geometry written out."""

import cv2
import numpy as np
import pytest

from calibration.rig import Camera, Plane, Rig, Stereo, as_table
from calibration.warp import OUTSIDE, make_warp, plane_homography, to_pixels, to_rays

IR = Camera(width=160, height=120, K=((150, 0, 80.5), (0, 151, 58.5), (0, 0, 1)), dist=(-0.25, 0.08, 1e-3, -5e-4, 0))
VIS = Camera(width=320, height=240, K=((390, 0, 161), (0, 388, 118), (0, 0, 1)), dist=(0.1, -0.05, 0, 0, 0.01))
R, _ = cv2.Rodrigues(np.array([0.01, -0.02, 0.015]))
T = (0.08, 0.01, -0.005)
RIG = Rig(ir=IR, vis=VIS, pose=Stereo(R=as_table(R), T=T))
PINHOLES = Rig(
    ir=IR.model_copy(update={"dist": ()}), vis=VIS.model_copy(update={"dist": ()}), pose=Stereo(R=as_table(R), T=T)
)
SIZES = (160, 120), (320, 240)


def project(camera, point):
    """One point by the formulas of the OpenCV manual."""
    x, y = point[0] / point[2], point[1] / point[2]
    k1, k2, p1, p2, k3 = camera.dist
    s = x * x + y * y
    radial = 1 + k1 * s + k2 * s**2 + k3 * s**3
    u = x * radial + 2 * p1 * x * y + p2 * (s + 2 * x * x)
    v = y * radial + p1 * (s + 2 * y * y) + 2 * p2 * x * y
    (fx, _, cx), (_, fy, cy), _ = camera.K
    return np.array([fx * u + cx, fy * v + cy])


@pytest.mark.parametrize("depth", [1.5, 10.0])
@pytest.mark.parametrize("reference", ["vis", "ir"])
def test_a_point_of_the_plane_is_found_in_both_pictures(depth, reference):
    warp = make_warp(RIG, *SIZES, reference=reference, depth=depth)
    own, other, turn, move = (VIS, IR, R.T, -R.T @ T) if reference == "vis" else (IR, VIS, R, np.array(T))
    for spot in ((0.0, 0.0), (0.08, -0.05), (-0.1, 0.06)):
        here = project(own, (spot[0] * depth, spot[1] * depth, depth))
        there = project(other, turn @ (spot[0] * depth, spot[1] * depth, depth) + move)
        x, y = int(here[0]), int(here[1])
        dx, dy = here - (x, y)
        cell = warp.at[y : y + 2, x : x + 2].astype(float)
        found = (cell[0, 0] * (1 - dx) + cell[0, 1] * dx) * (1 - dy) + (cell[1, 0] * (1 - dx) + cell[1, 1] * dx) * dy
        np.testing.assert_allclose(found, there, atol=0.01)


@pytest.mark.parametrize("depth", [0.7, 3.0, np.inf])
def test_without_lenses_the_map_is_the_homography_of_the_plane(depth):
    warp = make_warp(PINHOLES, *SIZES, reference="ir", depth=depth)
    H = plane_homography(PINHOLES, depth)
    y, x = np.mgrid[0:120, 0:160]
    expected = np.stack([x, y, np.ones_like(x)], -1) @ H.T
    expected = expected[..., :2] / expected[..., 2:]
    seen = warp.at[..., 0] != OUTSIDE
    assert seen.mean() > 0.3
    np.testing.assert_allclose(warp.at[seen], expected[seen], atol=1e-3)


def test_two_planes_part_by_the_parallax_of_their_distance():
    """fx B / d: 390 px, 8 cm, from 2 m to 4 m."""
    straight = Rig(ir=PINHOLES.ir, vis=PINHOLES.vis, pose=Stereo(R=as_table(np.eye(3)), T=(0.08, 0, 0)))
    near, far = (plane_homography(straight, depth) @ (80.5, 58.5, 1) for depth in (2.0, 4.0))
    assert near[0] / near[2] - far[0] / far[2] == pytest.approx(390 * 0.08 * (1 / 2 - 1 / 4))


def test_a_homography_and_a_nudge_are_applied_as_written():
    rig = Rig(plane=Plane(ir_size=(160, 120), vis_size=(320, 240), H=((2, 0, 10), (0, 2, -6), (0, 0, 1))))
    warp = make_warp(rig, *SIZES, nudge=(4, 2))
    np.testing.assert_allclose(warp.at[100, 150], ((150 - 4 - 10) / 2, (100 - 2 + 6) / 2))
    back = make_warp(rig, *SIZES, reference="ir")
    np.testing.assert_allclose(back.at[30, 40], (2 * 40 + 10, 2 * 30 - 6))


def test_streams_of_another_size_are_mapped_alike():
    whole, half = make_warp(RIG, *SIZES, depth=5.0), make_warp(RIG, (80, 60), (160, 120), depth=5.0)
    y, x = 30, 70  # of the half; its pixel covers four of the whole
    around = whole.at[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(-1, 2).mean(0)
    np.testing.assert_allclose((half.at[y, x] + 0.5) * 2 - 0.5, around, atol=0.01)


def test_outside_the_other_camera_nothing_is_seen_and_the_border_is_soft():
    narrow = Rig(plane=Plane(ir_size=(160, 120), vis_size=(320, 240), H=((1, 0, 80), (0, 1, 60), (0, 0, 1))))
    warp = make_warp(narrow, *SIZES)
    assert (warp.weight[:50] == 0).all()
    assert (warp.at[:50] == OUTSIDE).all()
    assert warp.weight[120, 160] == 1
    ramp = warp.weight[120, 78:95]
    assert (np.diff(ramp) >= 0).all()
    assert np.diff(ramp).max() < 0.35  # no edge
    assert 0.2 < warp.coverage < 0.3  # 160 x 120 of 320 x 240


def test_a_picture_seen_whole_is_taken_whole():
    same = Rig(plane=Plane(ir_size=(160, 120), vis_size=(160, 120), H=as_table(np.eye(3))))
    warp = make_warp(same, (160, 120), (160, 120))
    assert (warp.weight == 1).all()
    y, x = np.mgrid[0:120, 0:160]
    np.testing.assert_array_equal(warp.at, np.stack([x, y], -1))


@pytest.mark.parametrize("lens", ["pinhole", "fisheye"])
def test_pixels_become_rays_and_pixels_again(lens):
    dist = IR.dist if lens == "pinhole" else (-0.02, 0.004, 0.0, 0.0)
    camera = Camera(width=160, height=120, K=IR.K, lens=lens, dist=dist)
    pixels = np.stack(np.meshgrid(np.arange(0, 160, 7.0), np.arange(0, 120, 7.0)), -1).reshape(-1, 2)
    rays, is_valid = to_rays(camera, pixels)
    assert is_valid.all()
    again, _ = to_pixels(camera, rays)
    np.testing.assert_allclose(again, pixels, atol=0.01)


def test_what_a_lens_would_fold_back_into_the_picture_is_not_seen():
    """With k1 = -0.25 alone r (1 - r^2 / 4) falls beyond r = 1.155: such points land in the picture again."""
    camera = Camera(width=160, height=120, K=IR.K, dist=(-0.25, 0, 0, 0))
    at, is_valid = to_pixels(camera, np.array([[0.5, 0, 1], [1.1, 0, 1], [1.9, 0, 1], [0, 0, -1], [0.1, 0, 0]], float))
    assert is_valid.tolist() == [True, True, False, False, False]
    assert at[0, 0] == pytest.approx(150 * 0.5 * (1 - 0.25 * 0.25) + 80.5)
