"""How video is encoded: the codecs known, what each may be told, and the file types that can hold it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import av
from av.codec.codec import Codec, UnknownCodecError
from av.container import OutputContainer

from pipeline.frames import UNSPECIFIED, Colour, InputError, StreamInfo

FORMATS: Mapping[str, str] = MappingProxyType({
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi", ".ts": "mpegts",
})  # fmt: skip
"""Video file suffix to FFmpeg muxer. By suffix alone FFmpeg would write `.m4v` as a bare stream without times."""

_SPEEDS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_X26X = {name: {"preset": name} for name in _SPEEDS}
# The same words for the encoders that count instead: SVT-AV1 13 fast to 0 slow, libvpx cpu-used 8 to 0.
_SVT = {name: {"preset": str(n)} for name, n in zip(_SPEEDS, (12, 11, 10, 9, 8, 7, 5, 4, 2), strict=True)}
_SVT |= {str(n): {"preset": str(n)} for n in range(14)}
_VP9 = {name: {"cpu-used": str(n)} for name, n in zip(_SPEEDS, (8, 7, 6, 5, 4, 3, 2, 1, 0), strict=True)}

# MPEG transport streams: FFmpeg would take any codec and mark it as private data that nothing else can read.
_TS_VIDEO = frozenset({"h264", "hevc", "mpeg4"})
_TS_AUDIO = frozenset({"aac", "mp2", "mp3", "ac3", "eac3", "opus"})


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """What the user may choose for the output. Checked by `open_sink`, which raises InputError."""

    codec: str = "libx264"
    crf: int | None = 20
    """Constant quality, lower is better; None for the encoder's own; unused by codecs that have no such scale."""
    preset: str | None = "veryfast"
    """Speed against size, in the words of x264 for every codec that has presets; None for the encoder's own."""
    pixel_format: str = "yuv420p"
    threads: int = 0
    """Encoder threads, 0 for one per core."""
    overwrite: bool = False
    """Replace existing output files. Never an input."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """What one codec can do and needs."""

    pixel_formats: tuple[str, ...]
    crf: range | None = None
    presets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    needs_even: bool = False
    """Width and height must be even where chroma is subsampled."""
    is_full_range: bool = False
    """Holds full-range samples only."""
    tells_range: bool = True
    """Its own bits say which range it holds; else the file type must."""
    tells_aspect: bool = True
    """Its own bits say the sample aspect; else the file type must."""
    counts_frames: bool = False
    """Cannot be told exact times (MPEG-4 part 2: denominator up to 65535); it has no B-frames, so it need not be."""


_YUV = ("yuv420p", "yuv422p", "yuv444p")
ENCODERS: Mapping[str, Encoder] = MappingProxyType({
    "libx264": Encoder((*_YUV, "gray", "yuv420p10le"), range(52), _X26X, needs_even=True),
    "libx265": Encoder((*_YUV, "gray", "yuv420p10le"), range(52), _X26X, {"x265-params": "log-level=error"}, True),
    "libsvtav1": Encoder(("yuv420p", "yuv420p10le"), range(1, 64), _SVT, needs_even=True, tells_aspect=False),
    "libvpx-vp9": Encoder(_YUV, range(64), _VP9, {"deadline": "good", "row-mt": "1"}, tells_aspect=False),
    "ffv1": Encoder((*_YUV, "gray", "yuv420p10le"), tells_range=False, tells_aspect=False),
    # Fixed quantiser 3 of 1..31: without it both obey a bit rate, 200 kbit/s if none is given.
    "mjpeg": Encoder(_YUV, options={"qmin": "3", "qmax": "3"}, is_full_range=True),
    "mpeg4": Encoder(("yuv420p",), options={"qmin": "3", "qmax": "3"}, tells_range=False, counts_frames=True),
    "png": Encoder(("rgb24", "gray"), is_full_range=True),
})  # fmt: skip


def check_settings(settings: SinkSettings, path: Path) -> Encoder:
    """The encoder that the settings name. Raises InputError if they do not fit it, each other or the file type."""
    encoder = ENCODERS.get(settings.codec)
    if encoder is None:
        raise InputError(f"codec {settings.codec!r}: not known; use one of {', '.join(ENCODERS)}")
    try:
        name = Codec(settings.codec, "w").canonical_name
    except UnknownCodecError as error:
        raise InputError(f"codec {settings.codec}: not in this build of PyAV; choose another codec") from error
    _check_choice(settings, "pixel format", settings.pixel_format, encoder.pixel_formats)
    if encoder.presets and settings.preset is not None:
        _check_choice(settings, "preset", settings.preset, tuple(encoder.presets))
    crf = encoder.crf
    if crf is not None and settings.crf is not None and settings.crf not in crf:
        raise InputError(f"crf {settings.crf}: {settings.codec} takes {crf.start} (best) to {crf[-1]} (smallest)")
    if settings.threads < 0:
        raise InputError(f"threads {settings.threads}: must be 0 (one per core) or more")
    _check_container(settings.codec, name, path)
    return encoder


def encoder_options(settings: SinkSettings, encoder: Encoder) -> dict[str, str]:
    """The encoder's private options for checked settings."""
    options = {**encoder.options, "flags": "+frame_duration"}  # else packets last 1/rate whatever the frame says
    if settings.preset is not None:
        options |= encoder.presets.get(settings.preset, {})
    if encoder.crf is not None and settings.crf is not None:
        options["crf"] = str(settings.crf)
    if settings.codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "0")  # or it (4.1) writes to the terminal what our error says anyway
    return options


def container_options(path: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    """Muxer options that keep a file playable when its writer is killed or the disk is full, about 2 s short.

    MP4 and MOV are written in fragments and become plain files at close (hybrid_fragmented, FFmpeg 8). A fragment
    begins with a key frame only: FFmpeg 8.1 ends the edit list with the last fragment's pictures, so that a fragment
    cut between reordered ones (frag_duration) hid the last frame of every 50th file.
    """
    options = {"flush_packets": "1", "max_interleave_delta": "1000000"}  # us; the default keeps 10 s in memory
    kind = FORMATS[path.suffix.lower()]
    if kind in ("matroska", "webm"):
        options["cluster_time_limit"] = "1000"  # ms; a cluster is written when it is complete, by default 5 s
    if kind in ("mp4", "mov"):
        # delay_moov: else there is no edit list and B-frames move the first picture away from 0 (by 1/15 s at 30/s).
        flags = "+hybrid_fragmented+delay_moov+frag_keyframe"
        if not metadata.keys() <= _COMMON_KEYS:
            flags += "+use_metadata_tags"  # any key, but then in Apple's mdta form only, which fewer players show
        options |= {"movflags": flags, "min_frag_duration": "1000000"}  # us; else one a frame with FFV1 or MJPEG
    return options


_COMMON_KEYS = frozenset(
    ("title", "artist", "album", "date", "comment", "genre", "copyright", "location", "creation_time")
)
"""Keys that FFmpeg writes to MP4 and MOV alike in the form all players read (tried: it drops any other silently)."""


def stored_range(encoder: Encoder, kind: str, pixel_format: str, colour: Colour) -> bool:
    """True if the output's samples are to be full range, as the colour says, in a muxer's file type.

    Where neither codec nor file type can say it, readers take YUV for limited and gray for full range: so be it.
    """
    if encoder.is_full_range:
        return True
    is_tagged = UNSPECIFIED not in (colour.primaries, colour.transfer, colour.matrix)
    # The MP4 muxer stores the range only along with three known tags, and that of MOV never (FFmpeg 8.1, tried).
    if encoder.tells_range or kind in ("matroska", "webm") or (kind == "mp4" and is_tagged):
        return colour.full_range
    return pixel_format == "gray"


def untold(encoder: Encoder, kind: str, info: StreamInfo) -> list[str]:
    """Lines for what the file type cannot say of the output, each with the way out."""
    lines = []
    if info.sample_aspect != 1 and not encoder.tells_aspect and kind not in ("mp4", "mov"):
        lines.append(f"sample aspect {info.sample_aspect} left out: {kind} with this codec does not say it; use .mp4")
    if kind == "mpegts" and info.metadata:
        lines.append(f"{', '.join(info.metadata)} left out: mpegts holds no such tags; use .mkv or .mp4")
    return lines


def holds_audio(container: OutputContainer, codec: str) -> bool:
    """True if the container's file type can hold an audio codec, given by its canonical name."""
    return codec in (_TS_AUDIO if container.format.name == "mpegts" else container.supported_codecs)


def _check_choice(settings: SinkSettings, what: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise InputError(f"{what} {given!r}: {settings.codec} takes one of {', '.join(allowed)}")


def _check_container(codec: str, name: str, path: Path) -> None:
    """Raise InputError unless the file type of `path` holds the codec of this canonical name."""
    suffix = path.suffix.lower()
    container = av.open(str(path), "w", format=FORMATS[suffix])  # opens no file until the header is written
    held = _TS_VIDEO if FORMATS[suffix] == "mpegts" else container.supported_codecs
    if name not in held:
        fits = [known for known in ENCODERS if _canonical_name(known) in held]
        raise InputError(f"{suffix} cannot hold {codec}: use {' or '.join(fits)}, or name the output .mkv or .mp4")


def _canonical_name(codec: str) -> str | None:
    try:
        return Codec(codec, "w").canonical_name
    except UnknownCodecError:
        return None
