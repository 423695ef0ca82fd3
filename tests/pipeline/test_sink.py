from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.frames import InputError
from pipeline.image_sink import ImageSink
from pipeline.sink import SinkSettings, open_sink
from pipeline.video_sink import VideoSink
from tests.pipeline.sink_media import make_info

OVER = SinkSettings(overwrite=True)


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".avi", ".ts", ".MP4"])
def test_video_suffix_opens_a_video(tmp_path, suffix):
    assert isinstance(open_sink(tmp_path / f"a{suffix}", make_info()), VideoSink)


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "out", "existing.mp4"])
def test_image_suffix_no_suffix_and_folder_open_images(tmp_path, name):
    (tmp_path / "existing.mp4").mkdir()
    assert isinstance(open_sink(tmp_path / name, make_info()), ImageSink)


def test_unknown_suffix_names_the_known(tmp_path):
    with pytest.raises(InputError, match=r"unknown file type \.gif; use one of \.mp4 .* \.png"):
        open_sink(tmp_path / "a.gif", make_info())


@pytest.mark.parametrize(("name", "said"), [("no/a.mp4", "create it"), ("file/a.mp4", "is not a folder")])
def test_missing_parent_says_what_to_do(tmp_path, name, said):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=said):
        open_sink(tmp_path / name, make_info())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission"):
        open_sink(tmp_path / "a.mp4", make_info())


@pytest.mark.parametrize("name", ["a.mp4", "a.png", "out"])
def test_existing_output_needs_overwrite(tmp_path, name):
    (tmp_path / "out").mkdir()
    for path in (tmp_path / "a.mp4", tmp_path / "a.png", tmp_path / "out" / "1.png"):
        path.write_bytes(b"old")
    with pytest.raises(InputError, match="pass --overwrite"):
        open_sink(tmp_path / name, make_info())
    open_sink(tmp_path / name, make_info(), OVER).close()
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


def test_dangling_link_counts_as_existing(tmp_path):
    (tmp_path / "a.mp4").symlink_to(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="exists"):
        open_sink(tmp_path / "a.mp4", make_info())


def test_file_without_suffix_is_not_taken_for_a_folder(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(InputError, match="is a file"):
        open_sink(tmp_path / "out", make_info(), OVER)


@pytest.mark.parametrize("how", ["itself", "spelling", "symbolic link", "hard link", "linked folder"])
@pytest.mark.parametrize("role", ["inputs", "audio_from"])
def test_input_is_never_overwritten(tmp_path, how, role):
    source = tmp_path / "vis.mp4"
    source.write_bytes(b"film")
    target = source
    if how == "spelling":
        (tmp_path / "sub").mkdir()
        target = tmp_path / "sub" / ".." / "vis.mp4"
    elif how == "symbolic link":
        target = tmp_path / "b.mp4"
        target.symlink_to(source)
    elif how == "hard link":
        target = tmp_path / "b.mp4"
        target.hardlink_to(source)
    elif how == "linked folder":
        (tmp_path / "link").symlink_to(tmp_path)
        target = tmp_path / "link" / "vis.mp4"
    with pytest.raises(InputError, match="is the input"):
        open_sink(target, make_info(), OVER, **{role: [source]})
    assert source.read_bytes() == b"film"


@pytest.mark.parametrize("given", [".", "*.png", "1.png"])
@pytest.mark.parametrize("target", [".", "a.png", "a.mp4"])
def test_folder_of_input_images_is_not_written_into(tmp_path, given, target):
    """A folder or pattern as input closes the folder to every output; a single image only to a folder of images."""
    (tmp_path / "1.png").write_bytes(b"")
    if given == "1.png" and target != ".":
        open_sink(tmp_path / target, make_info(), OVER, inputs=[tmp_path / given])
        return
    with pytest.raises(InputError, match=r"would write into|is the input"):
        open_sink(tmp_path / target, make_info(), OVER, inputs=[tmp_path / given])


def test_output_beside_an_input_file_is_fine(tmp_path):
    source = tmp_path / "vis.mp4"
    source.write_bytes(b"film")
    open_sink(Path(tmp_path / "fused.mp4"), make_info(), inputs=[source], audio_from=[source]).close()
