"""One opener for all inputs: what a name is taken for, and one clear line for what cannot be opened."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.frames import InputError
from pipeline.image_source import ImageSource
from pipeline.luma import TO_FULL, TO_LIMITED
from pipeline.source import open_source
from pipeline.video_source import VideoSource
from tests.pipeline.media import numbered, ramp, write_image, write_video

ODD_NAMES = [
    "plain.mp4",
    "with space.mp4",
    "größe 温度.mp4",
    "100%d %03d.mp4",
    "-y.mp4",
    "concat:a.mp4",
    "a:b|c.mp4",
    "http:a.mp4",
    "star*[1]?.mp4",
    "no_suffix",
    "wrong.txt",
    "'quoted' \"twice\".mp4",
]


def error_line(path: str | Path, **options: object) -> str:
    """The one line that opening a path fails with."""
    with pytest.raises(InputError) as caught:
        open_source(path, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", numbered(5))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_video_of_any_name_is_opened(tmp_path: Path, video: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)
    for given in (name, Path(name), tmp_path / name):
        with open_source(given) as source:
            assert isinstance(source, VideoSource)
            assert source.info.name == name
            assert len(list(source.frames())) == 5


@pytest.mark.parametrize("name", ["a b.png", "größe.PNG", "%03d.png", "-y.png", "img[1]*.png", "http:a.png"])
def test_image_of_any_name_is_opened(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png", ramp(4, 8)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    source = open_source(name)
    assert isinstance(source, ImageSource)
    assert [frame.name for frame in source.frames()] == [name]


def test_name_that_is_not_utf8_is_opened(tmp_path: Path, video: Path) -> None:
    name = os.fsdecode(b"latin\xe9.mp4")
    (tmp_path / name).write_bytes(video.read_bytes())
    assert open_source(tmp_path / name).info.frames == 5


def test_glob_takes_what_it_matches_in_natural_order(tmp_path: Path) -> None:
    for name in ("ir10.png", "ir9.png", "vis1.png", "ir1.txt"):
        write_image(tmp_path / "x.png", ramp(2, 2)).rename(tmp_path / name)
    source = open_source(str(tmp_path / "ir*"))
    assert isinstance(source, ImageSource)
    assert source.names == ["ir9.png", "ir10.png"]


def test_name_with_glob_characters_is_taken_literally_first(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", np.full((2, 2), 7, np.uint8)).rename(tmp_path / "a[1].png")
    write_image(tmp_path / "a1.png", np.full((2, 2), 9, np.uint8))
    assert next(open_source(tmp_path / "a[1].png").frames()).luma[0, 0] == 7


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file or folder; check the name"),
        (b"", "empty file (0 bytes), not a video"),
        (b"hello world\n" * 50, "not a video that FFmpeg can read"),
        (b"\0" * 5000, "not a video that FFmpeg can read"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n", ""),
    ],
)
def test_what_is_no_video_is_one_clear_line(
    tmp_path: Path, content: bytes | None, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    assert expected in error_line(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".txt", ".nfo", ".srt", ".vtt", ".ans"])
@pytest.mark.parametrize(
    "text",
    ["hello world\n" * 100, "\x1b[1;31mhello\x1b[0m\n" * 100, "WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.000\na\n\n"],
)
def test_text_is_not_played_as_a_film(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"notes{suffix}"
    path.write_text(text)
    assert "give a" in error_line(path)


def test_truncated_mp4_is_one_clear_line(tmp_path: Path, video: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:-900])
    assert "MP4 without its index, cut short" in error_line(tmp_path / "cut.mp4")


def test_folder_without_images_is_one_clear_line(tmp_path: Path, video: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    assert "folder without images; put .bmp" in error_line(tmp_path)


def test_glob_without_images_says_what_it_found(tmp_path: Path, video: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    assert "matches 1 files, but no image" in error_line(str(tmp_path / "*.mp4"))
    assert "matches nothing" in error_line(str(tmp_path / "*.png"))


@pytest.mark.parametrize("address", ["http://a/b.mp4", "rtsp://cam/1", "file:///a.mp4", "udp://@:1234"])
def test_network_addresses_are_refused(address: str) -> None:
    assert "network addresses are not supported" in error_line(address)


def test_device_is_refused() -> None:
    assert "not a file; give a video file" in error_line("/dev/null")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"start": -1.0}, "--start -1.0: not a time"),
        ({"end": float("nan")}, "--end nan: not a time"),
        ({"start": float("inf")}, "--start inf: not a time"),
        ({"start": 2.0, "end": 2.0}, "--end 2.0 is not after --start 2.0"),
        ({"end": 0.0}, "--end 0.0 is not after --start 0"),
        ({"rate": Fraction(0)}, "--rate 0: not a frame rate"),
        ({"threads": -1}, "threads -1"),
    ],
)
def test_impossible_options_are_refused(video: Path, options: dict[str, object], expected: str) -> None:
    assert expected in error_line(video, **options)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    assert "not a file name" in error_line(name)


def test_limited_luma_survives_expanding_and_compressing() -> None:
    y = np.arange(16, 236)
    assert (TO_LIMITED[TO_FULL[y]] == y).all()


def test_luma_tables_by_hand() -> None:
    assert [int(TO_FULL[y]) for y in (0, 16, 17, 125, 126, 235, 255)] == [0, 0, 1, 127, 128, 255, 255]
    assert [int(TO_LIMITED[y]) for y in (0, 1, 127, 128, 255)] == [16, 17, 125, 126, 235]


def test_luma_tables_cannot_be_changed() -> None:
    for table in (TO_FULL, TO_LIMITED):
        assert table.dtype == np.uint8
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1
