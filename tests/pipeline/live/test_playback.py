"""Recorded files played as cameras, on paper clocks."""

import itertools
from contextlib import ExitStack
from fractions import Fraction

import numpy as np
import pytest

from pipeline.live.address import parse_address
from pipeline.live.playback import LATE, Epoch, Playback
from pipeline.live.shots import SourceRefusedError
from tests.pipeline.media import gray, number_of, numbered, write_video


class PaperTime:
    """A clock that only waiting moves on."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds
        return False


def played(path, options="", count=10**9, **how):
    time = PaperTime()
    with Playback(parse_address(f"file:{path}{options}"), clock=time, wait=time.wait, **how) as playback:
        return list(itertools.islice(playback.shots(), count)), time


def test_a_file_is_paced_by_its_own_time_stamps(tmp_path):
    pts = [0, 40, 60, 200, 240]
    path = write_video(tmp_path / "a.mkv", numbered(5), codec="ffv1", pts=pts, time_base=Fraction(1, 1000))
    shots, _ = played(path)
    assert [shot.taken - 1000 for shot in shots] == pytest.approx([0, 0.04, 0.06, 0.2, 0.24])
    assert [shot.arrived for shot in shots] == pytest.approx([shot.taken for shot in shots])
    assert [number_of(shot.luma) for shot in shots] == [0, 1, 2, 3, 4]


def test_a_loop_goes_on_without_a_seam_in_time(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(5), rate=25)
    shots, _ = played(path, "?loop=1", 17)
    assert np.diff([shot.taken for shot in shots]) == pytest.approx([0.04] * 16)
    assert [number_of(shot.luma) for shot in shots] == [number % 5 for number in range(17)]


def test_two_files_of_one_epoch_stay_together_however_late_one_is_opened(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(9), rate=10)
    early, _ = played(path, epoch=Epoch(999.75))
    late, _ = played(path, epoch=Epoch(1000.0))
    assert [shot.taken for shot in early] == pytest.approx([999.75 + number / 10 for number in range(9)])
    assert [shot.taken - other.taken for shot, other in zip(late, early, strict=True)] == pytest.approx([0.25] * 9)
    assert [shot.arrived for shot in early[:3]] == [1000.0] * 3  # overdue ones come at once


def test_where_decoding_is_too_slow_both_files_wait_so_that_they_stay_together_and_no_frame_is_late(tmp_path):
    path, time = write_video(tmp_path / "a.mp4", numbered(50), rate=25), PaperTime()
    epoch, odd, last = Epoch(1000.0), [], {}
    late, apart = [], []
    with ExitStack() as stack:
        how = {"clock": time, "epoch": epoch, "wait": time.wait, "on_odd": lambda *what: odd.append(what)}
        files = [stack.enter_context(Playback(parse_address(f"file:{path}?loop=1"), **how)) for _ in "ab"]
        plays = [playback.shots() for playback in files]
        for step in range(1600):  # one thread decodes in 50 ms what is 40 ms long, the other in 5 ms
            side = 0 if step % 2 else 1
            shot = next(plays[side])
            time.now += (0.05, 0.005)[side]
            late.append(time.now - shot.taken)
            last[side] = shot
            apart.append(abs(last[0].taken - last[1].taken) if len(last) == 2 else 0.0)
    assert max(late) <= LATE + 0.06
    assert max(apart) <= LATE + 0.05
    assert abs(number_of(last[0].luma) - number_of(last[1].luma)) in (0, 1, 49)
    assert odd[0] == ("late", "fell 0.3 s behind, decoding is too slow here; plays on from there")


def test_a_file_that_is_slow_to_open_begins_when_it_is_open(tmp_path):
    odd = []
    path = write_video(tmp_path / "a.mp4", numbered(3), rate=10)
    shots, _ = played(path, epoch=Epoch(990.0), on_odd=lambda *what: odd.append(what))
    assert [shot.taken for shot in shots] == pytest.approx([1000.0, 1000.1, 1000.2])
    assert odd == []


def test_unpaced_nothing_waits(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(9), rate=10)
    shots, time = played(path, "?realtime=0")
    assert time.now == 1000.0
    assert len(shots) == 9


def test_sixteen_bits_stay_sixteen_and_eight_are_refused_where_sixteen_were_asked(tmp_path):
    frames = [gray(np.full((48, 64), 14000 + number, np.uint16), "gray16le") for number in range(3)]
    deep = write_video(tmp_path / "a.mkv", frames, codec="ffv1")
    shots, _ = played(deep, "?bits=16")
    assert [int(shot.luma[5, 5]) for shot in shots] == [14000, 14001, 14002]
    flat = write_video(tmp_path / "b.mp4", numbered(3))
    with pytest.raises(SourceRefusedError, match=r"b.mp4: sends yuv420p of 8 bits where bits=16 was asked for"):
        played(flat, "?bits=16")


@pytest.mark.parametrize(("content", "part"), [(None, "no such file"), (b"", "empty file"), (b"x" * 99, "not a video")])
def test_what_is_no_video_is_refused(tmp_path, content, part):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceRefusedError, match=part):
        played(path)


def test_waiting_can_be_given_up(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(5), rate=25)
    with Playback(parse_address(f"file:{path}"), clock=PaperTime(), wait=lambda seconds: True) as playback:
        assert len(list(playback.shots())) == 1
