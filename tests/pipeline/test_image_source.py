"""Images as frames: order, pixels, colours, bit depths, and what is left out."""

from __future__ import annotations

import string
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.frames import InputError
from pipeline.image_source import IMAGE_SUFFIXES, natural_key, open_images, read_image
from pipeline.source import open_source
from tests.pipeline.media import data, noise, ramp, write_image

NAMES = st.lists(st.text(string.ascii_letters + string.digits + "_-.é", min_size=1, max_size=8), max_size=8)


def test_img2_comes_before_img10() -> None:
    names = ["img10.png", "img2.png", "IMG1.png", "img02.png", "a.png", "10.png", "9.png"]
    expected = ["9.png", "10.png", "a.png", "IMG1.png", "img02.png", "img2.png", "img10.png"]
    assert sorted(names, key=natural_key) == expected


@given(NAMES)
def test_natural_order_depends_on_names_only(names: list[str]) -> None:
    by_letters = sorted(names)
    assert sorted(names, key=natural_key) == sorted(by_letters, key=natural_key)


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=10))
def test_natural_order_is_that_of_the_numbers(numbers: list[int]) -> None:
    assert sorted((f"f{n}.png" for n in numbers), key=natural_key) == [f"f{n}.png" for n in sorted(numbers)]


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES - {".pgm", ".jpg", ".jpeg", ".webp"}))
def test_lossless_colour_is_full_range_bt601(tmp_path: Path, suffix: str) -> None:
    bgr = np.dstack([noise(13, 17, seed) for seed in range(3)])
    luma, chroma = read_image(write_image(tmp_path / f"a{suffix}", bgr))
    b, g, r = (bgr[..., k].astype(float) for k in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b  # ITU-R BT.601, the matrix of JFIF
    expected = (y, 128 + (b - y) * 0.564, 128 + (r - y) * 0.713)
    assert chroma is not None
    for plane, values in zip((luma, *chroma), expected, strict=True):
        assert plane.shape == (13, 17)
        assert plane.dtype == np.uint8
        assert np.abs(plane - np.clip(values, 0, 255)).max() <= 1.0  # rounding of both, and of 0.564 and 0.713


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".pgm"])
def test_gray_is_kept_exactly_and_has_no_chroma(tmp_path: Path, suffix: str) -> None:
    pixels = noise(9, 15)
    luma, chroma = read_image(write_image(tmp_path / f"a{suffix}", pixels))
    assert (luma == pixels).all()
    assert chroma is None


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_16_bit_gray_is_kept_exactly(tmp_path: Path, suffix: str) -> None:
    counts = np.random.default_rng(1).integers(0, 65536, (9, 15)).astype(np.uint16)
    luma, chroma = read_image(write_image(tmp_path / f"a{suffix}", counts))
    assert luma.dtype == np.uint16
    assert (luma == counts).all()
    assert chroma is None


def test_16_bit_colour_loses_its_low_byte(tmp_path: Path) -> None:
    bgr = np.dstack([noise(8, 8, seed) for seed in range(3)])
    deep, _ = read_image(write_image(tmp_path / "a.png", bgr.astype(np.uint16) * 256 + 255))
    plain, _ = read_image(write_image(tmp_path / "b.png", bgr))
    assert (deep == plain).all()


def test_equal_channels_are_gray_content_but_still_colour(tmp_path: Path) -> None:
    pixels = noise(8, 8)
    luma, chroma = read_image(write_image(tmp_path / "a.png", np.dstack([pixels] * 3)))
    assert (luma == pixels).all()
    assert chroma is not None
    assert (np.stack(chroma) == 128).all()


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    bgr = np.dstack([noise(8, 8, seed) for seed in range(3)])
    with_alpha, _ = read_image(write_image(tmp_path / "a.png", np.dstack([bgr, noise(8, 8, 9)])))
    without, _ = read_image(write_image(tmp_path / "b.png", bgr))
    assert (with_alpha == without).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    upright = np.kron(np.array([[0, 255, 128], [255, 0, 60]], np.uint8), np.ones((16, 16), np.uint8))
    path = write_image(tmp_path / "a.jpg", cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))
    tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6: turn right
    jpeg = path.read_bytes()
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + (len(tiff) + 2).to_bytes(2, "big") + tiff + jpeg[2:])
    luma, _ = read_image(path)
    assert luma.shape == upright.shape
    assert np.abs(luma.astype(int) - upright).max() <= 8  # JPEG


def test_float_image_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.tiff", np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match="float32; give images of 8 or 16 bits"):
        open_source(path)


def test_folder_is_read_in_natural_order_at_25_frames_a_second(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_image(tmp_path / f"img{number}.png", np.full((4, 6), number, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._img1.png").write_bytes(b"macOS")
    with open_source(tmp_path) as source:
        frames = list(source.frames())
        assert source.names == ["img1.png", "img2.png", "img10.png"]
    assert source.complaints() == []
    info = source.info
    assert (info.width, info.height, info.frames, info.bits) == (6, 4, 3, 8)
    assert (info.rate, info.time_base, info.colour.full_range) == (25, Fraction(1, 25), True)
    assert [(f.luma[0, 0], f.name, f.pts, f.index, f.time) for f in frames] == [
        (1, "img1.png", 0, 0, 0.0),
        (2, "img2.png", 1, 1, 0.04),
        (10, "img10.png", 2, 2, 0.08),
    ]


def test_rate_of_images_is_exact(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", ramp(4, 4))
    assert open_source(tmp_path, rate=Fraction(30000, 1001)).info.time_base == Fraction(1001, 30000)


def test_start_and_end_choose_images_and_keep_their_times(tmp_path: Path) -> None:
    for number in range(10):
        write_image(tmp_path / f"{number}.png", np.full((2, 2), number, np.uint8))
    source = open_source(tmp_path, start=0.3, end=0.6, rate=Fraction(10))
    assert [(f.luma[0, 0], f.pts, f.index) for f in source.frames()] == [(3, 3, 0), (4, 4, 1), (5, 5, 2)]


def test_part_without_an_image_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", ramp(4, 4))
    with pytest.raises(InputError, match="no image between --start and --end of 1"):
        open_source(tmp_path, start=1)


def test_chosen_images_come_in_the_chosen_order(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{n}.png", np.full((2, 2), n, np.uint8)) for n in range(4)]
    source = open_images([paths[3], paths[0], paths[2]])
    assert source.names == ["3.png", "0.png", "2.png"]
    assert [(f.luma[0, 0], f.pts) for f in source.frames()] == [(3, 0), (0, 1), (2, 2)]


def test_no_images_is_an_error() -> None:
    with pytest.raises(InputError, match="no images"):
        open_images([])


def test_sizes_may_differ_and_the_first_tells(tmp_path: Path) -> None:
    for number, shape in enumerate([(4, 6), (8, 2)]):
        write_image(tmp_path / f"{number}.png", noise(*shape))
    source = open_source(tmp_path)
    assert (source.info.width, source.info.height) == (6, 4)
    assert [frame.luma.shape for frame in source.frames()] == [(4, 6), (8, 2)]


@pytest.mark.parametrize("broken", ["0.png", "1.png", "2.png"])
def test_unreadable_image_is_left_out_and_named(tmp_path: Path, broken: str, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", np.full((4, 4), number, np.uint8))
    (tmp_path / broken).write_bytes((tmp_path / broken).read_bytes()[:40])
    source = open_source(tmp_path)
    kept = [n for n in range(3) if f"{n}.png" != broken]
    assert [(frame.luma[0, 0], frame.pts, frame.index) for frame in source.frames()] == [
        (n, n, index) for index, n in enumerate(kept)
    ]
    assert source.complaints() == [f"{tmp_path.name}: left out {broken}: not an image that can be read; check the file"]
    assert "OpenCV" not in capfd.readouterr().err


def test_folder_of_unreadable_images_is_one_clear_line(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"not a PNG")
    with pytest.raises(InputError, match=r"not one of 3 images can be read; 0\.png: not an image") as caught:
        open_source(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"garbage" * 100])
def test_unreadable_single_image_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"^a\.png: not an image that can be read; check the file$"):
        open_source(tmp_path / "a.png")


def test_image_wider_than_allowed_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((1, 16385), np.uint8))
    with pytest.raises(InputError, match="16385x1, at most 16384 a side"):
        open_source(tmp_path / "a.png")


def test_frames_can_be_iterated_once(tmp_path: Path) -> None:
    source = open_source(write_image(tmp_path / "a.png", ramp(2, 2)))
    list(source.frames())
    with pytest.raises(RuntimeError, match="once"):
        next(source.frames())
    source.close()
    source.close()


def test_real_folders_pair_by_name() -> None:
    ir, vis = open_source(data("train", "msrs", "ir")), open_source(data("train", "msrs", "vis"))
    assert ir.names == vis.names
    assert len(ir.names) == 36
    frame = next(vis.frames())
    assert frame.chroma is not None
    assert frame.chroma[0].shape == frame.luma.shape == (480, 640)


def test_real_raw_counts_keep_16_bits() -> None:
    source = open_source(data("raw16"))
    assert source.info.bits == 16
    frames = list(source.frames())
    assert len(frames) == 8
    witness = cv2.imread(str(data("raw16", frames[0].name)), cv2.IMREAD_UNCHANGED)
    assert (frames[0].luma == witness).all()
