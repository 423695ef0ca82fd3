"""What a video file says of itself: rate, length, tags. Read from its headers, so none of it need be true."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from av.video.stream import VideoStream

NO_TIMESTAMPS = 0x0080
"""AVFMT_NOTIMESTAMPS of FFmpeg: a file type without time stamps (raw H.264, raw MJPEG); FFmpeg makes them up."""

TS_SYNC = b"G"
"""First byte of each packet of an MPEG transport stream (ISO/IEC 13818-1)."""

TS_PACKETS = ((188, 188), (192, 188), (204, 204))
"""Bytes of such a packet, and of those from its sync byte on: plain, Blu-ray, with error correction."""

CARRIED_TAGS = frozenset(
    {
        "title",
        "comment",
        "description",
        "date",
        "creation_time",
        "location",
        "artist",
        "author",
        "copyright",
        "make",
        "model",
        "com.apple.quicktime.make",
        "com.apple.quicktime.model",
        "com.apple.quicktime.creationdate",
        "com.apple.quicktime.location.iso6709",
    }
)
"""Tags of the container and the stream that go on to the output; what names an encoder would be untrue there."""


def carried_tags(container: InputContainer, stream: VideoStream) -> dict[str, str]:
    """The tags worth carrying to an output, keys in lower case; the container's go before the stream's."""
    tags = {key.lower(): value for key, value in (stream.metadata | container.metadata).items()}
    return {key: value for key, value in tags.items() if key in CARRIED_TAGS}


def has_clock(container: InputContainer) -> bool:
    """Whether the file type has time stamps of its own."""
    return not container.format.flags & NO_TIMESTAMPS


def is_mp4(container: InputContainer) -> bool:
    """Whether the file is an MP4 or MOV."""
    return "mp4" in container.format.name.split(",")


def nominal_rate(stream: VideoStream, *, is_timed: bool) -> Fraction | None:
    """Frames per second, exact; None if unknown.

    FFmpeg's average is off for files with coarse time stamps (989/33 for 29.97 in FLV) and its guess for variable
    rates (1000): the guess is taken where it lies within 2 % of the average, or the file has no time stamps at all.
    """
    average, guess = stream.average_rate or None, stream.guessed_rate or None
    if average is None or guess is None:
        return average or guess
    return guess if not is_timed or abs(guess - average) <= average / 50 else average


def promised_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """When the stream's last frame ends by what the file says, s on the stream's clock; None if it does not say."""
    for key, value in stream.metadata.items():
        match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", value)
        if match and key.upper().split("-")[0] == "DURATION":  # Matroska, of this stream alone
            hours, minutes, seconds = match.groups()
            return Fraction(seconds) + 60 * int(minutes) + 3600 * int(hours)
    if stream.duration and stream.time_base:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, 1_000_000)
    return None


def indexed_frames(stream: VideoStream) -> int:
    """How many frames an MP4's index promises, without those its edit list cuts away; 0 without an index.

    Of a fragmented file, after reading it: those of the fragments that came. Walks the index (0.1 s for an hour of
    video), so ask only when the plain count disagrees.
    """
    return sum(not entry.is_discard for entry in stream.index_entries)


def is_cut(path: Path, container: InputContainer) -> bool:
    """Whether an MPEG transport stream or a fragmented MP4 ends amid its structure: they promise no length.

    A file cut exactly between two of their packets or boxes cannot be told from one that was made so.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if container.format.name == "mpegts":
                return not any(size % step == 0 and _byte(file, size - back) == TS_SYNC for step, back in TS_PACKETS)
            return is_mp4(container) and not _boxes_end_at(file, size)
    except OSError:  # removed while it was read
        return False


def _byte(file: BinaryIO, position: int) -> bytes:
    file.seek(position)
    return file.read(1)


def _boxes_end_at(file: BinaryIO, size: int) -> bool:
    """Whether the boxes of an MP4 (ISO/IEC 14496-12, 4.2) follow each other up to a size, bytes."""
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if not re.fullmatch(rb"[ -~\xa9]{4}", kind):
            return False
        if length == 0:  # up to the end of the file
            return True
        if length < 8:
            return False
        position += length
    return position == size
