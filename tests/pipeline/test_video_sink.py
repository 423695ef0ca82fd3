from __future__ import annotations

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.frames import Colour, OutputError
from pipeline.sink import SinkSettings, open_sink
from tests.pipeline.sink_media import FAST, flat_frames, make_frame, make_info, read_times, write_all

LOSSLESS = SinkSettings(codec="ffv1")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shortest_videos_are_stored(tmp_path, codec, count):
    """x265 gives one or two frames a random decode time every third run, which no file type takes."""
    settings = SinkSettings(codec=codec, preset="ultrafast", overwrite=True)
    for _ in range(6):
        write_all(tmp_path / "a.mp4", make_info(), flat_frames(range(0, 3000 * count, 3000)), settings)
        assert read_times(tmp_path / "a.mp4") == [Fraction(i, 30) for i in range(count)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_colour_and_aspect_are_read_back(tmp_path, suffix):
    info = make_info(colour=Colour(False, 9, 16, 9), sample_aspect=Fraction(4, 3))
    write_all(tmp_path / f"a{suffix}", info, flat_frames([0, 3000]))
    with av.open(str(tmp_path / f"a{suffix}")) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        tags = context.color_range, context.color_primaries, context.color_trc, context.colorspace
        assert tags == (1, 9, 16, 9)
        assert stream.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("extra", [{}, {"camera_serial": "Ж7"}])
def test_metadata_is_read_back(tmp_path, suffix, extra):
    given = {"title": "Nacht über Köln", "creation_time": "2024-01-02T03:04:05.000000Z", **extra}
    write_all(tmp_path / f"a{suffix}", make_info(metadata=given), flat_frames([0, 3000]))
    with av.open(str(tmp_path / f"a{suffix}")) as file:
        found = {key.lower(): value for key, value in file.metadata.items()}  # MKV writes its keys in capitals
    assert found.items() >= given.items()


def test_no_frames_leave_no_file(tmp_path):
    assert write_all(tmp_path / "a.mp4", make_info(), []) == []
    assert list(tmp_path.iterdir()) == []


def test_no_frames_leave_the_old_file_alone(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")
    write_all(tmp_path / "a.mp4", make_info(), [], SinkSettings(overwrite=True))
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


def test_close_twice_and_write_after_it(tmp_path):
    sink = open_sink(tmp_path / "a.mp4", make_info(), FAST)
    sink.write(make_frame(1))
    sink.close()
    sink.close()
    with pytest.raises(ValueError, match="already closed"):
        sink.write(make_frame(1, pts=3000))
    assert len(read_times(tmp_path / "a.mp4")) == 1


@pytest.mark.parametrize("luma", [np.zeros((48, 60), np.uint8), np.zeros((48, 64), np.uint16)])
def test_frame_of_another_size_or_depth_is_refused(tmp_path, luma):
    sink = open_sink(tmp_path / "a.mp4", make_info(), FAST)
    with pytest.raises(OutputError, match="frame 7"):
        sink.write(make_frame(luma, index=7))
    sink.close()


def test_colon_in_the_name_is_no_protocol(tmp_path):
    write_all(tmp_path / "rtp:é %d.mp4", make_info(), flat_frames([0, 3000]))
    assert len(read_times(Path(f"file:{tmp_path}/rtp:é %d.mp4"))) == 2


WRITER = """
import os, resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from pipeline.frames import Frame, OutputError, StreamInfo
from pipeline.sink import SinkSettings, open_sink

path, how = Path(sys.argv[1]), sys.argv[2]
if how == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
sink = open_sink(path, StreamInfo("v", 64, 64, Fraction(1, 30), Fraction(30)), SinkSettings("ffv1"))
rng = np.random.default_rng(0)
try:
    for i in range(200):
        sink.write(Frame(rng.integers(0, 256, (64, 64), dtype=np.uint8), None, i, i / 30, i))
    if how == "killed":
        os.kill(os.getpid(), 9)
except OutputError as error:
    print(i, error, sep="|")
sink.close()
sink.close()
"""


def _write_in_process(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WRITER, str(path), how]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def _readable_frames(path: Path) -> int:
    count = 0
    with av.open(str(path)) as file:
        try:
            for _ in file.decode(video=0):
                count += 1
        except av.error.InvalidDataError:
            pass  # the packet that the disk cut
    return count


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_no_frame_is_hidden_at_the_end_whatever_their_number(tmp_path, codec, suffix):
    """Around whole seconds, fragments of MP4 once ended so that the edit list hid the last reordered frame."""
    path, settings = tmp_path / f"a{suffix}", SinkSettings(codec=codec, crf=35, overwrite=True)
    for count in (30, 31, 32, 60, 61, 62, 63, 91, 121, 122):
        write_all(path, make_info(), flat_frames(range(0, 3000 * count, 3000)), settings)
        assert _readable_frames(path) == count


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_killed_writer_leaves_all_but_the_last_second(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert _write_in_process(path, "killed").returncode == -9
    assert _readable_frames(path) >= 200 - 32  # fragments of 1 s, and the frame that ends one


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_full_disk_is_said_and_the_file_plays(tmp_path, suffix):
    """600 kB hold about 130 frames of 4.5 kB."""
    path = tmp_path / f"a{suffix}"
    done = _write_in_process(path, "full")
    assert (done.returncode, done.stderr) == (0, "")  # close() raised nothing
    given, _, text = done.stdout.partition("|")
    assert text.startswith("disk full after ")
    assert "what was written is kept" in text
    assert 100 < int(given) < 199
    assert _readable_frames(path) >= int(given) - 32


def test_old_file_that_cannot_be_opened_stays(tmp_path):
    """A program that runs cannot be written to, not even by root."""
    path = tmp_path / "a.mp4"
    shutil.copy(shutil.which("sleep") or "", path)
    size = path.stat().st_size
    sink = open_sink(path, make_info(), SinkSettings(codec="ffv1", overwrite=True))
    with subprocess.Popen([path, "60"]) as running:
        try:
            with pytest.raises(OutputError, match="nothing was written"):
                sink.write(make_frame(1))
            sink.close()
        finally:
            running.kill()
    assert path.stat().st_size == size


def test_unwritable_target_is_an_output_error(tmp_path):
    sink = open_sink(tmp_path / "a.mp4", make_info(), LOSSLESS)
    (tmp_path / "a.mp4").mkdir()  # after the checks of open_sink, so that writing must notice
    with pytest.raises(OutputError, match="nothing was written"):
        sink.write(make_frame(1))
    sink.close()
