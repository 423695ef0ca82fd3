"""Palettes: what their names promise, exact in YUV by either matrix and range, and users' tables checked."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.frames import Colour, Frame, InputError, StreamInfo
from pipeline.image_sink import to_image
from pipeline.palettes import PALETTES, palette, read_table, tones

RISING = ("white hot", "ironbow", "lava", "arctic")


def info_of(matrix=6, full_range=False):
    return StreamInfo("x", 256, 2, 1, colour=Colour(full_range, matrix, matrix, matrix))


def hue_deg(rgb):
    """(3,) uint8 as the hue of HSV: 0 red, 60 yellow, 240 blue."""
    return 2 * int(cv2.cvtColor(rgb.reshape(1, 1, 3), cv2.COLOR_RGB2HSV)[0, 0, 0])


def test_every_table_is_256_colours_that_nobody_can_change():
    assert PALETTES == ("white hot", "black hot", "ironbow", "rainbow", "lava", "arctic")
    for name in PALETTES:
        table = palette(name).table
        assert (table.shape, table.dtype) == ((256, 3), np.uint8)
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 0


@pytest.mark.parametrize("name", RISING)
def test_luma_is_the_temperature_itself(name):
    """By BT.601 exactly, so that coloured IR has the detail of the gray picture; by BT.709 it still never falls."""
    luma = tones(palette(name), 6, full_range=False).luma.astype(int)
    assert np.abs(luma - np.arange(256)).max() <= 1
    assert (np.diff(luma) >= 0).all()
    assert (np.diff(tones(palette(name), 1, full_range=False).luma.astype(int)) >= 0).all()


def test_black_hot_is_white_hot_backwards():
    np.testing.assert_array_equal(palette("black hot").table, palette("white hot").table[::-1])
    assert palette("white hot").table[[0, 77, 255], 1].tolist() == [0, 77, 255]


@pytest.mark.parametrize("name", ["ironbow", "lava", "arctic"])
def test_coldest_is_black_and_hottest_is_white(name):
    assert palette(name).table[[0, -1]].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("ironbow", [(20, 230, 285), (90, 300, 340), (150, 0, 30), (235, 40, 62)]),
        ("lava", [(30, 345, 368), (60, 350, 368), (130, 15, 40), (220, 45, 62)]),
        ("arctic", [(20, 225, 250), (60, 215, 245), (210, 30, 50)]),
        ("rainbow", [(5, 230, 250), (75, 175, 205), (128, 90, 175), (175, 50, 65), (250, 0, 8)]),
    ],
)
def test_colours_come_in_the_order_their_names_promise(name, places):
    for level, low, high in places:
        hue = hue_deg(palette(name).table[level])
        assert low <= hue <= high or low <= hue + 360 <= high, f"{name}[{level}] has hue {hue}"


@pytest.mark.parametrize("name", PALETTES)
def test_neighbours_look_alike(name):
    """No step that would draw a contour where there is none."""
    assert np.abs(np.diff(palette(name).table.astype(int), axis=0)).max() <= 8


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("name", PALETTES)
def test_tones_are_the_table_again_when_shown(name, matrix, full_range):
    """Through the conversion that writes images, which follows H.273 on its own."""
    colours = palette(name)
    paint = tones(colours, matrix, full_range=full_range)
    luma = np.repeat(paint.luma[None], 2, axis=0).repeat(2, axis=1)  # pairs of columns, so half-size chroma is exact
    chroma = tuple(np.repeat(plane[None], 1, axis=0) for plane in (paint.u, paint.v))
    info = info_of(matrix, full_range)
    image = to_image(Frame(luma, chroma, 0, 0.0, 0), info)[0, :, ::-1].astype(int)
    wanted = colours.table.astype(int)
    error = np.abs(image.reshape(256, 2, 3).mean(axis=1) - wanted)[1:-1]  # averaged over the interpolation
    assert error.mean() <= 1.5
    assert error.max() <= 6  # chroma of 8 bits, interpolated between neighbours up to 8 levels apart


def test_limited_chroma_stays_within_its_range():
    for name in PALETTES:
        paint = tones(palette(name), 6, full_range=False)
        for plane in (paint.u, paint.v):
            assert plane.min() >= 16
            assert plane.max() <= 240


def test_gray_palettes_know_that_they_are():
    assert [tones(palette(name), 1, full_range=False).is_gray for name in PALETTES] == [True, True] + [False] * 4


def table_text(rows):
    return "# cold to hot\n\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n"


ROWS = [(k, 255 - k, k // 2) for k in range(256)]


def test_a_user_s_csv_is_taken_as_it_is(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(table_text(ROWS), encoding="utf-8-sig")
    mine = palette(str(path))
    assert mine.name == "mine"
    np.testing.assert_array_equal(mine.table, ROWS)
    path.unlink()
    assert palette(str(path)) is mine  # asked for with every frame, read once


@pytest.mark.parametrize("shape", [(1, 256), (256, 1)])
def test_a_user_s_image_is_taken_as_it_is_lying_or_standing(tmp_path, shape):
    path = tmp_path / "mine.png"
    cv2.imwrite(str(path), np.array(ROWS, np.uint8)[:, ::-1].reshape(*shape, 3))
    np.testing.assert_array_equal(read_table(path).table, ROWS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", table_text(ROWS[:255]), "255 colours: a table has 256 lines"),
        ("a.csv", table_text([*ROWS, (1, 2, 3)]), "257 colours"),
        ("a.csv", table_text([(0, 0, 256), *ROWS[1:]]), r"'0,0,256' as colour 0: give R,G,B"),
        ("a.csv", table_text([*ROWS[:9], ("x", 0, 1), *ROWS[10:]]), "as colour 9"),
        ("a.csv", table_text([*ROWS[:9], (-1, 0, 1), *ROWS[10:]]), "whole numbers 0..255"),
        ("a.csv", table_text([*ROWS[:9], (1, 2), *ROWS[10:]]), "as colour 9"),
        ("a.csv", "", "is empty"),
        ("a.csv", "1," * 2**20, "is larger than"),
        ("a.png", "no image", "not an image"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        palette(str(tmp_path / name))


def test_an_image_of_another_size_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((2, 256, 3), np.uint8))
    with pytest.raises(InputError, match="256x2 px: a table is 256x1 px"):
        palette(str(tmp_path / "a.png"))


@pytest.mark.parametrize("text", ["", "iron", "White Hot", "a.jpg", "lava\n"])
def test_an_unknown_name_is_told_what_there_is(text):
    with pytest.raises(InputError, match="use one of white hot, black hot, ironbow"):
        palette(text)


def test_a_table_that_is_not_there_is_one_line():
    with pytest.raises(InputError, match=r"none.csv: cannot be read \(No such file"):
        palette("none.csv")
