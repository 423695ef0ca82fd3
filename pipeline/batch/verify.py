"""Whether a file that was written holds what it is to hold: frames, their times, and that it plays."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError

from pipeline.frames import OutputError

TICK = Fraction(1, 1000)
"""s, to which Matroska rounds; MP4 is exact, TS to 1/90000."""


def check_chunk(path: Path, pts: Sequence[int], time_base: Fraction) -> None:
    """Raise OutputError unless a chunk's file holds exactly these frames, at these times after its first."""
    times = _times(path)
    _check_times(path, times, pts, time_base)


def check_whole(path: Path, pts: Sequence[int], time_base: Fraction, start: int, *, audio: int | None = None) -> None:
    """Raise OutputError unless a joined file has all frames at their times, and its first and last ones decode.

    start: pts at time 0 of the file. audio: how many audio streams it must have; None: any number.
    """
    times = _times(path)
    _check_times(path, times, pts, time_base)
    first = (pts[0] - start) * time_base
    is_late = path.suffix.lower() == ".ts"  # all of it later, by the depth of reordering
    if not is_late and abs(times[0] - first) > TICK:
        raise OutputError(f"{path}: its first frame is at {float(times[0]):.6f} s, not {float(first):.6f} s; {_AGAIN}")
    with _opened(path) as file:
        found = len(file.streams.audio)
        if audio is not None and found != audio:
            raise OutputError(f"{path}: has {found} audio streams, not {audio}; {_AGAIN}")
        _check_plays(path, file, times)


_AGAIN = "remove it and run the same command again"


def _times(path: Path) -> list[Fraction]:
    """s of all frames, as shown."""
    with _opened(path) as file:
        stream = file.streams.video[0]
        try:
            return sorted(p.pts * p.time_base for p in file.demux(stream) if p.size and p.pts is not None)
        except FFmpegError as error:
            raise OutputError(f"{path}: cannot be read back ({error.strerror}); {_AGAIN}") from error


def _check_times(path: Path, times: Sequence[Fraction], pts: Sequence[int], time_base: Fraction) -> None:
    if len(times) != len(pts):
        raise OutputError(f"{path}: holds {len(times)} frames, not the {len(pts)} that were written; {_AGAIN}")
    for time, wanted in zip(times, pts, strict=True):
        error = (time - times[0]) - (wanted - pts[0]) * time_base
        if abs(error) > TICK:
            raise OutputError(f"{path}: a frame is {float(error):.6f} s off; {_AGAIN}")


def _check_plays(path: Path, file: InputContainer, times: Sequence[Fraction]) -> None:
    """Decode the first frame, and from the last key frame to the end."""
    stream = file.streams.video[0]
    assert stream.time_base is not None
    try:
        first = next(file.decode(stream), None)
        for back in (0, 10, 60, times[-1] - times[0]):  # a transport stream is sought to no key frame, but to a time
            file.seek(int((times[-1] - back) / stream.time_base), stream=stream)
            last = max((frame.pts for frame in file.decode(stream) if frame.pts is not None), default=None)
            if first is not None and last is not None and abs(last * stream.time_base - times[-1]) <= TICK:
                return
    except FFmpegError as error:
        raise OutputError(f"{path}: does not play ({error.strerror}); {_AGAIN}") from error
    raise OutputError(f"{path}: does not play to its end; {_AGAIN}")


def _opened(path: Path) -> InputContainer:
    try:
        return av.open(f"file:{path}")
    except (FFmpegError, OSError) as error:
        raise OutputError(f"{path}: cannot be read back ({error}); {_AGAIN}") from error
