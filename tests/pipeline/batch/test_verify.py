"""A file that lacks a frame, or shows one at another time, does not pass."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from pipeline.batch.verify import check_chunk, check_whole
from pipeline.frames import OutputError
from tests.pipeline.media import numbered, write_video

TIMES = [0, 40, 90, 100, 200, 310]
MS = Fraction(1, 1000)


@pytest.fixture(params=[".mp4", ".mkv"])
def video(tmp_path, request):
    return write_video(tmp_path / f"x{request.param}", numbered(6), pts=TIMES, time_base=MS, options={"bf": "2"})


def test_a_whole_file_passes_on_whatever_clock(video):
    check_chunk(video, [7000 + time for time in TIMES], MS)
    check_whole(video, [5 * time for time in TIMES], Fraction(1, 5000), 0, audio=0)


@pytest.mark.parametrize(
    ("times", "start", "audio", "said"),
    [
        (TIMES[:-1], 0, 0, "holds 6 frames, not the 5"),
        ([0, 40, 90, 102, 200, 310], 0, 0, "a frame is -0.002000 s off"),
        (TIMES, -5, 0, "first frame is at 0.000000 s, not 0.005000 s"),
        (TIMES, 0, 1, "has 0 audio streams, not 1"),
    ],
)
def test_what_differs_is_named(video, times, start, audio, said):
    with pytest.raises(OutputError, match=said):
        check_whole(video, times, MS, start, audio=audio)


def test_a_file_whose_end_does_not_decode_does_not_pass(tmp_path):
    video = write_video(tmp_path / "x.mp4", numbered(20), options={"g": "10", "bf": "0", "sc_threshold": "0"})
    whole = bytearray(video.read_bytes())
    start = whole.index(b"mdat") + 4
    for hit in list(re.finditer(b"\x00\x00..\x65|\x00\x00..\x41", bytes(whole[start:])))[5:]:
        whole[start + hit.start() + 4] = 0x1F  # a unit that is no picture
    video.write_bytes(whole)
    with pytest.raises(OutputError, match="does not play"):
        check_whole(video, list(range(20)), Fraction(1, 25), 0)
    video.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(OutputError, match="cannot be read back"):
        check_chunk(video, list(range(20)), Fraction(1, 25))
