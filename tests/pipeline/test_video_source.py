"""Video files as frames: exact times, what the file says of itself, and a clean end."""

from __future__ import annotations

import gc
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.frame import VideoFrame

from pipeline.frames import InputError
from pipeline.luma import TO_FULL
from pipeline.source import open_source
from tests.pipeline.media import NTSC, data, number_of, numbered, opened, planar, read, solid, write_video


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("ts", "libx264"),
                                               ("avi", "mpeg4"), ("mov", "mjpeg"), ("flv", "libx264")])  # fmt: skip
@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), Fraction(25)])
def test_rate_is_exact(tmp_path: Path, suffix: str, codec: str, rate: Fraction) -> None:
    frames = list(numbered(40))
    if codec == "mjpeg":
        frames = [frame.reformat(format="yuvj420p") for frame in frames]
    path = write_video(tmp_path / f"a.{suffix}", frames, codec=codec, rate=rate)
    with opened(path) as source:
        times = [frame.time for frame in source.frames()]
    assert source.info.rate == rate
    assert source.complaints() == []
    coarse = {"mkv": 1e-3, "flv": 1e-3, "ts": 1 / 90000}.get(suffix, 1e-9)  # what these store
    assert np.allclose(np.array(times) - times[0], np.arange(40) / float(rate), rtol=0, atol=coarse)


def test_10000_frames_at_29_97_do_not_drift(tmp_path: Path) -> None:
    pictures = [solid(60 + k % 100, 16, 16) for k in range(50)]
    path = write_video(tmp_path / "a.mp4", (pictures[k % 50] for k in range(10_000)), codec="mpeg4", rate=NTSC)
    with opened(path) as source:
        *_, last = ((frame.index, frame.pts, frame.time) for frame in source.frames())
    assert source.complaints() == []
    assert last[0] == 9999
    assert last[1] * source.info.time_base == 9999 / NTSC
    assert last[2] == float(9999 / NTSC)


def test_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    pts = [0, 40, 50, 200, 210, 220, 500, 1000, 1033, 2500]
    path = write_video(tmp_path / "a.mkv", numbered(10), codec="ffv1", pts=pts, time_base=Fraction(1, 1000))
    frames = read(path)
    assert [frame.time for frame in frames] == [p / 1000 for p in pts]
    assert [number_of(frame.luma) for frame in frames] == list(range(10))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_frames_come_in_display_order_with_b_frames(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"a.{suffix}", numbered(60), options={"bf": "3", "g": "20"})
    with opened(path) as source:
        frames = list(source.frames())
    assert source.complaints() == []
    assert [number_of(frame.luma) for frame in frames] == list(range(60))
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    assert [frame.index for frame in frames] == list(range(60))
    assert source.info.start_pts == frames[0].pts


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("ts", "libx264"),
                                               ("avi", "mpeg4"), ("h264", "libx264")])  # fmt: skip
@pytest.mark.parametrize(("start", "end"), [(0.4, 1.2), (1.96, None), (None, 0.04), (0.0, 0.1), (2.34, 99.0)])
def test_start_and_end_give_what_reading_all_would(
    tmp_path: Path, suffix: str, codec: str, start: float | None, end: float | None
) -> None:
    path = write_video(tmp_path / f"a.{suffix}", numbered(60), codec=codec, options={"g": "12"})
    with opened(path, rate=Fraction(25) if suffix == "h264" else None) as source:
        everything = list(source.frames())
    zero = everything[0].time
    wanted = [f for f in everything if (start or 0) - 1e-6 <= f.time - zero < (end or 1e9) - 1e-6]
    with opened(path, start=start, end=end, rate=Fraction(25) if suffix == "h264" else None) as part:
        frames = list(part.frames())
    assert [f.pts for f in frames] == [f.pts for f in wanted]
    assert [f.index for f in frames] == list(range(len(wanted)))
    assert all((a.luma == b.luma).all() for a, b in zip(frames, wanted, strict=True))
    assert part.info.start_pts == everything[0].pts
    assert part.complaints() == []


def test_start_past_the_end_is_one_clear_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(5))
    with opened(path, start=50) as source, pytest.raises(InputError, match="no frame between --start and --end"):
        list(source.frames())


def test_stream_without_times_is_timed_by_the_given_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.h264", numbered(20))
    with opened(path, rate=NTSC) as source:
        frames = list(source.frames())
    assert [frame.pts for frame in frames] == list(range(20))
    assert source.info.time_base == 1 / NTSC
    assert source.complaints() == []


def test_stream_without_times_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.h264", numbered(20), rate=NTSC)
    with opened(path) as source:
        assert len(list(source.frames())) == 20
    assert source.remarks() == ["a.h264: it has no time stamps; timed at 30000/1001 frames/s"]


def test_made_up_mjpeg_times_give_way_to_the_rate(tmp_path: Path) -> None:
    pictures = [frame.reformat(format="yuvj420p") for frame in numbered(5)]
    path = write_video(tmp_path / "a.mjpeg", pictures, codec="mjpeg")
    assert [frame.time for frame in read(path, rate=Fraction(10))] == [0, 0.1, 0.2, 0.3, 0.4]
    with opened(path) as source:
        list(source.frames())
    assert "no time stamps; timed at 25 frames/s" in source.remarks()[0]


def test_frames_that_repeat_or_go_back_are_left_out_and_counted(tmp_path: Path) -> None:
    one = write_video(tmp_path / "one.ts", numbered(30), options={"g": "10", "bf": "0"})
    two = tmp_path / "two.ts"
    two.write_bytes(one.read_bytes() * 2)
    with opened(two) as source:
        pts = [frame.pts for frame in source.frames()]
    assert all(a < b for a, b in pairwise(pts))
    left_out = [line for line in source.complaints() if "time stamp repeats or goes back" in line]
    assert left_out
    assert len(pts) + int(left_out[0].split()[-1]) == 60


def test_tags_are_carried_but_not_the_encoder(tmp_path: Path) -> None:
    tags = {"title": "Night", "comment": "c", "creation_time": "2024-05-06T07:08:09.000000Z", "encoder": "x"}
    path = write_video(tmp_path / "a.mp4", numbered(2), metadata=tags)
    metadata = opened(path).info.metadata
    assert metadata == {"title": "Night", "comment": "c", "creation_time": "2024-05-06T07:08:09.000000Z"}


def test_frames_are_those_the_file_promises(tmp_path: Path) -> None:
    assert opened(write_video(tmp_path / "a.mp4", numbered(7))).info.frames == 7
    assert opened(write_video(tmp_path / "a.mkv", numbered(7))).info.frames is None


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        audio, art = container.add_stream("aac", rate=44100), container.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt, art.disposition = 32, 32, "yuvj420p", Disposition.attached_pic
        picture = solid(90).reformat(format="yuvj420p")
        picture.pts = 0
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        sound.sample_rate = 44100
        for stream, content in ((art, picture), (audio, sound)):
            container.mux(stream.encode(content))
            container.mux(stream.encode())
    with pytest.raises(InputError, match=r"^song\.mp4: holds no video stream; give a file with video$"):
        open_source(path)


def test_second_video_stream_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
        for number in range(3):
            for level, stream in zip((60, 160), streams, strict=True):
                picture = solid(level)
                picture.pts = number
                container.mux(stream.encode(picture))
        for stream in streams:
            container.mux(stream.encode())
    source = opened(path)
    assert {int(frame.luma[0, 0]) for frame in source.frames()} == {int(TO_FULL[60])}
    assert source.remarks() == ["a.mkv: it holds 2 video streams; only the first is used"]


def test_frames_wider_than_allowed_are_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", [planar(np.zeros((2, 16386), np.uint8))], codec="ffv1")
    with pytest.raises(InputError, match="16386x2, at most 16384 a side; scale the file down"):
        open_source(path)


def test_frames_can_be_iterated_once(tmp_path: Path) -> None:
    with opened(write_video(tmp_path / "a.mp4", numbered(3))) as source:
        list(source.frames())
        with pytest.raises(RuntimeError, match="once"):
            next(source.frames())


def test_reading_ends_where_the_source_was_closed(tmp_path: Path) -> None:
    source = opened(write_video(tmp_path / "a.mp4", numbered(30)))
    frames = source.frames()
    next(frames)
    source.close()
    assert list(frames) == []


def test_abandoned_source_closes_cleanly(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(30))
    source = opened(path)
    frames = source.frames()
    assert next(frames).index == 0
    source.close()
    source.close()
    frames.close()
    assert source.complaints() == []
    del source, frames
    gc.collect()


@pytest.mark.parametrize("threads", [1, 2, 0])
def test_threads_of_the_decoder_do_not_change_the_frames(tmp_path: Path, threads: int) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(30))
    assert [number_of(frame.luma) for frame in read(path, threads=threads)] == list(range(30))


@pytest.mark.parametrize("clip", ["m3svd_0111_1716", "tno_fire_part3", "tno_duine_lossless"])
def test_real_clips_are_read_whole(clip: str) -> None:
    suffix = "mkv" if clip.endswith("lossless") else "mp4"
    ir, vis = (read(data("video", clip, f"{name}.{suffix}")) for name in ("ir", "vis"))
    assert [frame.time for frame in ir] == [frame.time for frame in vis]
    assert len(ir) == {"m3svd_0111_1716": 20, "tno_fire_part3": 61, "tno_duine_lossless": 23}[clip]


def test_real_luma_is_the_decoders_y_plane_expanded() -> None:
    path = data("video", "m3svd_0111_1716", "vis.mp4")
    witnesses = av.open(str(path)).decode(video=0)
    for frame, witness in zip(read(path), witnesses, strict=True):
        stacked = witness.to_ndarray()  # (H * 3 / 2, W)
        assert (frame.luma == TO_FULL[stacked[: witness.height]]).all()
        assert frame.chroma is not None
        assert (np.stack(frame.chroma).ravel() == stacked[witness.height :].ravel()).all()


def test_missing_time_stamp_follows_from_the_rate(tmp_path: Path) -> None:
    source = opened(write_video(tmp_path / "a.mp4", numbered(10)))
    wanted = [frame.pts for frame in opened(tmp_path / "a.mp4").frames()]
    source._decoded = (_without_pts(frame, frame.pts == wanted[4]) for frame in source._decoded)
    assert [frame.pts for frame in source.frames()] == wanted


def _without_pts(frame: VideoFrame, without: bool) -> VideoFrame:
    frame.pts = None if without else frame.pts
    return frame


def test_neither_time_stamps_nor_a_rate_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.video_source.nominal_rate", lambda *_, **__: None)
    path = write_video(tmp_path / "a.h264", numbered(3))
    with pytest.raises(InputError, match=r"^a\.h264: no timestamps and no frame rate; pass --rate$"):
        open_source(path)
