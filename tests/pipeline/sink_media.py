"""Frames to write, and what is read back: shared by the tests of the sinks."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipeline.frames import Frame, StreamInfo
from pipeline.sink import SinkSettings, open_sink

FAST = SinkSettings(preset="ultrafast")


def make_info(width=64, height=48, *, time_base=Fraction(1, 90000), rate=Fraction(30), **more) -> StreamInfo:
    return StreamInfo("vis.mp4", width, height, time_base, rate, **more)


def make_frame(luma, chroma=None, pts=0, index=0, name="", *, time_base=Fraction(1, 90000)) -> Frame:
    """luma: an array, or one value for 64x48."""
    plane = np.full((48, 64), luma, np.uint8) if np.isscalar(luma) else luma
    return Frame(plane, chroma, pts, float(pts * time_base), index, name)


def flat_frames(pts: Iterable[int]) -> list[Frame]:
    return [make_frame(40 + i % 170, pts=p, index=i) for i, p in enumerate(pts)]


def write_all(path: Path, info: StreamInfo, frames: Iterable[Frame], settings=FAST, **more) -> list[str]:
    """Write and close; returns the sink's notes."""
    sink = open_sink(path, info, settings, **more)
    for frame in frames:
        sink.write(frame)
    sink.close()
    return sink.notes()


def read_planes(path: Path) -> list[list[np.ndarray]]:
    """Every picture's planes as stored, (h, w) uint8 each."""
    with av.open(str(path)) as file:
        return [[_plane(plane) for plane in frame.planes] for frame in file.decode(video=0)]


def read_times(path: Path) -> list[Fraction]:
    """s, sorted as shown, from the packets."""
    with av.open(str(path)) as file:
        return sorted(p.pts * p.time_base for p in file.demux(video=0) if p.pts is not None)


def read_audio(path: Path, stream=0) -> list[tuple[Fraction, bytes]]:
    """Start in s and bytes of each audio packet."""
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return []
        packets = file.demux(audio=stream)
        return [(p.pts * p.time_base, bytes(p)) for p in packets if p.size]


def make_clip(path: Path, *, audio="aac", seconds=3, audio_seconds=None, first=0, tracks=1) -> Path:
    """A film of 30 frames/s, 64x48, with a stereo tone at 48 kHz. first: s, time of the first picture and sample."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("mpeg4", rate=30)
        video.width, video.height = 64, 48
        sounds = [file.add_stream(audio, rate=48000) for _ in range(tracks)] if audio else []
        for i in range(seconds * 30):
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts, picture.time_base = i + first * 30, Fraction(1, 30)
            file.mux(video.encode(picture))
        file.mux(video.encode(None))
        for track, sound in enumerate(sounds):
            _add_tone(file, sound, int((audio_seconds or seconds) * 48000), first * 48000, 300 * (track + 1))
    return path


def _add_tone(file, sound, count, first, frequency) -> None:
    context = sound.codec_context
    resampler = av.AudioResampler(context.format.name, context.layout.name, 48000)
    for start in range(0, count, 1024):
        t = np.arange(start, min(start + 1024, count))
        wave = (8000 * np.sin(t * frequency * 2 * np.pi / 48000)).astype(np.int16)
        samples = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], "s16", "stereo")
        samples.sample_rate, samples.pts, samples.time_base = 48000, start + first, Fraction(1, 48000)
        for part in resampler.resample(samples):
            file.mux(sound.encode(part))
    file.mux(sound.encode(None))


def _plane(plane) -> np.ndarray:
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy()
