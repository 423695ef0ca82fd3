"""Damaged video files: decoding goes on, nothing is lost in silence, no false alarm."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from pipeline.frames import InputError
from pipeline.source import open_source
from pipeline.video_promise import Ledger
from tests.pipeline.media import noise, number_of, numbered, opened, read, write_video


def test_change_of_size_is_scaled_and_counted(tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.h264", numbered(5, 32, 48)).read_bytes()
    large = write_video(tmp_path / "large.h264", numbered(5, 64, 96)).read_bytes()
    path = tmp_path / "both.h264"
    path.write_bytes(small + large)
    with opened(path, rate=Fraction(25)) as source:
        frames = list(source.frames())
    assert [frame.luma.shape for frame in frames] == [(32, 48)] * 10
    assert [number_of(frame.luma) for frame in frames] == [0, 1, 2, 3, 4] * 2
    assert source.complaints() == []
    assert source.remarks() == ["both.h264: frames of another size or pixel format, brought to 48x32 yuv420p: 5"]


def test_mp4_cut_after_its_index_counts_what_is_missing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(40), muxer={"movflags": "faststart"}, options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with opened(path) as source:
        got = len(list(source.frames()))
    assert 5 < got < 40
    assert f"a.mp4: promised 40 frames, decoded {got}; the file is cut short or damaged" in source.complaints()


def test_cut_matroska_counts_what_is_missing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", numbered(40), options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with opened(path) as source:
        got = len(list(source.frames()))
    assert 5 < got < 40
    assert f"a.mkv: promised 40 frames, decoded {got}; the file is cut short or damaged" in source.complaints()


def test_what_was_not_asked_for_is_not_missed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", numbered(40), options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert len(read(path, start=0.2, end=0.6)) == 10
    with opened(path, start=0.2) as source:
        got = len(list(source.frames()))
    assert f"a.mkv: promised 35 frames, decoded {got}; the file is cut short or damaged" in source.complaints()


def test_frames_cut_away_by_an_edit_list_are_not_missed(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", numbered(40), options={"g": "10", "bf": "0"})
    trimmed = tmp_path / "trimmed.mp4"
    with av.open(str(whole)) as source, av.open(str(trimmed), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts -= 5 * packet.duration  # negative times become an edit list that starts inside a GOP
                packet.dts -= 5 * packet.duration
                packet.stream = stream
                target.mux(packet)
    witness = len(list(av.open(str(trimmed)).decode(video=0)))
    frames = read(trimmed)
    assert len(frames) == witness


def test_damaged_packet_is_counted_and_decoding_goes_on(tmp_path: Path) -> None:
    pictures = [VideoFrame.from_ndarray(np.dstack([noise(32, 32, k)] * 3), "rgb24") for k in range(20)]
    path = write_video(tmp_path / "a.mov", pictures, codec="png")
    with av.open(str(path)) as container:
        position = [packet.pos for packet in container.demux(video=0)][10]
    content = bytearray(path.read_bytes())
    content[position : position + 16] = bytes(16)
    path.write_bytes(content)
    with opened(path) as source:
        frames = list(source.frames())
    assert [frame.pts * source.info.time_base * 25 for frame in frames] == [k for k in range(20) if k != 10]
    assert source.complaints() == [
        "a.mov: promised 20 frames, decoded 19; the file is cut short or damaged",
        "a.mov: packets that could not be read or decoded, skipped: 1",
    ]


def test_header_without_a_frame_is_one_clear_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", numbered(3), codec="ffv1")
    with av.open(str(path)) as container:
        first = next(packet for packet in container.demux(video=0)).pos
    path.write_bytes(path.read_bytes()[:first])
    with pytest.raises(InputError, match=r"a\.mkv: .*") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """A file cut short, or with some bytes flipped or a stretch of zeros."""
    changed = bytearray(content)
    position = int(random.integers(0, len(content)))
    match random.integers(0, 3):
        case 0:
            return bytes(changed[:position])
        case 1:
            for place in random.integers(0, len(content), 20):
                changed[place] ^= int(random.integers(1, 256))
        case _:
            stop = min(position + int(random.integers(1, 4000)), len(content))
            changed[position:stop] = bytes(stop - position)
    return bytes(changed)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("suffix", "muxer"),
    [
        ("mp4", {}),
        ("mp4", {"movflags": "faststart"}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("mkv", {}),
        ("ts", {}),
    ],
)
def test_20_mutations_never_crash_and_never_lose_frames_silently(
    tmp_path: Path, suffix: str, muxer: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / f"a.{suffix}", numbered(40), muxer=muxer, options={"g": "8"})
    content, random = path.read_bytes(), np.random.default_rng(2024)
    silent: list[tuple[int, int]] = []
    lines: list[str] = []
    for attempt in range(20):
        path.write_bytes(mutated(content, random))
        try:
            with opened(path) as source:
                got = len(list(source.frames()))
                told: Sequence[str] = source.complaints() + source.remarks()
        except InputError as error:
            lines.append(str(error))
            continue
        if got < 40 and not told:
            silent.append((attempt, got))
    assert silent == []
    assert not any("\n" in line for line in lines)
    assert capfd.readouterr().err == ""


def ledger_of(times: Sequence[float], rate: Fraction | None = Fraction(10)) -> Ledger:
    ledger = Ledger(rate)
    for time in times:
        ledger.add(time, 0.1)
    return ledger


def test_hole_in_a_constant_rate_counts_its_frames() -> None:
    times = [0.1 * k for k in range(40) if k not in (7, 8, 20)]
    assert ledger_of(times).holes == 3
    assert ledger_of(times).expected(start=None, end=None) == 37


def test_a_recording_with_holes_is_remarked_on_and_not_complained_about(tmp_path: Path) -> None:
    pts = [k for k in range(40) if k not in (7, 8, 20)]
    path = write_video(tmp_path / "a.mkv", numbered(37), pts=pts)
    with opened(path) as source:
        assert len(list(source.frames())) == 37
    assert source.complaints() == []
    assert source.remarks() == ["a.mkv: holes in its time, as if 3 frames at 25 frames/s had not been recorded"]


def test_missing_head_and_tail_count_their_frames() -> None:
    ledger = ledger_of([0.1 * k for k in range(3, 30)])
    assert ledger.expected(start=0.0, end=4.0) == 40
    assert ledger.expected(start=0.3, end=3.0) == 27


def test_variable_rate_has_no_holes() -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.03, 0.4, 50)).tolist()
    assert ledger_of(times).expected(start=times[0], end=times[-1] + 0.1) == 50
    assert ledger_of(times).holes == 0


def test_tail_is_missed_even_without_a_rate() -> None:
    assert ledger_of([0.0, 0.1, 0.2, 0.3], None).expected(start=None, end=4.0) == 40


def test_rounding_to_milliseconds_is_no_hole() -> None:
    times = [round(k * 1001 / 30000, 3) for k in range(3000)]
    ledger = ledger_of(times, Fraction(30000, 1001))
    assert ledger.expected(start=0.0, end=round(3000 * 1001 / 30000, 3)) == 3000
    assert ledger.holes == 0


def test_whole_fragmented_mp4_is_no_damage(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(40), muxer={"movflags": "frag_keyframe+empty_moov"})
    assert len(read(path)) == 40
