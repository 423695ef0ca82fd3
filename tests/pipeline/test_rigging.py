"""A rig at work: the other picture lands where it belongs, and what only one camera sees is that camera's picture."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from calibration.rig import Plane, Rig, RigError, save_rig
from pipeline.align import Geometry, align
from pipeline.compose import compose
from pipeline.frames import Frame, InputError, Pair, StreamInfo
from pipeline.palettes import palette
from pipeline.rigging import Rigging, clock_offset, open_rigging, reference_of, rigging_of
from pipeline.thermal import Agc
from pipeline.views import Choice, render

VIS, IR = (160, 120), (96, 72)
SEEN = np.array([[1.5, 0, 8], [0, 1.5, 6], [0, 0, 1.0]])
"""Pixels of IR to pixels of VIS: IR sees 144 x 108 of them, from (8, 6) on."""
RIG = Rig(plane=Plane(ir_size=IR, vis_size=VIS, H=tuple(map(tuple, SEEN.tolist()))), clock_offset=0.25)


def scene(size, H=None):
    """What a camera sees of one smooth scene whose pixels are those of VIS."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(float)
    if H is not None:
        x, y = H[0, 0] * x + H[0, 2], H[1, 1] * y + H[1, 2]
    return np.rint(128 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7)).astype(np.uint8)


def frame(luma, chroma=None):
    return Frame(luma, chroma, 0, 0.0, 0)


def laid(reference="vis", shift=(0.0, 0.0), size=None, ir=None, vis=None):
    small = np.full((60, 80), 90, np.uint8), np.full((60, 80), 160, np.uint8)
    pair = Pair(frame(scene(IR, SEEN) if ir is None else ir), frame(scene(VIS) if vis is None else vis, small), 0.0)
    geometry = Geometry(reference, size, shift, Rigging(RIG))
    return align(pair, geometry, Agc(), Agc())


def test_infrared_lands_on_what_visible_sees():
    aligned = laid()
    inside = aligned.seen == 1
    assert inside.mean() > 0.7
    error = np.abs(aligned.ir.astype(int) - aligned.vis)[inside]
    assert error.max() <= 3, np.bincount(error)  # two samplings of one smooth scene
    unaligned = np.abs(cv2.resize(scene(IR, SEEN), VIS).astype(int) - scene(VIS))
    assert unaligned.mean() > 10 * error.mean()  # what plain scaling would give


def test_visible_lands_on_infrared_where_that_is_the_reference():
    aligned = laid("ir")
    assert aligned.ir.shape == aligned.vis.shape == IR[::-1]
    assert (aligned.seen == 1).all()  # visible sees all of it
    assert np.abs(aligned.ir.astype(int) - aligned.vis).max() <= 3
    assert [plane.shape for plane in aligned.chroma] == [(36, 48)] * 2
    assert set(np.unique(aligned.chroma[0])) == {90}


@pytest.mark.parametrize("reference", ["vis", "ir"])
def test_a_nudge_moves_infrared_right_and_down(reference):
    ir = np.zeros(IR[::-1], np.uint8)
    ir[20:30, 30:40] = 255
    places = []
    for shift in ((0.0, 0.0), (6.0, 3.0)):
        aligned = laid(reference, shift, ir=ir, vis=np.zeros(VIS[::-1], np.uint8))
        at = np.argwhere(aligned.ir > 128).mean(0)
        places.append(at)
    moved = places[1] - places[0]
    if reference == "vis":
        np.testing.assert_allclose(moved, (3, 6), atol=0.5)
    else:  # IR stays, VIS goes the other way
        np.testing.assert_allclose(moved, 0, atol=0.1)
        vis = np.zeros(VIS[::-1], np.uint8)
        vis[40:60, 60:90] = 255
        before, after = (
            np.argwhere(laid("ir", shift, vis=vis).vis > 128).mean(0) for shift in ((0.0, 0.0), (6.0, 3.0))
        )
        np.testing.assert_allclose(after - before, (-3, -6), atol=0.5)


def test_outside_the_view_of_infrared_the_output_is_visible_without_an_edge():
    aligned = laid()
    hot = np.full_like(aligned.vis, 255)
    out = compose(hot, aligned).luma
    outside = aligned.seen == 0
    assert outside.any()
    np.testing.assert_array_equal(out[outside], aligned.vis[outside])
    assert (out[aligned.seen == 1] == 255).all()
    rise = np.diff(compose(np.full_like(hot, 200), laid(vis=np.full_like(hot, 100))).luma.astype(int), axis=1)
    assert 0 < np.abs(rise).max() <= 45  # 100 levels spread over the border


def test_the_network_sees_no_black_wedge():
    aligned = laid(vis=np.full(VIS[::-1], 180, np.uint8), ir=np.full(IR[::-1], 160, np.uint8))
    assert aligned.ir.min() >= 160


@pytest.mark.parametrize("view", ["ir", "blend", "edges", "hot"])
def test_every_view_is_visible_where_infrared_does_not_look(view):
    aligned = laid()
    info = StreamInfo("x", *VIS, Fraction(1, 25))
    shown = render(None, aligned, Choice(view), palette("ironbow"), info)
    outside = aligned.seen == 0
    np.testing.assert_array_equal(shown.luma[outside], aligned.vis[outside])
    corner = [plane[0, 0] for plane in shown.chroma]
    assert corner == [90, 160]
    assert (shown.luma[~outside] != aligned.vis[~outside]).mean() > 0.02


def test_a_larger_infrared_picture_is_made_smaller_before_it_is_warped():
    """Stripes of one pixel, three to a pixel of the grid, are gray there; picked one by one they would flicker."""
    stripes = np.zeros((VIS[1] * 3, VIS[0] * 3), np.uint8)
    stripes[:, ::2] = 255
    same = Rig(plane=Plane(ir_size=VIS, vis_size=VIS, H=((1, 0, 0), (0, 1, 0), (0, 0, 1))))
    laid, _ = Rigging(same).lay(frame(stripes), VIS, "vis", (0.0, 0.0))
    assert np.abs(laid.luma.astype(int) - 127).max() <= 45


def test_maps_are_made_once_and_few_are_kept():
    rigging = Rigging(RIG)
    first = rigging.warp(IR, VIS, "vis", (0.0, 0.0))
    assert rigging.warp(IR, VIS, "vis", (0.0, 0.0)) is first
    for x in range(20):
        rigging.warp(IR, VIS, "vis", (float(x), 0.0))
    assert len(rigging._warps) <= 4


def test_pictures_that_cannot_be_laid_over_each_other_are_errors():
    with pytest.raises(RigError, match="another aspect"):
        Rigging(RIG).warp((96, 96), VIS, "vis", (0.0, 0.0))
    with pytest.raises(InputError, match="do not meet anywhere"):
        Rigging(RIG).warp(IR, VIS, "vis", (5000.0, 0.0))


@pytest.mark.parametrize(
    ("given", "own", "grid"), [(None, "ir", "ir"), ("vis", "ir", "vis"), ("ir", None, "ir"), (None, None, "vis")]
)
def test_the_grid_is_the_users_else_the_rigs_else_visible(given, own, grid):
    assert reference_of(given, Rigging(RIG.model_copy(update={"reference": own}))) == grid
    if own is None:
        assert reference_of(given, None) == grid


def test_a_rig_is_opened_with_its_depth_and_clock(tmp_path):
    save_rig(RIG, tmp_path / "rig.json")
    rigging = open_rigging(tmp_path / "rig.json")
    assert clock_offset(None, rigging) == 0.25
    assert clock_offset(0.0, rigging) == 0.0
    assert clock_offset(None, None) == 0.0
    assert clock_offset(None, rigging, "ir.mp4", "vis.mp4") == 0.25
    assert clock_offset(None, rigging, "ir/*.png", "vis.mp4") == 0.25
    assert clock_offset(None, rigging, "ir/*.png", str(tmp_path)) == 0.0  # images have no clock
    assert clock_offset(2.0, rigging, "ir/*.png", str(tmp_path)) == 2.0  # which is refused later on
    assert rigging_of(None, None) is None
    for depth in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="--depth"):
            open_rigging(tmp_path / "rig.json", depth)
    with pytest.raises(InputError, match="homography"):
        open_rigging(tmp_path / "rig.json", 3.0)
    with pytest.raises(InputError, match="--rig"):
        rigging_of(None, 3.0)
