"""The account of a run: its place is examined before, and a slip never costs a video."""

import errno
import json
import os

import pytest

from pipeline.frames import InputError, OutputError
from pipeline.json_file import check_json_path, write_json


@pytest.mark.parametrize("name", ["vis.mp4", "out", "stats.txt", "folder.json"])
def test_only_a_json_name_is_taken(tmp_path, name):
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError, match=r"ends in \.json"):
        check_json_path(tmp_path / name)


def test_a_folder_that_is_not_there_is_told_before_the_run(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        check_json_path(tmp_path / "nowhere" / "a.json")
    check_json_path(tmp_path / "out" / "a.json", folder_to_come=tmp_path / "out")


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(InputError, match="--overwrite"):
        check_json_path(tmp_path / "a.json", may_replace=False)
    check_json_path(tmp_path / "a.json", may_replace=True)
    write_json(tmp_path / "a.json", {"frames": 3})
    assert json.loads((tmp_path / "a.json").read_text()) == {"frames": 3}


def test_a_failure_to_write_is_one_line(tmp_path):
    with pytest.raises(OutputError, match=r"a\.json: No such file or directory"):
        write_json(tmp_path / "gone" / "a.json", {})


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)  # a failure as late as can be
    with pytest.raises(OutputError, match=r"a\.json: No space left"):
        write_json(path, {"frames": 3})
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_what_cannot_be_written_as_json_leaves_no_file_behind(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"frames": object()})
    assert not list(tmp_path.iterdir())


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "b.json").write_text("old")
    (tmp_path / "a.json").symlink_to("b.json")
    write_json(tmp_path / "a.json", 7)
    assert (tmp_path / "a.json").is_symlink()
    assert (tmp_path / "b.json").read_text() == "7\n"
