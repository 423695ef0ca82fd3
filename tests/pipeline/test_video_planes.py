"""Pixels of video files: every format, exact where it can be, upright."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from pipeline.frames import InputError
from pipeline.luma import TO_FULL
from pipeline.video_planes import PlaneReader, layout_of
from tests.pipeline.media import data, gray, noise, numbered, opened, planar, ramp, read, write_video


@pytest.mark.parametrize("shape", [(48, 64), (47, 63), (1, 1), (2, 300), (33, 1)])
def test_limited_yuv420p_is_expanded_and_chroma_kept_exactly(tmp_path: Path, shape: tuple[int, int]) -> None:
    half = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
    y, u, v = noise(*shape), noise(*half, 1), noise(*half, 2)
    (frame,) = read(write_video(tmp_path / "a.nut", [planar(y, u, v)], codec="rawvideo"))
    assert (frame.luma == TO_FULL[y]).all()
    assert frame.chroma is not None
    assert (frame.chroma[0] == u).all()
    assert (frame.chroma[1] == v).all()


def test_full_range_luma_is_a_view_of_the_decoders_memory(tmp_path: Path) -> None:
    picture = planar(noise(48, 64))
    picture.color_range = ColorRange.JPEG
    source = opened(write_video(tmp_path / "a.mkv", [picture], codec="ffv1"))
    (frame,) = source.frames()
    assert source.info.colour.full_range
    assert (frame.luma == noise(48, 64)).all()
    assert not frame.luma.flags.owndata
    assert not frame.luma.flags.writeable


def test_decoded_planes_cannot_be_written_into(tmp_path: Path) -> None:
    (frame,) = read(write_video(tmp_path / "a.mkv", [planar(noise(8, 8))], codec="ffv1"))
    assert frame.chroma is not None
    for plane in frame.chroma:
        with pytest.raises(ValueError, match="read-only"):
            plane[0, 0] = 1


def test_gray_is_full_range_and_has_no_chroma(tmp_path: Path) -> None:
    source = opened(write_video(tmp_path / "a.mkv", [gray(noise(48, 64))], codec="ffv1"))
    (frame,) = source.frames()
    assert (frame.luma == noise(48, 64)).all()
    assert frame.chroma is None
    assert source.info.colour.full_range


def test_gray_tagged_limited_is_expanded(tmp_path: Path) -> None:
    picture = gray(noise(48, 64))
    picture.color_range = ColorRange.MPEG
    (frame,) = read(write_video(tmp_path / "a.mkv", [picture], codec="ffv1"))
    assert (frame.luma == TO_FULL[noise(48, 64)]).all()


@pytest.mark.parametrize("kind", ["gray16le", "gray10le", "gray12le"])
def test_deep_gray_keeps_its_counts(tmp_path: Path, kind: str) -> None:
    top = 2 ** int(kind[4:-2])
    counts = np.random.default_rng(0).integers(0, top, (48, 64)).astype(np.uint16)
    source = opened(write_video(tmp_path / "a.mkv", [gray(counts, kind)], codec="ffv1"))
    (frame,) = source.frames()
    assert source.info.bits == 16
    assert frame.luma.dtype == np.uint16
    assert (frame.luma == counts).all()
    assert frame.chroma is None


def test_big_endian_gray_is_turned_into_native_counts(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 65536, (48, 64)).astype(np.uint16)
    path = write_video(tmp_path / "a.nut", [gray(counts.byteswap(), "gray16be")], codec="rawvideo")
    (frame,) = read(path)
    assert frame.luma.dtype == np.uint16
    assert (frame.luma == counts).all()


FORMATS = [  # pixel format, codec, file type, tolerance
    ("yuv420p", "ffv1", "mkv", 0),
    ("yuvj420p", "mjpeg", "mov", 3),  # lossy
    ("yuv422p", "ffv1", "mkv", 0),
    ("yuv444p", "ffv1", "mkv", 0),
    ("yuv411p", "ffv1", "mkv", 0),
    ("yuv410p", "ffv1", "mkv", 0),
    ("yuv440p", "rawvideo", "nut", 0),
    ("yuva420p", "ffv1", "mkv", 0),
    ("yuva444p", "ffv1", "mkv", 0),
    ("yuv420p10le", "ffv1", "mkv", 1),  # swscale's dither when it drops bits
    ("yuv420p12le", "ffv1", "mkv", 1),
    ("yuv422p10le", "ffv1", "mkv", 1),
    ("yuv444p16le", "ffv1", "mkv", 1),
    ("yuv420p10le", "libx265", "mp4", 3),  # lossy
    ("nv12", "rawvideo", "nut", 0),
    ("nv21", "rawvideo", "nut", 0),
    ("yuyv422", "rawvideo", "nut", 0),
    ("uyvy422", "rawvideo", "avi", 0),
    ("rgb24", "png", "mov", 1),  # rounding of the matrix
    ("rgba", "png", "mov", 1),
    ("rgb48be", "png", "mov", 1),
    ("bgra", "ffv1", "mkv", 1),
    ("bgr24", "rawvideo", "avi", 1),  # bottom-up
    ("gbrp", "utvideo", "avi", 1),
    ("gbrp10le", "ffv1", "mkv", 1),
    ("rgb565le", "rawvideo", "nut", 7),  # 5 bits of red and blue
    ("gray", "ffv1", "mkv", 0),
    ("ya8", "png", "mov", 0),
    ("pal8", "png", "mov", 2),
]


@pytest.mark.parametrize(("kind", "codec", "suffix", "tolerance"), FORMATS)
def test_every_pixel_format_shows_the_same_ramp(
    tmp_path: Path, kind: str, codec: str, suffix: str, tolerance: int
) -> None:
    wanted = ramp(48, 64)
    picture = _in_format(wanted, kind)
    source = opened(write_video(tmp_path / f"a.{suffix}", [picture] * 3, codec=codec))
    first, *_ = frames = list(source.frames())
    assert len(frames) == 3
    error = np.abs(first.luma.astype(int) - wanted)
    # Limited range has 220 levels for 256: after expansion up to 1 beside the ramp even without loss.
    allowed = tolerance + (not source.info.colour.full_range)
    assert error.max() <= allowed, f"max {error.max()}, mean {error.mean():.2f}, histogram {np.bincount(error.ravel())}"
    if kind in ("gray", "ya8"):
        assert first.chroma is None
    else:
        assert first.chroma is not None
        assert first.chroma[0].shape == first.chroma[1].shape == (24, 32)
        assert np.abs(np.stack(first.chroma).astype(int) - 128).max() <= (9 if kind == "rgb565le" else 1)


def _in_format(wanted: np.ndarray, kind: str) -> VideoFrame:
    """A gray ramp (H, W) uint8 in a pixel format, YUV in limited range."""
    if kind == "pal8":
        palette = np.dstack([np.full(256, 255)] + [np.arange(256)] * 3)[0].astype(np.uint8)  # ARGB
        return VideoFrame.from_ndarray((wanted, palette), "pal8")
    as_rgb = VideoFrame.from_ndarray(np.dstack([wanted] * 3), "rgb24")
    is_rgb = av.VideoFormat(kind).is_rgb
    full = is_rgb or kind.startswith(("gray", "ya8", "yuvj"))
    picture = (
        as_rgb
        if kind == "rgb24"
        else as_rgb.reformat(
            format=kind,
            src_color_range="JPEG",
            dst_color_range="JPEG" if full else "MPEG",
            dst_colorspace=None if is_rgb else "ITU601",
            interpolation="BILINEAR",
        )
    )
    picture.color_range = ColorRange.JPEG if kind.startswith("yuvj") else ColorRange.UNSPECIFIED
    return picture


def test_converted_rgb_is_described_as_full_range_bt601(tmp_path: Path) -> None:
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[...] = (200, 100, 50)
    source = opened(write_video(tmp_path / "a.mov", [VideoFrame.from_ndarray(rgb, "rgb24")], codec="png"))
    (frame,) = source.frames()
    assert (source.info.colour.full_range, source.info.colour.matrix) == (True, 6)
    assert frame.chroma is not None
    y = 0.299 * 200 + 0.587 * 100 + 0.114 * 50  # ITU-R BT.601
    assert [int(plane[4, 4]) for plane in (frame.luma, *frame.chroma)] == pytest.approx(
        [y, 128 + (50 - y) / 1.772, 128 + (200 - y) / 1.402], abs=1
    )


def test_bottom_up_gray_avi_is_upright(tmp_path: Path) -> None:
    picture = noise(20, 32)
    path = write_video(tmp_path / "a.avi", [gray(picture)], codec="rawvideo")
    (frame,) = read(path)
    witness = next(av.open(str(path)).decode(video=0)).to_ndarray(format="gray")
    assert (frame.luma == witness).all()


def test_colour_tags_are_passed_on(tmp_path: Path) -> None:
    options = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}
    source = opened(write_video(tmp_path / "a.mp4", numbered(2), options=options))
    colour = source.info.colour
    assert (colour.full_range, colour.primaries, colour.transfer, colour.matrix) == (False, 1, 1, 1)


def test_luma_is_the_same_as_opencv_decodes(tmp_path: Path) -> None:
    path = data("video", "tno_duine_lossless", "ir.mkv")
    capture = cv2.VideoCapture(str(path))
    for frame in read(path):
        _, witness = capture.read()
        assert (frame.luma == witness[..., 0]).all()
    assert not capture.read()[0]


def test_frames_stay_valid_while_16_more_are_decoded_and_after_closing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(40), options={"preset": "ultrafast"})
    copies, kept = [], []
    with opened(path) as source:
        for frame in source.frames():
            assert frame.chroma is not None
            kept.append((frame.luma, *frame.chroma))
            copies.append(tuple(plane.copy() for plane in kept[-1]))
    gc.collect()
    for planes, copied in zip(kept, copies, strict=True):
        assert all((a == b).all() for a, b in zip(planes, copied, strict=True))


@pytest.mark.parametrize("kind", ["p010le", "p210le", "y210le", "xv36le", "nv24", "x2rgb10le", "xyz12le", "grayf32le"])
def test_formats_of_hardware_and_cinema_show_the_same_ramp(kind: str) -> None:
    wanted = ramp(48, 64)
    if kind == "grayf32le":  # swscale stretches float gray, so not by it
        picture = VideoFrame.from_ndarray((wanted / 255).astype(np.float32), kind)
    else:
        picture = _in_format(wanted, kind)
    layout = layout_of(picture)
    luma, chroma = PlaneReader(layout, "a.mkv").read(picture)
    if layout.bits == 16:
        assert chroma is None
        luma = (luma / 257).round().astype(np.uint8)
    assert np.abs(luma.astype(int) - wanted).max() <= 2  # 10 bits to 8, then 220 levels to 256


@pytest.mark.parametrize("matrix", range(18))
def test_no_matrix_tag_stops_a_conversion(matrix: int) -> None:
    picture = _in_format(ramp(48, 64), "yuv444p")
    picture.colorspace = matrix
    layout = layout_of(picture)
    luma, _ = PlaneReader(layout, "a.mkv").read(picture)
    assert layout.colour.matrix == (matrix or 2)  # RGB it is not
    assert np.abs(luma.astype(int) - ramp(48, 64)).max() <= 1


def test_limited_rgb_is_expanded_once(tmp_path: Path) -> None:
    limited = ramp(48, 64, 16, 235)
    picture = VideoFrame.from_ndarray(np.dstack([limited] * 3), "rgb24")
    picture.color_range = ColorRange.MPEG
    layout = layout_of(picture)
    luma, _ = PlaneReader(layout, "a.mkv").read(picture)
    assert not layout.colour.full_range
    assert np.abs(luma.astype(int) - TO_FULL[limited]).max() <= 1


def test_format_that_cannot_be_converted_is_one_clear_line() -> None:
    picture = VideoFrame(16, 16, "rgb4")
    with pytest.raises(InputError, match=r"^a\.mkv: pixel format rgb4, 16x16: cannot be turned into yuv420p;"):
        PlaneReader(layout_of(picture), "a.mkv").read(picture)


@pytest.mark.parametrize("rotation", [(angle, flip, False) for angle in (0, 90, 180, 270) for flip in (False, True)])
def test_rotated_video_is_upright(tmp_path: Path, rotation: tuple[float, bool, bool]) -> None:
    y, u = noise(32, 64), noise(16, 32, 1)
    path = write_video(
        tmp_path / "a.mp4",
        [planar(y, u)] * 2,
        options={"qp": "0"},
        rotation=rotation,
        aspect=Fraction(4, 3),
    )
    with opened(path) as source:
        frame = next(source.frames())
    turned = rotation[0] in (90, 270)
    assert (source.info.width, source.info.height) == ((32, 64) if turned else (64, 32))
    assert source.info.sample_aspect == (Fraction(3, 4) if turned else Fraction(4, 3))
    assert frame.chroma is not None
    for plane, stored in ((frame.luma, TO_FULL[y]), (frame.chroma[0], u)):
        upright = np.rot90(stored, rotation[0] // 90)
        assert (plane == (upright[:, ::-1] if rotation[1] else upright)).all()


def test_rotation_agrees_with_opencv(tmp_path: Path) -> None:
    picture = np.full((32, 64), 40, np.uint8)
    picture[:16, :32] = 200
    path = write_video(tmp_path / "a.mp4", [planar(picture)] * 2, rotation=(90, False, False))
    capture = cv2.VideoCapture(str(path))
    witness = capture.read()[1][..., 1]
    assert (read(path)[0].luma > 120).tolist() == (witness > 120).tolist()


def test_slanted_display_matrix_is_reported_not_applied(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(2), rotation=(45, False, False))
    source = opened(path)
    assert [frame.luma.shape for frame in source.frames()] == [(48, 64)] * 2
    assert "rotation that is not a multiple of 90 degrees" in source.remarks()[0]
