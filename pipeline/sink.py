"""The one function that opens an output: a video file, an image file or a folder of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.encoding import FORMATS, SinkSettings
from pipeline.frames import InputError, Sink, StreamInfo
from pipeline.image_sink import IMAGE_SUFFIXES, ImageSink
from pipeline.video_sink import VideoSink

__all__ = ["SinkSettings", "open_sink"]


def open_sink(
    path: Path,
    info: StreamInfo,
    settings: SinkSettings | None = None,
    *,
    inputs: Sequence[Path] = (),
    audio_from: Sequence[Path] = (),
    audio_shift: float = 0.0,
    start: float = 0.0,
    end: float | None = None,
) -> Sink:
    """The output that a path names: by suffix a video or an image file; without one, or if it exists, a folder.

    info: of the frames to be written; `start_pts` becomes zero of the output. inputs: files and folders that must
    not be written to. audio_from: where to look for audio, VIS first; audio_shift: s, added to the audio times of
    all but the first. start, end: s from the first frame of VIS, the part that is fused; audio outside is left out
    (`start_pts` is then the pts at `start`).

    Nothing is written before the first frame. Raises InputError for a path or settings that cannot be used.
    """
    settings = settings or SinkSettings()
    suffix = path.suffix.lower()
    is_folder = path.is_dir() or not suffix
    if not is_folder and suffix not in (*FORMATS, *IMAGE_SUFFIXES):
        known = " ".join((*FORMATS, *IMAGE_SUFFIXES))
        raise InputError(f"{path}: unknown file type {suffix}; use one of {known}, or a folder name for images")
    _check_parent(path)
    _check_inputs(path, (*inputs, *audio_from), is_folder=is_folder)
    if not settings.overwrite:
        _check_absent(path, is_folder=is_folder)
    if is_folder or suffix in IMAGE_SUFFIXES:
        return ImageSink(path, info, is_folder=is_folder)
    return VideoSink(path, info, settings, audio_from=audio_from, audio_shift=audio_shift, start=start, end=end)


def _check_parent(path: Path) -> None:
    """Raise InputError unless the place where `path` is to be made exists and may be written to."""
    folder = path if path.is_dir() else path.parent
    if path.is_file() and not path.suffix:
        raise InputError(f"{path}: is a file, not a folder for images; name another output")
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist; create it or name another folder"
        raise InputError(f"{path}: {folder} {what}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path}: no permission to write into {folder}; change it or name another folder")
    if path.is_file() and not os.access(path, os.W_OK):
        raise InputError(f"{path}: is write-protected; change that or name another output")


def _check_inputs(path: Path, inputs: Sequence[Path], *, is_folder: bool) -> None:
    """Raise InputError if writing to `path` could change an input, under whatever name or link."""
    place = path if is_folder else path.parent
    for given in inputs:
        if _is_same(path, given):
            raise InputError(f"{path}: is the input {given}; name another output")
        folder = given if given.is_dir() else given.parent
        is_shared = given.is_dir() or is_folder or any(sign in given.name for sign in "*?[")
        if is_shared and _is_same(place, folder):
            raise InputError(f"{path}: would write into {folder}, where the input {given} is; name another folder")


def _is_same(one: Path, other: Path) -> bool:
    """True for one file or folder under two names: spelling, symbolic or hard link."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return one.resolve() == other.resolve()


def _check_absent(path: Path, *, is_folder: bool) -> None:
    """Raise InputError if something is there already."""
    advice = "pass --overwrite or name another output"
    if not is_folder and (path.exists() or path.is_symlink()):
        raise InputError(f"{path}: exists; {advice}")
    if is_folder and path.exists():
        images = sum(entry.suffix.lower() in IMAGE_SUFFIXES for entry in path.iterdir())
        if images:
            raise InputError(f"{path}: holds {images} images already; {advice}")
