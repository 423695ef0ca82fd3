"""One grid for both pictures."""

from fractions import Fraction

import numpy as np
import pytest

from pipeline.align import Geometry, align
from pipeline.compose import compose
from pipeline.frames import Frame, Pair
from pipeline.thermal import Agc


def picture(height, width, value=100, chroma=True, dtype=np.uint8):
    half = ((height + 1) // 2, (width + 1) // 2)
    planes = (np.full(half, 90, np.uint8), np.full(half, 160, np.uint8)) if chroma else None
    return Frame(np.full((height, width), value, dtype), planes, 7, float(Fraction(7, 25)), 3, "a.png")


def aligned(ir, vis, **geometry):
    return align(Pair(ir, vis, 0.0), Geometry(**geometry), Agc(), Agc())


def test_pictures_of_one_size_pass_untouched():
    ir, vis = picture(6, 8, chroma=False), picture(6, 8)
    result = aligned(ir, vis)
    assert result.ir is ir.luma
    assert result.vis is vis.luma
    assert result.chroma is vis.chroma


def test_ir_is_scaled_to_vis():
    result = aligned(picture(3, 4, 50, chroma=False), picture(6, 8))
    assert result.ir.shape == result.vis.shape == (6, 8)
    assert (result.ir == 50).all()


def test_vis_and_its_chroma_are_scaled_to_ir_on_request():
    result = aligned(picture(5, 7, chroma=False), picture(12, 16), reference="ir")
    assert result.vis.shape == (5, 7)
    assert [plane.shape for plane in result.chroma] == [(3, 4), (3, 4)]


def test_full_chroma_of_images_keeps_full_size():
    full = np.full((6, 8), 128, np.uint8)
    result = aligned(picture(6, 8), Frame(full, (full, full), 0, 0.0, 0), size=(4, 3))
    assert [plane.shape for plane in result.chroma] == [(3, 4), (3, 4)]


def test_positive_shift_moves_ir_right_and_down():
    ir = picture(6, 8, 0, chroma=False)
    ir.luma[2, 3] = 200
    assert np.argwhere(aligned(ir, picture(6, 8), shift=(2, 1)).ir == 200).tolist() == [[3, 5]]


def test_shrinking_averages_instead_of_skipping():
    stripes = picture(8, 8, chroma=False)
    stripes.luma[:, ::2], stripes.luma[:, 1::2] = 0, 200
    assert (aligned(stripes, picture(4, 4)).ir == 100).all()


def test_sixteen_bit_counts_pass_the_gain_control():
    ir = picture(10, 10, 3000, chroma=False, dtype=np.uint16)
    ir.luma[:5] = 4000
    result = aligned(ir, picture(10, 10))
    assert result.ir.dtype == np.uint8
    assert set(np.unique(result.ir)) == {0, 255}


@pytest.mark.parametrize("tint", ["vis", "gray"])
def test_composing_keeps_time_and_either_colour_or_none(tint):
    vis = picture(6, 8)
    result = aligned(picture(6, 8, chroma=False), vis)
    fused = np.arange(48, dtype=np.uint8).reshape(6, 8)
    frame = compose(fused, result, tint)
    assert frame.luma is fused
    assert (frame.pts, frame.time, frame.index, frame.name) == (7, vis.time, 3, "a.png")
    assert frame.chroma is (vis.chroma if tint == "vis" else None)
