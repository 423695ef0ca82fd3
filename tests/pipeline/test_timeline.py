from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.frames import InputError
from pipeline.sink import SinkSettings, open_sink
from tests.pipeline.sink_media import flat_frames, make_frame, make_info, read_times, write_all

LOSSLESS = SinkSettings(codec="ffv1")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v"])
def test_ntsc_rate_stays_exact(tmp_path, suffix):
    info = make_info(time_base=Fraction(1, 30000), rate=Fraction(30000, 1001))
    write_all(tmp_path / f"a{suffix}", info, flat_frames(i * 1001 for i in range(100)))
    assert read_times(tmp_path / f"a{suffix}") == [Fraction(i * 1001, 30000) for i in range(100)]
    with av.open(str(tmp_path / f"a{suffix}")) as file:
        assert file.streams.video[0].average_rate == Fraction(30000, 1001)


@pytest.mark.parametrize(("suffix", "tolerance"), [(".mp4", 0), (".mkv", Fraction(1, 2000))])
def test_variable_frame_times_survive(tmp_path, suffix, tolerance):
    """MKV counts in milliseconds, so half of one may be lost there."""
    gaps = np.random.default_rng(1).integers(900, 9000, 80)
    pts = [0, *np.cumsum(gaps).tolist()]
    write_all(tmp_path / f"a{suffix}", make_info(rate=None), flat_frames(pts))
    times = read_times(tmp_path / f"a{suffix}")
    assert len(times) == 81
    assert max(abs(t - Fraction(p, 90000)) for t, p in zip(times, pts, strict=True)) <= tolerance


@pytest.mark.parametrize(("suffix", "tolerance"), [(".mp4", 0), (".mkv", Fraction(1, 2000))])
def test_no_drift_after_10000_frames(tmp_path, suffix, tolerance):
    info = make_info(16, 16, time_base=Fraction(1001, 30000), rate=Fraction(30000, 1001))
    luma = np.full((16, 16), 90, np.uint8)
    write_all(tmp_path / f"a{suffix}", info, (make_frame(luma, pts=i, index=i) for i in range(10_000)))
    times = read_times(tmp_path / f"a{suffix}")
    assert len(times) == 10_000
    assert max(abs(t - i * info.time_base) for i, t in enumerate(times)) <= tolerance


def test_first_frame_shows_at_zero_despite_reordering(tmp_path):
    info = make_info(start_pts=123_456)
    settings = SinkSettings(preset="medium")
    write_all(tmp_path / "a.mp4", info, flat_frames(123_456 + 3000 * i for i in range(60)), settings)
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert any(p.pts != p.dts for p in file.demux(video=0) if p.pts is not None)  # there are B-frames
    assert read_times(tmp_path / "a.mp4")[0] == 0


@pytest.mark.parametrize(("rate", "last"), [(Fraction(30), 3000), (None, 5000)])
def test_last_frame_lasts_one_frame_or_as_long_as_the_gap_before(tmp_path, rate, last):
    write_all(tmp_path / "a.mp4", make_info(rate=rate), flat_frames([0, 3000, 8000]))
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(8000 + last, 90000)


def test_mpeg4_keeps_times_finer_than_its_own_clock(tmp_path):
    pts = [0, 3001, 6007, 9001]
    write_all(tmp_path / "a.mp4", make_info(), flat_frames(pts), SinkSettings(codec="mpeg4"))
    assert read_times(tmp_path / "a.mp4") == [Fraction(p, 90000) for p in pts]


def test_avi_moves_frames_onto_its_grid_and_says_so(tmp_path):
    notes = write_all(tmp_path / "a.avi", make_info(), flat_frames([0, 3000, 4000, 9000]), LOSSLESS)
    assert read_times(tmp_path / "a.avi") == [Fraction(i, 30) for i in (0, 1, 2, 3)]
    assert len(notes) == 1
    assert "1 frames moved" in notes[0]


def test_avi_without_a_rate_is_refused(tmp_path):
    with pytest.raises(InputError, match="pass --rate"):
        open_sink(tmp_path / "a.avi", make_info(rate=None), LOSSLESS)
