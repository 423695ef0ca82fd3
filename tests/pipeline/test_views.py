"""Views: which picture shows where, planes in step, colours exact, and nothing written into the pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.align import Aligned, Geometry, align
from pipeline.frames import Colour, Frame, Pair, StreamInfo
from pipeline.palettes import PALETTES, palette, tones
from pipeline.picture import NEUTRAL
from pipeline.source import open_source
from pipeline.thermal import Agc
from pipeline.views import VIEWS, Choice, needs_network, render
from tests.pipeline.media import data

IRON, WHITE_HOT = palette("ironbow"), palette("white hot")
INFO = StreamInfo("x", 96, 64, 1, colour=Colour(False, 6, 6, 6))
PAINT = tones(IRON, 6, full_range=False)


def pair_of(ir, vis, chroma=(90, 160), *, full=False):
    """Aligned luma planes, with VIS chroma of one colour, or None."""
    height, width = vis.shape
    planes = None
    if chroma:
        size = (height, width) if full else ((height + 1) // 2, (width + 1) // 2)
        planes = tuple(np.full(size, value, np.uint8) for value in chroma)
    pair = Pair(Frame(ir, None, 70, 0.7, 7), Frame(vis, planes, 71, 0.71, 8, "v.png"), -0.01)
    return Aligned(ir, vis, planes, pair)


def flat(level, size=(64, 96)):
    return np.full(size, level, np.uint8)


def noise(seed, size=(64, 96)):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def show(view, ir, vis, *, colours=IRON, fused=None, chroma=(90, 160), tint="vis", full=False, info=INFO, **look):
    return render(fused, pair_of(ir, vis, chroma, full=full), Choice(view, **look), colours, info, tint)


def values(plane):
    return set(np.unique(plane).tolist())


def test_fused_is_the_network_s_luma_with_the_colours_of_vis():
    fused = noise(3)
    frame = show("fused", flat(1), flat(2), fused=fused)
    assert frame.luma is fused
    assert [values(plane) for plane in frame.chroma] == [{90}, {160}]
    assert (frame.pts, frame.time, frame.index, frame.name) == (71, 0.71, 8, "v.png")


def test_only_fused_needs_the_network():
    assert [view for view in VIEWS if needs_network(Choice(view))] == ["fused"]
    with pytest.raises(ValueError, match="without a fused picture"):
        show("fused", flat(1), flat(2))


def test_vis_is_untouched():
    vis = noise(1)
    frame = show("vis", noise(2), vis)
    assert frame.luma is vis
    assert [values(plane) for plane in frame.chroma] == [{90}, {160}]


def test_ir_is_looked_up_in_the_palette():
    ir = np.tile(np.arange(96, dtype=np.uint8) // 2 * 2, (64, 1))
    frame = show("ir", ir, flat(9))
    np.testing.assert_array_equal(frame.luma, PAINT.luma[ir])
    np.testing.assert_array_equal(frame.chroma[0], PAINT.u[ir[::2, ::2]])
    np.testing.assert_array_equal(frame.chroma[1], PAINT.v[ir[::2, ::2]])


def test_ir_in_gray_has_no_chroma_to_carry():
    assert show("ir", noise(1), noise(2), colours=WHITE_HOT).chroma is None


def test_full_size_chroma_of_images_is_full_range_bt601_whatever_the_video_would_be():
    wide = StreamInfo("x", 96, 64, 1, colour=Colour(False, 1, 1, 1))
    frame = show("ir", flat(150), flat(9), full=True, info=wide)
    full = tones(IRON, 5, full_range=True)
    assert frame.chroma[0].shape == (64, 96)
    assert [values(plane) for plane in frame.chroma] == [{full.u[150]}, {full.v[150]}]


def test_hd_is_coloured_by_bt709_and_small_pictures_by_bt601_where_nothing_is_said():
    size = (720, 1280)
    frames = [show("ir", flat(120, size), flat(0, size), info=StreamInfo("x", size[1], size[0], 1)),
              show("ir", flat(120), flat(0), info=StreamInfo("x", 96, 64, 1))]  # fmt: skip
    for frame, matrix in zip(frames, (1, 6), strict=True):
        assert values(frame.chroma[0]) == {tones(IRON, matrix, full_range=False).u[120]}


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_blend_is_the_weighted_mean_of_all_planes(weight):
    frame = show("blend", flat(100), flat(40), weight=weight)
    ir = PAINT.luma[100], PAINT.u[100], PAINT.v[100]
    for plane, warm, seen in zip((frame.luma, *frame.chroma), ir, (40, 90, 160), strict=True):
        assert values(plane) == {round(weight * int(warm) + (1 - weight) * seen)}


def test_blend_of_gray_pictures_stays_gray_and_gray_ir_halves_the_colour_of_vis():
    assert show("blend", flat(10), flat(30), colours=WHITE_HOT, chroma=None).chroma is None
    frame = show("blend", flat(10), flat(30), colours=WHITE_HOT)
    assert [values(plane) for plane in frame.chroma] == [{(NEUTRAL + 90) // 2}, {(NEUTRAL + 160) // 2}]


def test_pip_shows_all_of_ir_framed_in_the_corner_and_vis_elsewhere():
    ir = flat(50, (240, 320))
    ir[:, 160:] = 200
    frame = show("pip", ir, flat(77, (240, 320)))
    inset = np.isin(frame.luma, (PAINT.luma[50], PAINT.luma[200]))
    rows, columns = np.nonzero(inset.any(axis=1))[0], np.nonzero(inset.any(axis=0))[0]
    assert (len(rows), len(columns)) == (86, 114)  # 0.36 of 240 and of 320, even
    assert 4 <= 239 - rows[-1] <= 14
    assert 4 <= 319 - columns[-1] <= 14
    left = frame.luma[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (left[:, :56] == PAINT.luma[50]).all()
    assert (left[:, 58:] == PAINT.luma[200]).all()
    assert frame.luma[rows[0] - 1, columns[3]] == 235  # a white line, a dark one around it
    assert frame.luma[rows[0] - 2, columns[3]] == 16
    assert (frame.luma[: rows[0] - 2] == 77).all()
    assert values(frame.chroma[0][: rows[0] // 2 - 1]) == {90}
    assert frame.chroma[0][(rows[0] + 20) // 2, columns[0] // 2 + 5] == PAINT.u[50]


@pytest.mark.parametrize("size", [(31, 400), (400, 31), (1, 1)])
def test_a_picture_too_small_for_an_inset_is_vis_alone(size):
    vis = noise(1, size)
    np.testing.assert_array_equal(show("pip", noise(2, size), vis).luma, vis)


def test_edges_of_vis_are_drawn_thin_into_coloured_ir_and_flat_parts_are_ir_alone():
    vis = flat(60, (480, 640))
    vis[:, 320:] = 180
    frame = show("edges", flat(100, (480, 640)), vis)
    change = np.abs(frame.luma[240].astype(int) - int(PAINT.luma[100]))
    drawn = np.nonzero(change)[0]
    assert change.max() > 50
    assert 312 <= drawn[0] < 320 <= drawn[-1] <= 327  # 16 px at most, the strong part of it much less
    assert (change > 25).sum() <= 8
    assert values(frame.chroma[0]) == {PAINT.u[100]}  # the colour tells the temperature, edges and all


def test_grain_is_no_edge_and_a_weight_of_0_draws_none():
    grain = (100 + np.random.default_rng(0).normal(0, 1.5, (480, 640))).astype(np.uint8)
    assert values(show("edges", flat(100, (480, 640)), grain).luma) == {PAINT.luma[100]}
    frame = show("edges", flat(100), noise(1), weight=0.0)
    assert values(frame.luma) == {PAINT.luma[100]}


def test_white_letters_do_not_outshine_what_is_warm():
    vis = flat(0, (480, 640))
    vis[::7, ::5] = 255
    luma = show("edges", flat(100, (480, 640)), vis, weight=1.0).luma.astype(int)
    assert np.abs(luma - int(PAINT.luma[100])).max() <= 90


def test_hot_shows_ir_from_its_level_on_vis_below_and_a_soft_step_between():
    ir = flat(0, (64, 768))
    for k, level in enumerate((0, 176, 188, 200, 255, 0)):
        ir[:, 128 * k : 128 * (k + 1)] = level
    frame = show("hot", ir, flat(50, (64, 768)), hot_level=200)
    middle = frame.luma[32, 64::128].astype(int)
    half = (50 + PAINT.luma[188]) / 2
    assert middle.tolist() == [50, 50, pytest.approx(half, abs=1), PAINT.luma[200], PAINT.luma[255], 50]
    assert frame.chroma[0][16, 32::64].tolist() == [90, 90, pytest.approx((90 + PAINT.u[188]) / 2, abs=1),
                                                     PAINT.u[200], PAINT.u[255], 90]  # fmt: skip


@pytest.mark.parametrize("level", [0, 255])
def test_hot_has_no_level_that_fails(level):
    frame = show("hot", flat(255), flat(50), hot_level=level)
    assert values(frame.luma) == {PAINT.luma[255]}


def test_a_divider_puts_ir_left_the_view_in_the_middle_and_vis_right():
    frame = show("fused", flat(10), flat(60), fused=flat(200), divider=0.5)
    row = frame.luma[30]
    lines = {16, 235}
    assert values(row[:30]) == {PAINT.luma[10]}
    assert values(row[34:62]) == {200}
    assert values(row[66:]) == {60}
    assert values(row[30:34]) == values(row[62:66]) == lines
    assert values(frame.chroma[0][:, :16]) == {PAINT.u[10]}
    assert values(frame.chroma[0][:, 16:]) == {90}


@pytest.mark.parametrize("place", [0.0, 0.01, 0.999, 1.0])
def test_a_divider_may_stand_anywhere(place):
    frame = show("vis", noise(1), noise(2), divider=place)
    assert frame.luma.shape == (64, 96)
    assert frame.chroma[0].shape == (32, 48)


def test_gray_output_has_no_colour_in_any_view():
    for view in VIEWS:
        assert show(view, noise(1), noise(2), fused=noise(3), tint="gray").chroma is None


SIZES = [(64, 96), (63, 95), (33, 64), (2, 2), (1, 1), (1, 7), (5, 1)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("chroma", [None, (90, 160)])
def test_every_view_keeps_the_size_and_never_writes_into_the_pair(size, full, chroma):
    ir, vis, fused = noise(1, size), noise(2, size), noise(3, size)
    for plane in (ir, vis, fused):
        plane.setflags(write=False)
    for view, name, divider in itertools.product(VIEWS, ("white hot", "lava"), (None, 0.4)):
        aligned = pair_of(ir, vis, chroma, full=full)
        for plane in aligned.chroma or ():
            plane.setflags(write=False)
        frame = render(fused, aligned, Choice(view, divider=divider), palette(name), INFO)
        assert (frame.luma.shape, frame.luma.dtype) == (size, np.uint8)
        small = size if full and chroma else ((size[0] + 1) // 2, (size[1] + 1) // 2)
        assert frame.chroma is None or [plane.shape for plane in frame.chroma] == [small, small]


def test_in_a_thicket_only_what_stands_out_of_it_is_drawn():
    """Every pixel has edges there; drawn all, they would hide the person that infrared shows."""
    leaves = (100 + np.random.default_rng(0).normal(0, 30, (480, 640))).clip(0, 255).astype(np.uint8)
    leaves[200:280, 300:340] = 255
    edges = show("edges", flat(100, (480, 640)), leaves).luma.astype(int) - PAINT.luma[100]
    assert (np.abs(edges) > 10).mean() < 0.12
    assert np.abs(edges[195:205, 305:335]).max(axis=0).min() > 30  # the outline of what is bright


@pytest.mark.parametrize("clip", ["m3svd_0111_1716", "m3svd_0115_1834"])
def test_real_edges_are_thin_and_hot_is_what_is_warm(clip):
    frames = []
    for name in ("ir", "vis"):
        with open_source(str(data("video", clip, f"{name}.mp4"))) as source:
            info = source.info
            frames.append(next(source.frames()))
            aligned = align(Pair(*frames, 0.0), Geometry(), Agc(), Agc()) if name == "vis" else None
    ir = render(None, aligned, Choice("ir"), IRON, info)
    edges = render(None, aligned, Choice("edges"), IRON, info)
    drawn = np.abs(edges.luma.astype(int) - ir.luma) > 25
    assert 0.01 < drawn.mean() < 0.2
    hot = render(None, aligned, Choice("hot", hot_level=200), IRON, info)
    changed = hot.luma != aligned.vis
    assert changed.any()
    assert aligned.ir[changed].mean() > aligned.ir.mean() + 60


def test_every_palette_goes_with_every_view():
    for view, name in itertools.product(VIEWS, PALETTES):
        assert show(view, noise(1), noise(2), fused=noise(3), colours=palette(name)).luma.std() > 5
