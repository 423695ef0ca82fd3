from __future__ import annotations

import av
import numpy as np
import pytest

from pipeline.frames import Colour
from pipeline.luma import TO_FULL, TO_LIMITED
from pipeline.picture import Painter
from pipeline.sink import SinkSettings
from pipeline.video_planes import plane_view
from tests.pipeline.sink_media import make_frame, make_info, read_planes, write_all

LOSSLESS = SinkSettings(codec="ffv1")


def test_limited_gray_ramp_is_lossless_in_ffv1(tmp_path):
    ramp = np.tile(np.arange(16, 236, dtype=np.uint8), (4, 1))
    write_all(tmp_path / "a.mkv", make_info(220, 4), [make_frame(TO_FULL[ramp])], LOSSLESS)
    y, u, v = read_planes(tmp_path / "a.mkv")[0]
    np.testing.assert_array_equal(y, ramp)
    assert set(u.ravel()) == set(v.ravel()) == {128}


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "gray"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_full_range_ramp_is_lossless_and_tagged(tmp_path, suffix, pixel_format):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    path = tmp_path / f"a{suffix}"
    info = make_info(256, 4, colour=Colour(True, 1, 13, 5))
    write_all(path, info, [make_frame(ramp)], SinkSettings(codec="ffv1", pixel_format=pixel_format))
    np.testing.assert_array_equal(read_planes(path)[0][0], ramp)
    with av.open(str(path)) as file:
        assert next(file.decode(video=0)).color_range == 2


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_full_range_becomes_limited_where_the_file_cannot_say_full(tmp_path, suffix):
    """AVI never can, MP4 only along with known primaries, transfer and matrix."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    path = tmp_path / f"a{suffix}"
    write_all(path, make_info(256, 4, colour=Colour(full_range=True)), [make_frame(ramp)], LOSSLESS)
    np.testing.assert_array_equal(read_planes(path)[0][0], TO_LIMITED[ramp])


def test_half_size_chroma_passes_untouched(tmp_path):
    rng = np.random.default_rng(2)
    chroma = tuple(rng.integers(0, 256, (24, 32), dtype=np.uint8) for _ in "uv")
    write_all(tmp_path / "a.mkv", make_info(), [make_frame(90, chroma)], LOSSLESS)
    _, u, v = read_planes(tmp_path / "a.mkv")[0]
    np.testing.assert_array_equal(u, chroma[0])
    np.testing.assert_array_equal(v, chroma[1])


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize(("full", "expected"), [(True, (90, 228, 8)), (False, (93, 216, 23))])
def test_full_size_chroma_follows_the_output_range(tmp_path, full, expected, pixel_format):
    """Limited by hand: 90*219/255+16 = 93.3; 128+100*224/255 = 215.8; 128-120*224/255 = 22.6."""
    chroma = (np.full((48, 64), 228, np.uint8), np.full((48, 64), 8, np.uint8))
    settings = SinkSettings(codec="ffv1", pixel_format=pixel_format)
    write_all(tmp_path / "a.mkv", make_info(colour=Colour(full_range=full)), [make_frame(90, chroma)], settings)
    assert [set(plane.ravel().tolist()) for plane in read_planes(tmp_path / "a.mkv")[0]] == [{x} for x in expected]


def test_ten_bits_hold_the_same_values(tmp_path):
    settings = SinkSettings(codec="ffv1", pixel_format="yuv420p10le")
    write_all(tmp_path / "a.mkv", make_info(), [make_frame(255)], settings)
    with av.open(str(tmp_path / "a.mkv")) as file:
        planes = next(file.decode(video=0)).to_ndarray()
    assert set(planes[:48].ravel().tolist()) == {235 * 4}


def test_mjpeg_is_full_range_in_luma_and_chroma(tmp_path):
    chroma = (np.full((24, 32), 240, np.uint8), np.full((24, 32), 16, np.uint8))  # the ends of limited range
    write_all(tmp_path / "a.mov", make_info(), [make_frame(200, chroma)], SinkSettings(codec="mjpeg"))
    y, u, v = read_planes(tmp_path / "a.mov")[0]
    assert abs(y.astype(int) - 200).max() <= 2  # quantiser 3
    assert u.min() >= 253
    assert v.max() <= 2


def test_png_in_mov_shows_the_right_colour(tmp_path):
    """BT.601 red: Y 81, U 90, V 240 limited; luma inside is full range, 76."""
    chroma = (np.full((24, 32), 90, np.uint8), np.full((24, 32), 240, np.uint8))
    info = make_info(colour=Colour(False, 6, 6, 6))
    write_all(tmp_path / "a.mov", info, [make_frame(76, chroma)], SinkSettings(codec="png", pixel_format="rgb24"))
    with av.open(str(tmp_path / "a.mov")) as file:
        rgb = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert abs(rgb.astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_odd_size_is_padded_by_repetition_and_noted(tmp_path, codec):
    luma = np.random.default_rng(3).integers(0, 256, (65, 67), dtype=np.uint8) // 8 * 8
    settings = SinkSettings(codec=codec, crf=1, preset="ultrafast")
    notes = write_all(tmp_path / "a.mp4", make_info(67, 65), [make_frame(luma)], settings)
    y = read_planes(tmp_path / "a.mp4")[0][0].astype(int)
    assert y.shape == (66, 68)
    assert abs(y[:, -1] - y[:, -2]).mean() < 4  # noise 8 apart, so other columns differ by about 70
    assert len(notes) == 1
    assert "67x65 is stored as 68x66" in notes[0]


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("size", [(47, 64), (48, 63), (47, 63)])
def test_one_odd_side_is_padded_as_well_as_two(size, full_range):
    luma = np.random.default_rng(4).integers(0, 256, size, dtype=np.uint8)
    info = make_info(size[1], size[0], colour=Colour(full_range=full_range))
    picture = Painter(info, "yuv420p", even=True, full_range=full_range).paint(make_frame(luma))
    wanted = luma if full_range else TO_LIMITED[luma]
    padding = [(0, side % 2) for side in size]
    np.testing.assert_array_equal(plane_view(picture.planes[0]), np.pad(wanted, padding, "edge"))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2), (67, 65)])
def test_ffv1_keeps_any_size(tmp_path, width, height):
    luma = np.random.default_rng(3).integers(0, 256, (height, width), dtype=np.uint8)
    notes = write_all(tmp_path / "a.mkv", make_info(width, height), [make_frame(luma)], LOSSLESS)
    np.testing.assert_array_equal(read_planes(tmp_path / "a.mkv")[0][0], TO_LIMITED[luma])
    assert notes == []
