from __future__ import annotations

import errno
import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.frames import Colour, OutputError
from pipeline.image_sink import to_image
from pipeline.luma import TO_FULL
from pipeline.sink import open_sink
from tests.pipeline.sink_media import make_frame, make_info


def _read(path: Path) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)


def _report(name: str, got: np.ndarray, wanted: np.ndarray) -> int:
    """Print the histogram of the error and return its largest value."""
    error = np.abs(got.astype(int) - wanted.astype(int))
    print(name, "max", error.max(), "mean", error.mean().round(3), "histogram", np.bincount(error.ravel())[:8])
    return int(error.max())


def _from_bgr(bgr: np.ndarray):
    """An image as luma and full-size chroma, full-range BT.601 (JFIF), from the formulas of ITU-T T.871."""
    b, g, r = (bgr[..., k].astype(float) for k in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    u, v = 128 + (b - y) / 1.772, 128 + (r - y) / 1.402
    y, u, v = (np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in (y, u, v))
    return y, (u, v)


# ---- colour


@pytest.mark.parametrize("full", [False, True])
def test_gray_image_comes_back_exactly(full):
    luma = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    neutral = np.full((48, 64), 128, np.uint8)
    image = to_image(make_frame(luma, (neutral, neutral)), make_info(colour=Colour(full)))
    np.testing.assert_array_equal(image, np.repeat(luma[..., None], 3, axis=2))


def test_colour_image_comes_back_within_2_levels():
    """Rounding luma and chroma to 8 bits costs up to 0.5 + 1.772 * 0.5 before the last rounding."""
    bgr = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    luma, chroma = _from_bgr(bgr)
    assert _report("jfif", to_image(make_frame(luma, chroma), make_info()), bgr) <= 2


def test_frame_without_chroma_becomes_a_gray_image():
    luma = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64).astype(np.uint8)
    np.testing.assert_array_equal(to_image(make_frame(luma), make_info()), luma)


@pytest.mark.parametrize(
    ("matrix", "yuv", "bgr"),
    [
        # Limited-range code values of the 100 % colours, as printed in EBU and SMPTE test bar tables.
        (6, (81, 90, 240), (0, 0, 255)), (6, (145, 54, 34), (0, 255, 0)), (6, (41, 240, 110), (255, 0, 0)),
        (1, (63, 102, 240), (0, 0, 255)), (1, (173, 42, 26), (0, 255, 0)), (1, (32, 240, 118), (255, 0, 0)),
        (9, (74, 97, 240), (0, 0, 255)), (1, (235, 128, 128), (255, 255, 255)), (6, (16, 128, 128), (0, 0, 0)),
    ],
)  # fmt: skip
def test_test_bars_get_their_colours(matrix, yuv, bgr):
    y, u, v = yuv
    chroma = (np.full((24, 32), u, np.uint8), np.full((24, 32), v, np.uint8))
    frame = make_frame(int(TO_FULL[y]), chroma)
    image = to_image(frame, make_info(colour=Colour(False, matrix=matrix)))
    assert _report(f"bars {yuv}", image, np.broadcast_to(bgr, image.shape)) <= 2  # 8-bit code values are rounded


@pytest.mark.parametrize(("width", "height", "like"), [(640, 480, 6), (1280, 720, 1), (720, 578, 1)])
def test_unspecified_matrix_goes_by_size(width, height, like):
    chroma = tuple(np.full((height // 2, width // 2), x, np.uint8) for x in (90, 240))
    frame = make_frame(np.full((height, width), 76, np.uint8), chroma)
    image = to_image(frame, make_info(width, height))
    np.testing.assert_array_equal(image, to_image(frame, make_info(width, height, colour=Colour(matrix=like))))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6])
def test_video_colours_agree_with_swscale(full, matrix):
    """A witness from outside, on a smooth picture: where chroma lies between its samples the two differ a little."""
    y, x = np.mgrid[0:48, 0:64]
    u, v = (100 + x[::2, ::2]).astype(np.uint8), (150 - y[::2, ::2]).astype(np.uint8)
    stored = (40 + 2 * x + y).astype(np.uint8)
    picture = av.VideoFrame.from_ndarray(
        np.concatenate([stored.ravel(), u.ravel(), v.ravel()]).reshape(72, 64), "yuv420p"
    )
    picture.color_range, picture.colorspace = 2 if full else 1, matrix
    given = {"src_colorspace": {1: "ITU709", 6: "ITU601"}[matrix], "src_color_range": "JPEG" if full else "MPEG"}
    wanted = picture.reformat(format="bgr24", dst_color_range="JPEG", **given).to_ndarray()
    luma = stored if full else TO_FULL[stored]
    image = to_image(make_frame(luma, (u, v)), make_info(colour=Colour(full, matrix=matrix)))
    assert _report(f"swscale {full} {matrix}", image, wanted) <= 5  # chroma here changes by 1 a pixel, times up to 2.1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (48, 63), (1, 64)])
def test_odd_sizes_keep_their_size(height, width):
    half = ((height + 1) // 2, (width + 1) // 2)
    chroma = (np.full(half, 90, np.uint8), np.full(half, 90, np.uint8))
    frame = make_frame(np.full((height, width), 90, np.uint8), chroma)
    assert to_image(frame, make_info(width, height)).shape == (height, width, 3)


# ---- files


@pytest.mark.parametrize("name", ["a.png", "é ж 赤.PNG", "a.tif", "a.tiff", "a.bmp"])
def test_single_image_is_stored_without_loss(tmp_path, name):
    luma = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    sink = open_sink(tmp_path / name, make_info())
    sink.write(make_frame(luma))
    sink.close()
    np.testing.assert_array_equal(_read(tmp_path / name), luma)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_jpeg_is_close(tmp_path):
    luma = np.add.outer(np.arange(48), 2 * np.arange(64)).astype(np.uint8)
    open_sink(tmp_path / "a.jpg", make_info()).write(make_frame(luma))
    assert _report("jpeg", _read(tmp_path / "a.jpg"), luma) <= 4  # quality 95


def test_second_frame_for_one_image_file_is_refused(tmp_path):
    sink = open_sink(tmp_path / "a.png", make_info())
    sink.write(make_frame(7))
    with pytest.raises(OutputError, match="folder or a video"):
        sink.write(make_frame(8, index=1))
    sink.close()
    assert _read(tmp_path / "a.png").max() == 7


def test_folder_keeps_the_names_it_can(tmp_path):
    given = ["a.png", "b.tif", "c.JPG", "d.webp", "e", "", "../../f.bmp", "..", "sub\\g.png", "a.gif"]
    sink = open_sink(tmp_path / "out", make_info())
    for index, name in enumerate(given):
        sink.write(make_frame(index, index=index, name=name))
    sink.close()
    stored = {"a.png": 0, "b.tif": 1, "d.png": 3, "e.png": 4, "000005.png": 5, "f.bmp": 6, "000007.png": 7, "g.png": 8}
    stored["a_000009.png"] = 9
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*stored, "c.JPG"}
    assert {name: int(_read(tmp_path / "out" / name)[0, 0]) for name in stored} == stored
    assert sink.notes() == ["1 images got their number added to the name: another already had it"]


def test_no_frames_make_no_folder(tmp_path):
    open_sink(tmp_path / "out", make_info()).close()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_no_half_image(tmp_path, monkeypatch):
    sink = open_sink(tmp_path / "out", make_info())
    sink.write(make_frame(1))

    def fail(path: Path, data: bytes) -> int:
        with open(path, "wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="disk full after 1 images"):
        sink.write(make_frame(2, index=1))
    sink.close()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000000.png"]


def test_folder_that_became_a_file_is_an_output_error(tmp_path):
    sink = open_sink(tmp_path / "out", make_info())
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(OutputError, match="nothing was written"):
        sink.write(make_frame(1))
