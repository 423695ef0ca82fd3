from __future__ import annotations

from fractions import Fraction

import av
import pytest

from pipeline.audio import AudioCopy
from pipeline.frames import Colour, StreamInfo
from pipeline.sink import SinkSettings
from tests.pipeline.sink_media import FAST, flat_frames, make_clip, make_info, read_audio, read_times, write_all

TICK = Fraction(1, 48000)
MILLISECOND = Fraction(1, 1000)


def _fuse(clip, target, *, seconds=3, settings=FAST, first=0, **more):
    """Write that many seconds of pictures at 30 frames/s, with the clip's audio; `first`: s, the clip's start."""
    start = round(first * 90000)
    info = make_info(start_pts=start)
    frames = flat_frames(range(start, start + seconds * 90000, 3000))
    return write_all(target, info, frames, settings, **({"audio_from": [clip]} | more))


@pytest.mark.parametrize(
    ("audio", "source", "target", "tolerance"),
    [
        ("aac", "a.mp4", "b.mp4", TICK), ("aac", "a.mp4", "b.mkv", MILLISECOND), ("aac", "a.mkv", "b.mov", TICK),
        ("libopus", "a.mkv", "b.mp4", TICK), ("flac", "a.mkv", "b.mp4", TICK), ("mp2", "a.ts", "b.mp4", TICK),
        ("libmp3lame", "a.mp4", "b.mkv", MILLISECOND), ("pcm_s16le", "a.mov", "b.mov", TICK),
        ("libopus", "a.mkv", "b.ts", TICK),
    ],
)  # fmt: skip
def test_packets_are_copied_whole_and_in_place(tmp_path, audio, source, target, tolerance):
    clip = make_clip(tmp_path / source, audio=audio)
    with av.open(str(clip)) as file:
        zero = min(p.pts * p.time_base for p in file.demux(video=0) if p.pts is not None)
    notes = write_all(
        tmp_path / target,
        make_info(start_pts=round(zero * 90000)),
        flat_frames(round(zero * 90000) + 3000 * i for i in range(90)),
        audio_from=[clip],
    )
    given, stored = read_audio(clip), read_audio(tmp_path / target)
    assert [data for _, data in stored] == [data for _, data in given]
    shown = read_times(tmp_path / target)[0]  # TS cannot start at 0 with B-frames; both move alike
    off = [abs((t - shown) - (s - zero)) for (s, _), (t, _) in zip(given, stored, strict=True)]
    assert max(off) <= tolerance
    assert notes == []


def test_transport_stream_aac_loses_its_packet_headers_in_mp4(tmp_path):
    clip = make_clip(tmp_path / "a.ts")
    given = read_audio(clip)
    assert _fuse(clip, tmp_path / "b.mp4", first=given[0][0]) == []
    assert [data for _, data in read_audio(tmp_path / "b.mp4")] == [data[7:] for _, data in given]  # ADTS: 7 bytes
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert abs(sum(frame.samples for frame in file.decode(audio=0)) - 3 * 48000) <= 2048


def test_zero_of_the_output_moves_audio_and_pictures_alike(tmp_path):
    clip = make_clip(tmp_path / "a.mkv", first=2)  # in MKV, times start as written
    _fuse(clip, tmp_path / "b.mp4", first=2)
    given, stored = read_audio(clip), read_audio(tmp_path / "b.mp4")
    assert max(abs(s - 2 - t) for (s, _), (t, _) in zip(given, stored, strict=True)) <= TICK
    assert read_times(tmp_path / "b.mp4")[0] == 0


def test_all_tracks_are_copied(tmp_path):
    clip = make_clip(tmp_path / "a.mp4", tracks=2)
    _fuse(clip, tmp_path / "b.mp4")
    for track in (0, 1):
        assert [d for _, d in read_audio(tmp_path / "b.mp4", track)] == [d for _, d in read_audio(clip, track)]


def test_audio_longer_than_the_pictures_stays_whole_when_all_were_fused(tmp_path):
    clip = make_clip(tmp_path / "a.mp4", seconds=3, audio_seconds=5)
    _fuse(clip, tmp_path / "b.mp4")
    assert len(read_audio(tmp_path / "b.mp4")) == len(read_audio(clip))


def test_audio_ends_with_the_pictures_when_the_run_was_stopped(tmp_path):
    clip = make_clip(tmp_path / "a.mp4", seconds=6)
    _fuse(clip, tmp_path / "b.mp4", seconds=2)
    last = read_audio(tmp_path / "b.mp4")[-1][0]
    assert 2 - Fraction(1024, 48000) <= last <= 2


def test_cut_keeps_what_sounds_between_start_and_end(tmp_path):
    """Pictures from 2 s to 4 s of 6: the packet that spans the start stays, and none starts at the end or later."""
    clip = make_clip(tmp_path / "a.mkv", seconds=6)
    _fuse(clip, tmp_path / "b.mkv", seconds=2, first=2, start=2, end=4)
    times = [t for t, _ in read_audio(tmp_path / "b.mkv")]
    shown = read_times(tmp_path / "b.mkv")[0]
    assert -Fraction(1024, 48000) - MILLISECOND <= times[0] - shown <= 0
    assert 2 - Fraction(1024, 48000) - MILLISECOND <= times[-1] - shown < 2


def test_cut_of_a_long_file_reads_only_its_part(tmp_path, monkeypatch):
    """From 10 s to 11 s of 20: looked for from 2 s before, or from the key frame before that."""
    clip = make_clip(tmp_path / "a.mkv", seconds=20)
    read = []
    original = AudioCopy._is_wanted

    def spy(self, packet):
        read.append(self._time(packet))
        return original(self, packet)

    monkeypatch.setattr(AudioCopy, "_is_wanted", spy)
    _fuse(clip, tmp_path / "b.mkv", seconds=1, first=10, start=10, end=11)
    assert min(read) > -4
    assert max(read) < 1.1
    assert 1 - Fraction(1024, 48000) - MILLISECOND <= read_audio(tmp_path / "b.mkv")[-1][0] < 1.1


def test_file_without_audio_gives_way_to_the_next_which_is_shifted(tmp_path):
    silent = make_clip(tmp_path / "vis.mp4", audio=None)
    loud = make_clip(tmp_path / "ir.mkv", audio="flac")
    _fuse(silent, tmp_path / "b.mp4", audio_from=[silent, loud], audio_shift=0.25)
    given, stored = read_audio(loud), read_audio(tmp_path / "b.mp4")
    assert max(abs(s + Fraction(1, 4) - t) for (s, _), (t, _) in zip(given, stored, strict=True)) <= TICK


def test_the_first_file_is_not_shifted(tmp_path):
    clip = make_clip(tmp_path / "a.mkv", audio="flac")
    _fuse(clip, tmp_path / "b.mp4", audio_shift=0.25)
    assert read_audio(tmp_path / "b.mp4")[0][0] == read_audio(clip)[0][0]


@pytest.mark.parametrize(
    ("audio", "source", "target", "said"),
    [
        ("pcm_mulaw", "a.mov", "b.mp4", "pcm_mulaw in mp4 is not possible"),
        ("aac", "a.mp4", "b.webm", "aac in webm is not possible"),
        ("flac", "a.mkv", "b.ts", "flac in mpegts is not possible"),
        ("flac", "a.mkv", "b.mov", "flac in mov fails"),
    ],
)
def test_codec_that_does_not_fit_is_left_out_with_a_note(tmp_path, audio, source, target, said):
    clip = make_clip(tmp_path / source, audio=audio)
    settings = SinkSettings("libvpx-vp9" if target.endswith("webm") else "libx264", preset="ultrafast")
    notes = _fuse(clip, tmp_path / target, settings=settings)
    assert len(notes) == 1
    assert said in notes[0]
    assert "try .mkv" in notes[0]
    assert len(read_times(tmp_path / target)) == 90
    assert read_audio(tmp_path / target) == []


@pytest.mark.parametrize("content", [None, b"", b"not a film", "folder"])
def test_absent_or_broken_audio_file_never_stops_the_pictures(tmp_path, content):
    clip = tmp_path / "a.mp4"
    if content == "folder":
        clip.mkdir()
    elif content is not None:
        clip.write_bytes(content)
    assert _fuse(clip, tmp_path / "b.mp4", seconds=1) == []
    assert len(read_times(tmp_path / "b.mp4")) == 30


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_damaged_audio_never_stops_the_pictures(tmp_path, damage):
    clip = make_clip(tmp_path / "a.ts")
    data = bytearray(clip.read_bytes())
    half = len(data) // 2
    if damage == "noise":
        data[half : half + 20_000] = bytes(i * 37 % 251 for i in range(20_000))
    clip.write_bytes(data[:half] if damage == "cut" else data)
    _fuse(clip, tmp_path / "b.mkv", first=read_audio(clip)[0][0])
    assert len(read_times(tmp_path / "b.mkv")) == 90
    assert len(read_audio(tmp_path / "b.mkv")) > 30


def test_audio_lies_beside_its_pictures_in_the_file(tmp_path):
    """In step to 1 s and the depth of the encoder, so a reader (and the writer's memory) need hold no more."""
    clip = make_clip(tmp_path / "a.mkv", seconds=12)
    _fuse(clip, tmp_path / "b.mkv", seconds=12)
    latest = {"audio": Fraction(0), "video": Fraction(0)}
    worst = Fraction(0)
    with av.open(str(tmp_path / "b.mkv")) as file:
        for packet in file.demux():
            if packet.dts is not None:
                latest[packet.stream.type] = packet.dts * packet.time_base
                worst = max(worst, abs(latest["audio"] - latest["video"]))
    assert worst < 1.1


def test_audio_from_the_input_itself_works_for_an_odd_time_base(tmp_path):
    """NTSC pictures over 48 kHz: the origin is no whole number of audio ticks, so half a tick may be lost."""
    clip = make_clip(tmp_path / "a.mkv", audio="flac", first=1)
    base = Fraction(1001, 30000)
    info = StreamInfo("v", 64, 48, base, 1 / base, colour=Colour(), start_pts=31)
    frames = flat_frames(range(31, 31 + 90))
    write_all(tmp_path / "b.mp4", info, frames, audio_from=[clip])
    origin = 31 * base
    stored = read_audio(tmp_path / "b.mp4")
    given = read_audio(clip)
    first = read_times(tmp_path / "b.mp4")[0]
    off = [abs((t - first) - (s - origin)) for (s, _), (t, _) in zip(given, stored, strict=True)]
    assert max(off) <= MILLISECOND  # the clip's own ticks are ms
