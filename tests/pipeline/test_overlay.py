"""Words on a picture: readable on any background, nowhere else a pixel changed."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from pipeline.frames import Frame
from pipeline.overlay import draw, overlay_lines

LINES = ["2027-01-15 08:00:00.5", "25.0 fps  83 ms"]


def frame_of(luma, chroma=None):
    return Frame(luma, chroma, 5, 0.2, 3, "n")


def letters(size):
    """Where letters are: drawn on black, bright."""
    return draw(frame_of(np.zeros(size, np.uint8)), LINES).luma > 200


@pytest.mark.parametrize("size", [(480, 640), (240, 320), (1080, 1920)])
@pytest.mark.parametrize("background", ["black", "white", "noise", "stripes"])
def test_letters_stand_out_on_any_background(background, size):
    luma = {
        "black": np.zeros(size, np.uint8),
        "white": np.full(size, 255, np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, size, np.uint8),
        "stripes": np.tile((np.arange(size[1]) // 2 % 2 * 255).astype(np.uint8), (size[0], 1)),
    }[background]
    drawn, mask = draw(frame_of(luma), LINES).luma, letters(size)
    assert mask.sum() > 100
    rows, columns = np.nonzero(mask)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    ink = draw(frame_of(np.zeros(size, np.uint8)), LINES).luma[box] > 0
    assert drawn[mask].min() > 200
    assert drawn[box][~ink].max() <= 77  # 0.3 of white


def test_the_rest_of_the_picture_is_untouched_and_so_is_the_given_frame():
    luma = np.random.default_rng(0).integers(0, 256, (480, 640), np.uint8)
    luma.setflags(write=False)
    chroma = tuple(np.full((240, 320), value, np.uint8) for value in (60, 200))
    frame = draw(frame_of(luma, chroma), LINES)
    changed = np.nonzero(frame.luma != luma)
    assert changed[0].max() < 80
    assert changed[1].max() < 320
    gray = np.nonzero(frame.chroma[0] != 60)
    assert abs(gray[0].max() * 2 - changed[0].max()) <= 2  # the words are without colour, the rest has its own
    assert abs(gray[1].max() * 2 - changed[1].max()) <= 2
    assert (chroma[0] == 60).all()
    assert (frame.pts, frame.index, frame.name) == (5, 3, "n")


def test_nothing_to_say_is_the_same_frame():
    frame = frame_of(np.zeros((48, 64), np.uint8))
    assert draw(frame, []) is frame
    assert draw(frame, [""]) is frame


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 400), (400, 3)])
def test_pictures_smaller_than_the_words_do_no_harm(size):
    chroma = tuple(np.zeros(((size[0] + 1) // 2, (size[1] + 1) // 2), np.uint8) for _ in range(2))
    assert draw(frame_of(np.zeros(size, np.uint8), chroma), LINES).luma.shape == size


def test_unknown_numbers_are_left_out():
    wall = time.mktime((2027, 1, 15, 8, 0, 0, 0, 0, -1)) + 0.55
    assert overlay_lines(wall, 24.96, 0.0834) == ["2027-01-15 08:00:00.5", "25.0 fps  83 ms"]
    assert overlay_lines(wall, math.nan, None) == ["2027-01-15 08:00:00.5", ""]
