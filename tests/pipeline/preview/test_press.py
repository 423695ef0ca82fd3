"""Frames as JPEG and PNG: colours, sizes, and IR | view | VIS at the divider."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.frames import Colour, Frame
from pipeline.preview.press import MAX_WIDTH, Press, PressError, Shot, band, png
from tests.pipeline.media import noise, ramp

RED = (82, 240)
"""U and V of full red in limited range."""


def frame_of(luma, u=None, v=None):
    half = tuple((side + 1) // 2 for side in luma.shape)
    chroma = None if u is None else (np.full(half, u, np.uint8), np.full(half, v, np.uint8))
    return Frame(luma, chroma, 0, 0.0, 0)


def opened(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def worst(one, other):
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def test_gray_keeps_its_levels():
    picture = opened(Press().jpeg(Shot(frame_of(ramp(48, 64)))))
    assert picture.shape == (48, 64, 3)
    assert worst(picture, ramp(48, 64)[..., None]) <= 4  # quantised by JPEG


@pytest.mark.parametrize(
    ("matrix", "luma", "u", "v"),
    [(6, 76, 91, 239), (1, 54, 103, 239)],  # of (255, 0, 0) by BT.601 and BT.709, chroma in 16..240
)
def test_red_is_red_by_either_matrix(matrix, luma, u, v):
    shot = Shot(frame_of(np.full((32, 32), luma, np.uint8), u, v), colour=Colour(matrix=matrix))
    for data in (Press().jpeg(shot), png(shot)):
        assert worst(opened(data)[16, 16], np.array([0, 0, 255])) <= 6, matrix


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (239, 321), (480, 640)])
def test_any_size_keeps_its_size(height, width):
    shot = Shot(frame_of(noise(height, width), 90, 200))
    assert opened(Press().jpeg(shot)).shape[:2] == opened(png(shot)).shape[:2] == (height, width)


def test_a_wide_picture_is_made_smaller_for_the_stream_and_kept_for_the_snapshot():
    shot = Shot(frame_of(ramp(1080, 1920), *RED))
    assert opened(Press().jpeg(shot)).shape[:2] == (720, MAX_WIDTH)
    assert opened(png(shot)).shape[:2] == (1080, 1920)


def test_a_press_follows_a_picture_that_changes_its_size():
    press = Press()
    sizes = [opened(press.jpeg(Shot(frame_of(ramp(*size))))).shape[:2] for size in ((48, 64), (64, 48), (48, 64))]
    assert sizes == [(48, 64), (64, 48), (48, 64)]


def test_png_is_exact_where_there_is_no_colour():
    assert worst(opened(png(Shot(frame_of(noise(31, 45))))), noise(31, 45)[..., None]) == 0


@pytest.mark.parametrize(("divider", "left", "right"), [(0.5, 32, 64), (0.0, 0, 16), (1.0, 80, 96), (0.25, 8, 40)])
def test_the_band_is_a_third_of_the_width_around_the_divider(divider, left, right):
    assert band(96, divider) == (left, right)


@pytest.mark.parametrize("width", [1, 2, 33, 97])
def test_the_band_never_leaves_the_picture(width):
    for divider in np.linspace(0, 1, 41):
        left, right = band(width, float(divider))
        assert 0 <= left <= right <= width
        assert left % 2 == 0


def test_a_divided_picture_is_ir_then_the_view_then_vis():
    middle, ir, vis = (frame_of(np.full((24, 96), level, np.uint8)) for level in (100, 20, 220))
    picture = opened(png(Shot(middle, sides=(ir, vis), divider=0.5)))
    assert [picture[12, x, 0] for x in (0, 31, 32, 63, 64, 95)] == [20, 20, 100, 100, 220, 220]


def test_a_divided_picture_has_the_colours_of_each_part():
    middle = frame_of(np.full((24, 96), 76, np.uint8), 91, 239)
    gray = frame_of(np.full((24, 96), 76, np.uint8))
    picture = opened(png(Shot(middle, sides=(gray, gray), divider=0.5)))
    assert worst(picture[12, 10], np.array([76, 76, 76])) <= 2
    assert worst(picture[12, 48], np.array([0, 0, 255])) <= 4


def test_sides_of_another_size_are_left_out_rather_than_mixed_up():
    middle, side = frame_of(np.full((24, 96), 100, np.uint8)), frame_of(np.full((48, 96), 20, np.uint8))
    assert set(np.unique(opened(png(Shot(middle, sides=(side, side), divider=0.5))))) == {100}


def test_printing_writes_nothing_into_the_planes():
    frame = frame_of(noise(24, 32), *RED)
    for plane in (frame.luma, *frame.chroma):
        plane.flags.writeable = False
    Press().jpeg(Shot(frame, sides=(frame, frame), divider=0.5))


def test_sixteen_bits_are_refused_in_one_line():
    with pytest.raises(PressError, match=r"^a frame cannot be shown: .*16.* only 8 bits"):
        Press().jpeg(Shot(Frame(np.zeros((8, 8), np.uint16), None, 0, 0.0, 0)))
