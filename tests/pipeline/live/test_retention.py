"""What is deleted of a recording: its own oldest files, by steady age and by bytes, and nothing else ever."""

from __future__ import annotations

import os

import pytest

from pipeline.frames import InputError
from pipeline.live.retention import Retention, segment_path

NOON = 1_800_000_000.0


class Clock:
    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


def old_file(path, *, age, size=100):
    """A file last written `age` s before NOON."""
    path.write_bytes(b"x" * size)
    os.utime(path, (NOON - age, NOON - age))
    return path


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_names_are_utc_and_unique(tmp_path):
    first = segment_path(tmp_path / "cam.mp4", NOON)
    assert first.name == "cam_20270115T080000Z.mp4"
    first.touch()
    second = segment_path(tmp_path / "cam.mp4", NOON + 0.9)
    assert second.name == "cam_20270115T080000Z-1.mp4"
    second.symlink_to("nowhere")  # a dangling link is a name that is taken
    assert segment_path(tmp_path / "cam.mp4", NOON).name == "cam_20270115T080000Z-2.mp4"


def test_files_of_runs_before_are_deleted_by_age_and_only_those_of_this_recording(tmp_path):
    old_file(tmp_path / "cam_20270114T080000Z.mp4", age=7200)
    old_file(tmp_path / "cam_20270114T090000Z-3.mp4", age=3601)
    old_file(tmp_path / "cam_20270115T080000Z.mp4", age=60)
    others = ["cam_20270114T080000Z.mkv", "cam_20270114T080000.mp4", "cam.mp4", "xcam_20270114T080000Z.mp4",
              "cam_20270114T080000Z.mp4.part", "cam2_20270114T080000Z.mp4", "cam_20270114T080000Z-.mp4"]  # fmt: skip
    for name in others:
        old_file(tmp_path / name, age=10**6)
    (tmp_path / "cam_20260101T000000Z.mp4").symlink_to(tmp_path / "cam.mp4")
    (tmp_path / "cam_20260102T000000Z.mp4").mkdir()
    retention = Retention(tmp_path / "cam.mp4", max_age=3600, wall=Clock(NOON), clock=Clock())
    assert [path.name for path in retention.sweep()] == ["cam_20270114T080000Z.mp4", "cam_20270114T090000Z-3.mp4"]
    kept = [*others, "cam_20260101T000000Z.mp4", "cam_20260102T000000Z.mp4", "cam_20270115T080000Z.mp4"]
    assert left(tmp_path) == sorted(kept)


def test_age_is_counted_on_the_steady_clock(tmp_path):
    clock, wall = Clock(50.0), Clock(NOON)
    retention = Retention(tmp_path / "cam.mp4", max_age=100, wall=wall, clock=clock)
    path = old_file(segment_path(tmp_path / "cam.mp4", NOON), age=0)
    retention.finished(path)
    wall.now += 10**9  # a wall clock that jumps by 30 years
    assert retention.sweep() == []
    clock.now = 150.0
    assert retention.sweep() == []
    clock.now = 150.1
    assert retention.sweep() == [path]


def test_a_file_dated_in_the_future_counts_as_new(tmp_path):
    path = old_file(tmp_path / "cam_20300101T000000Z.mp4", age=-(10**8))
    clock = Clock(0.0)
    retention = Retention(tmp_path / "cam.mp4", max_age=100, wall=Clock(NOON), clock=clock)
    assert retention.sweep() == []
    clock.now = 101.0
    assert retention.sweep() == [path]


def test_bytes_are_kept_below_the_limit_with_the_growing_file_counted(tmp_path):
    names = [f"cam_2027011{day}T080000Z.ts" for day in (1, 2, 3, 4)]
    for k, name in enumerate(names):
        old_file(tmp_path / name, age=1000 - k, size=300)
    retention = Retention(tmp_path / "cam.ts", max_bytes=1000, wall=Clock(NOON), clock=Clock())
    assert [path.name for path in retention.sweep()] == names[:1]  # 1200 to 900
    assert retention.sweep(growing=100) == []  # 1000 is not more than 1000
    assert [path.name for path in retention.sweep(growing=401)] == names[1:3]
    assert [path.name for path in retention.sweep(growing=5000)] == names[3:]  # the growing one is never touched
    assert retention.sweep(growing=5000) == []


def test_a_file_that_is_gone_already_frees_its_bytes(tmp_path):
    paths = [old_file(tmp_path / f"cam_2027011{d}T080000Z.ts", age=9 - d, size=600) for d in (1, 2)]
    retention = Retention(tmp_path / "cam.ts", max_bytes=1000, wall=Clock(NOON), clock=Clock())
    paths[0].unlink()
    assert retention.sweep() == []
    assert left(tmp_path) == [paths[1].name]


def test_what_cannot_be_deleted_is_said_once(tmp_path, caplog, monkeypatch):
    path = old_file(tmp_path / "cam_20270111T080000Z.ts", age=900)
    retention = Retention(tmp_path / "cam.ts", max_age=10, wall=Clock(NOON), clock=Clock())

    def refuse(self, missing_ok=False):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(type(path), "unlink", refuse)
    assert (retention.sweep(), retention.sweep()) == ([], [])
    assert len(caplog.records) == 1
    assert "cannot be deleted (Operation not permitted); it stays" in caplog.text


@pytest.mark.parametrize("limits", [{"max_age": 0}, {"max_bytes": -5}])
def test_limits_that_would_keep_nothing_are_refused(tmp_path, limits):
    with pytest.raises(InputError, match="give more than 0"):
        Retention(tmp_path / "cam.ts", **limits)
