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

FRAGMENT = 0.5
"""s of a live MP4 that a killed process may lose: frames are written in pieces of this length."""

AUTO = "auto"
DEFAULT_CODEC = "libx264"
"""What `auto` means, unless the frames are on a GPU that can encode."""

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

    codec: str = AUTO
    """FFmpeg's name of the encoder; `auto`: `DEFAULT_CODEC`, or that of the GPU which holds the frames."""
    crf: int | None = 20
    """Constant quality, lower is better; None for the encoder's own; unused by codecs that have no such scale."""
    preset: str | None = "veryfast"
    """Speed against size, in the words of x264 for every codec that has presets; None for the encoder's own."""
    pixel_format: str = "yuv420p"
    threads: int = 0
    """Encoder threads, 0 for one per core."""
    overwrite: bool = False
    """Replace existing output files. Never an input."""
    is_live: bool = False
    """Every frame is in the file within `FRAGMENT`, for what may be killed at any time.

    Without reordering and look-ahead x264's veryfast makes 17 % more bytes in half the time (140 frames, 640x480).
    """
    is_on_device: bool = False
    """Frames come in the memory of a device, and are encoded there."""

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return DEFAULT_CODEC if self.codec == AUTO else self.codec


@dataclass(frozen=True, slots=True)
class Encoder:
    """What one codec can do and needs."""

    pixel_formats: tuple[str, ...]
    crf: range | None = None
    """Of its constant quality; the best first."""
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
    quality: str = "crf"
    """What it calls its constant quality."""
    live: Mapping[str, str] | None = None
    """Options with which it gives every frame at once, none reordered; None if it cannot."""
    counts_frames: bool = False
    """Cannot be told exact times (MPEG-4 part 2: denominator up to 65535); it has no B-frames, so it need not be."""


# NVENC's p1 (fastest) to p7, in the same words. Its cq runs from 1 to 51 as crf does; 0 would leave the choice to it.
_NVENC = {name: {"preset": f"p{n}"} for name, n in zip(_SPEEDS, (1, 1, 2, 3, 4, 5, 6, 7, 7), strict=True)}

_AT_ONCE = {"tune": "zerolatency"}
_YUV = ("yuv420p", "yuv422p", "yuv444p")
NVENC_CODECS = ("h264_nvenc", "hevc_nvenc")
"""Encoders of NVIDIA GPUs, which take frames from the GPU's memory."""

ENCODERS: Mapping[str, Encoder] = MappingProxyType({
    "libx264": Encoder((*_YUV, "gray", "yuv420p10le"), range(52), _X26X, needs_even=True, live=_AT_ONCE),
    "libx265": Encoder(
        (*_YUV, "gray", "yuv420p10le"), range(52), _X26X, {"x265-params": "log-level=error"}, True, live=_AT_ONCE
    ),
    "libsvtav1": Encoder(("yuv420p", "yuv420p10le"), range(1, 64), _SVT, needs_even=True, tells_aspect=False),
    "libvpx-vp9": Encoder(_YUV, range(64), _VP9, {"deadline": "good", "row-mt": "1"}, tells_aspect=False),
    "ffv1": Encoder((*_YUV, "gray", "yuv420p10le"), tells_range=False, tells_aspect=False, live={}),
    # Fixed quantiser 3 of 1..31: without it both obey a bit rate, 200 kbit/s if none is given.
    "mjpeg": Encoder(_YUV, options={"qmin": "3", "qmax": "3"}, is_full_range=True, live={}),
    "mpeg4": Encoder(("yuv420p",), options={"qmin": "3", "qmax": "3"}, tells_range=False, live={},
                     counts_frames=True),
    "png": Encoder(("rgb24", "gray"), is_full_range=True),
    **{
        codec: Encoder(("yuv420p",), range(1, 52), _NVENC, {"rc": "vbr"}, needs_even=True, quality="cq",
                       live={"delay": "0", "zerolatency": "1", "bf": "0"})
        for codec in NVENC_CODECS
    },
})  # fmt: skip


def check_settings(settings: SinkSettings, path: Path) -> Encoder:
    """The encoder that the settings name. Raises InputError if they do not fit it, each other or the file type."""
    encoder = ENCODERS.get(settings.encoder)
    if encoder is None:
        raise InputError(f"codec {settings.codec!r}: not known; use one of {', '.join(ENCODERS)}")
    try:
        name = Codec(settings.encoder, "w").canonical_name
    except UnknownCodecError as error:
        raise InputError(f"codec {settings.encoder}: not in this build of PyAV; choose another codec") from error
    _check_choice(settings, "pixel format", settings.pixel_format, encoder.pixel_formats)
    if encoder.presets and settings.preset is not None:
        _check_choice(settings, "preset", settings.preset, tuple(encoder.presets))
    crf = encoder.crf
    if crf is not None and settings.crf is not None and settings.crf not in crf:
        raise InputError(f"crf {settings.crf}: {settings.encoder} takes {crf.start} (best) to {crf[-1]} (smallest)")
    if settings.threads < 0:
        raise InputError(f"threads {settings.threads}: must be 0 (one per core) or more")
    if settings.is_live and encoder.live is None:
        fits = ", ".join(known for known, other in ENCODERS.items() if other.live is not None)
        raise InputError(f"codec {settings.encoder}: holds frames back, which a live recording must not; use {fits}")
    _check_container(settings.encoder, name, path)
    return encoder


def encoder_options(settings: SinkSettings, encoder: Encoder) -> dict[str, str]:
    """The encoder's private options for checked settings."""
    options = {**encoder.options, "flags": "+frame_duration"}  # else packets last 1/rate whatever the frame says
    if settings.is_live:
        options |= encoder.live or {}
    if settings.preset is not None:
        options |= encoder.presets.get(settings.preset, {})
    if encoder.crf is not None and settings.crf is not None:
        options[encoder.quality] = str(settings.crf)
    if settings.encoder == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "0")  # or it (4.1) writes to the terminal what our error says anyway
    return options


def container_options(path: Path, metadata: Mapping[str, str], *, is_live: bool = False) -> dict[str, str]:
    """Muxer options that keep a file playable when its writer is killed or the disk is full, about 2 s short.

    MP4 and MOV are written in fragments and become plain files at close (hybrid_fragmented, FFmpeg 8). A fragment
    begins with a key frame only: FFmpeg 8.1 ends the edit list with the last fragment's pictures, so that a fragment
    cut between reordered ones (frag_duration) hid the last frame of every 50th file.

    is_live: at most `FRAGMENT` short instead: as nothing is reordered, a fragment may be cut anywhere, and the header,
    which needs no edit list, is in the file before the first frame.
    """
    options = {"flush_packets": "1", "max_interleave_delta": "1000000"}  # us; the default keeps 10 s in memory
    kind = FORMATS[path.suffix.lower()]
    if kind in ("matroska", "webm"):
        # ms; a cluster is written when it is complete, by default 5 s. Before the first one a file does not open.
        options["cluster_time_limit"] = "100" if is_live else "1000"
    if kind in ("mp4", "mov"):
        # delay_moov: else there is no edit list and B-frames move the first picture away from 0 (by 1/15 s at 30/s).
        flags = "+hybrid_fragmented" + ("+empty_moov" if is_live else "+delay_moov+frag_keyframe")
        if not metadata.keys() <= _COMMON_KEYS:
            flags += "+use_metadata_tags"  # any key, but then in Apple's mdta form only, which fewer players show
        options["movflags"] = flags
        if is_live:
            options["frag_duration"] = str(round(1_000_000 * FRAGMENT))  # us
        else:
            options["min_frag_duration"] = "1000000"  # us; else one a frame with FFV1 or MJPEG
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
        raise InputError(f"{what} {given!r}: {settings.encoder} takes one of {', '.join(allowed)}")


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
