from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from pipeline.encoding import check_settings, encoder_options
from pipeline.frames import InputError
from pipeline.sink import SinkSettings, open_sink
from tests.pipeline.sink_media import flat_frames, make_frame, make_info, write_all


@pytest.mark.parametrize(
    ("codec", "suffix", "pixel_format"),
    [
        ("libx264", ".mp4", "yuv420p"), ("libx264", ".mkv", "gray"), ("libx264", ".mov", "yuv444p"),
        ("libx264", ".avi", "yuv420p"), ("libx264", ".ts", "yuv420p"), ("libx265", ".mp4", "yuv420p"),
        ("libx265", ".mkv", "yuv420p10le"), ("libsvtav1", ".mp4", "yuv420p"), ("libsvtav1", ".webm", "yuv420p"),
        ("libvpx-vp9", ".webm", "yuv420p"), ("ffv1", ".mkv", "gray"), ("ffv1", ".avi", "yuv420p"),
        ("mjpeg", ".avi", "yuv420p"), ("mpeg4", ".ts", "yuv420p"), ("png", ".mov", "gray"), ("png", ".avi", "rgb24"),
    ],
)  # fmt: skip
def test_every_codec_gives_back_count_and_brightness(tmp_path, codec, suffix, pixel_format):
    path = tmp_path / f"a{suffix}"
    settings = SinkSettings(codec=codec, pixel_format=pixel_format, preset="ultrafast")
    write_all(path, make_info(), [make_frame(200, pts=3000 * i, index=i) for i in range(8)], settings)
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == 8
    if pixel_format == "gray" and codec != "png":  # swscale takes gray for full range whatever its tag
        return
    assert max(abs(frame.astype(int) - 200).max() for frame in frames) <= 4  # lossy codecs on a flat picture


def test_what_a_file_type_cannot_say_is_noted(tmp_path):
    info = make_info(sample_aspect=Fraction(4, 3), metadata={"title": "a"})
    assert "title left out" in write_all(tmp_path / "a.ts", info, flat_frames([0, 3000]))[0]
    settings = SinkSettings(codec="libvpx-vp9", preset="ultrafast")
    assert "sample aspect 4/3 left out" in write_all(tmp_path / "a.webm", info, flat_frames([0]), settings)[0]


@pytest.mark.parametrize(
    ("settings", "suffix", "said"),
    [
        (SinkSettings(codec="h263"), ".mp4", "libx264, libx265"),
        (SinkSettings(preset="warp"), ".mp4", "ultrafast, superfast"),
        (SinkSettings(codec="libsvtav1", preset="14"), ".mp4", "12, 13"),
        (SinkSettings(crf=52), ".mp4", "0 \\(best\\) to 51"),
        (SinkSettings(crf=-1), ".mp4", "0 \\(best\\) to 51"),
        (SinkSettings(pixel_format="rgb24"), ".mp4", "yuv420p, yuv422p"),
        (SinkSettings(codec="png"), ".mov", "rgb24, gray"),
        (SinkSettings(threads=-1), ".mp4", "0 \\(one per core\\)"),
        (SinkSettings(), ".webm", "use libsvtav1 or libvpx-vp9"),
        (SinkSettings(codec="ffv1"), ".ts", "libx264 or libx265 or mpeg4"),
        (SinkSettings(codec="libx265"), ".avi", "cannot hold libx265"),
    ],
)
def test_settings_that_do_not_fit_name_what_does(tmp_path, settings, suffix, said):
    with pytest.raises(InputError, match=said):
        open_sink(tmp_path / f"a{suffix}", make_info(), settings)
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_of_a_gpu_is_told_quality_and_speed_in_its_own_words():
    settings = SinkSettings("h264_nvenc", crf=23, preset="veryfast")
    options = encoder_options(settings, check_settings(settings, Path("a.mp4")))
    assert options == {"rc": "vbr", "cq": "23", "preset": "p2", "flags": "+frame_duration"}
    with pytest.raises(InputError, match=r"h264_nvenc takes 1 \(best\) to 51"):
        check_settings(SinkSettings("h264_nvenc", crf=0), Path("a.mp4"))
    with pytest.raises(InputError, match="h264_nvenc takes one of yuv420p"):
        check_settings(SinkSettings("h264_nvenc", pixel_format="yuv444p"), Path("a.mp4"))


def test_auto_means_x264_where_no_gpu_holds_the_frames(tmp_path):
    assert (SinkSettings().codec, SinkSettings().encoder, SinkSettings("ffv1").encoder) == ("auto", "libx264", "ffv1")
    write_all(tmp_path / "a.mp4", make_info(), flat_frames([0]), SinkSettings())
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert file.streams.video[0].codec_context.codec.canonical_name == "h264"
