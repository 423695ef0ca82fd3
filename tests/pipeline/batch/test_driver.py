"""What a run does when things go wrong: retries, puts aside, goes on, and never does a thing twice."""

from __future__ import annotations

import errno
import threading

import pytest

from pipeline.batch import durable, join
from pipeline.batch.durable import DiskFullError
from pipeline.batch.ledger import FOLDER, read_ledger
from pipeline.batch.pieces import ATTEMPTS
from pipeline.batch.work import WorkError
from tests.pipeline.batch.archive import Inline, run_batch, task_of, write_pair


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(durable, "_sync", lambda path: None)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for name in ("a", "b"):
        write_pair(folder, name, count=60 if name == "a" else 30)
    return folder


def tasks_of(archive, out, **options):
    return [task_of(archive, out / f"{name}.mp4", name, view="blend", **options) for name in ("a", "b")]


def spoiler(why, *, index=None, kind="chunk", times=99):
    """Fails work of a kind and number, so many times."""
    left = [times]

    def spoil(work, count):
        if work.kind == kind and index in (None, work.values.get("index")) and left[0]:
            left[0] -= 1
            raise WorkError(f"no {kind} today", why)

    return spoil


def test_a_failed_chunk_is_tried_again_and_nothing_is_done_twice(archive, tmp_path):
    executor = Inline(2, spoiler("lost", index=3, times=ATTEMPTS - 1))
    outcome, tasks, rows = run_batch(tmp_path, tasks_of(archive, tmp_path), executor)
    assert (outcome.done, outcome.aside, outcome.retried) == (2, [], ATTEMPTS - 1)
    assert [task.state for task in tasks] == ["done", "done"]
    row = next(row for row in rows if row.number == 3)
    assert (row.attempt, row.state, row.error) == (ATTEMPTS - 1, "done", "no chunk today")
    fused = [(work.values["folder"], work.values["index"]) for work in executor.done if work.kind == "chunk"]
    assert len(fused) == len(set(fused)) + ATTEMPTS - 1 == len(rows) + ATTEMPTS - 1
    assert executor.closed


def test_a_chunk_that_fails_three_times_is_put_aside_with_its_reason_and_all_others_are_done(archive, tmp_path):
    outcome, tasks, rows = run_batch(tmp_path, tasks_of(archive, tmp_path), Inline(2, spoiler("other", index=4)))
    assert outcome.done == 1
    assert outcome.aside == [(str(tmp_path / "a.mp4"), "chunk 4 of 6: no chunk today")]
    assert {task.out.rsplit("/")[-1]: task.state for task in tasks} == {"a.mp4": "put aside", "b.mp4": "done"}
    states = [row.state for row in rows if row.task.startswith("a")]
    assert states == ["done"] * 4 + ["put aside", "done"]
    assert not (tmp_path / "a.mp4").exists()
    again = Inline(2)
    outcome, tasks, _ = run_batch(tmp_path, tasks_of(archive, tmp_path), again)
    assert (outcome.done, outcome.skipped, outcome.chunks) == (2, 1, 1)  # only what was missing is fused
    assert [work.values["index"] for work in again.done if work.kind == "chunk"] == [4]


def test_the_largest_file_is_begun_first(archive, tmp_path):
    executor = Inline(1)
    run_batch(tmp_path, tasks_of(archive, tmp_path)[::-1], executor)
    order = [work.values["task"]["vis"].rsplit("/")[-1] for work in executor.done if work.kind == "plan"]
    assert order == ["a.mp4", "b.mp4"]


def test_a_full_disk_ends_the_run_and_is_no_fault_of_the_chunk(archive, tmp_path):
    tasks = tasks_of(archive, tmp_path)
    with pytest.raises(DiskFullError, match="no chunk today"):
        run_batch(tmp_path, tasks, Inline(1, spoiler("full", index=2)))
    _, rows = read_ledger(tmp_path)
    assert [row.attempt for row in rows] == [0] * len(rows)
    assert [row.state for row in rows[:3]] == ["done", "done", "waiting"]
    assert run_batch(tmp_path, tasks, Inline(1))[0].done == 2


def test_a_disk_that_is_full_while_joining_ends_the_run_and_no_piece_is_fused_again(archive, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    tasks = tasks_of(archive, tmp_path)[:1]
    with monkeypatch.context() as patch:
        patch.setattr(join, "_video_stream", full)
        with pytest.raises(DiskFullError, match=r"a\.mp4: .*run the same command again"):
            run_batch(tmp_path, tasks, Inline(1))
    outcome, _, _ = run_batch(tmp_path, tasks, Inline(1))
    assert (outcome.done, outcome.chunks) == (1, 0)


def test_ctrl_c_keeps_finished_chunks(archive, tmp_path):
    stop = threading.Event()

    def after_three(outcome):
        if outcome.chunks == 3:
            stop.set()

    tasks = tasks_of(archive, tmp_path)
    outcome, _, _ = run_batch(tmp_path, tasks, Inline(1), stop=stop, tell=after_three)
    assert (outcome.is_interrupted, outcome.done, outcome.chunks) == (True, 0, 3)
    outcome, _, rows = run_batch(tmp_path, tasks, Inline(1))
    assert (outcome.done, outcome.chunks) == (2, len(rows) - 3)


def test_done_tasks_are_left_alone_until_a_file_or_an_option_changes(archive, tmp_path):
    run_batch(tmp_path, tasks_of(archive, tmp_path), Inline(1))
    kept = (tmp_path / "b.mp4").stat().st_mtime_ns
    outcome, _, _ = run_batch(tmp_path, tasks_of(archive, tmp_path), Inline(1))
    assert (outcome.done, outcome.skipped, outcome.chunks) == (2, 2, 0)
    (tmp_path / "a.mp4").unlink()
    outcome, _, _ = run_batch(tmp_path, tasks_of(archive, tmp_path), Inline(1))
    assert (outcome.done, outcome.skipped) == (2, 1)
    assert (tmp_path / "b.mp4").stat().st_mtime_ns == kept
    outcome, _, _ = run_batch(tmp_path, tasks_of(archive, tmp_path, crf="30"), Inline(1))
    assert (outcome.done, outcome.skipped, outcome.aside) == (2, 0, [])


def test_an_output_of_somebody_else_is_not_replaced(archive, tmp_path):
    (tmp_path / "a.mp4").write_text("mine")
    for _ in range(2):  # also not once it is known as put aside
        executor = Inline(1)
        outcome, _, _ = run_batch(tmp_path, tasks_of(archive, tmp_path), executor)
        assert (outcome.done, [label for label, _ in outcome.aside]) == (1, [str(tmp_path / "a.mp4")])
        assert not any(work.kind == "plan" and work.values["task"]["out"].endswith("a.mp4") for work in executor.done)
    assert (tmp_path / "a.mp4").read_text() == "mine"
    assert "pass --overwrite" in outcome.aside[0][1]
    assert run_batch(tmp_path, tasks_of(archive, tmp_path), Inline(1), may_replace=True)[0].done == 2


def test_an_output_is_not_an_input(archive, tmp_path):
    task = task_of(archive, archive / "ir" / "a.mp4", view="blend")
    outcome, _, _ = run_batch(tmp_path, [task], Inline(1), may_replace=True)
    assert "is an input" in outcome.aside[0][1]


def test_a_join_that_was_killed_before_the_ledger_knew_is_not_done_again(archive, tmp_path):
    class Killed(Inline):
        def submit(self, work):
            outcome = super().submit(work)
            if work.kind == "join":
                raise KeyboardInterrupt  # the output is there, the driver has not heard of it
            return outcome

    tasks = tasks_of(archive, tmp_path)[:1]
    with pytest.raises(KeyboardInterrupt):
        run_batch(tmp_path, tasks, Killed(1))
    written = (tmp_path / "a.mp4").stat()
    outcome, rows, _ = run_batch(tmp_path, tasks, Inline(1))
    assert (outcome.done, outcome.chunks, rows[0].frames) == (1, 0, 60)
    assert (tmp_path / "a.mp4").stat().st_ino == written.st_ino
    assert not list((tmp_path / FOLDER).glob("*/*"))


def test_inputs_that_cannot_be_planned_are_named_at_once(archive, tmp_path):
    tasks = tasks_of(archive, tmp_path)
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 999)
    tasks.append(
        task_of(archive, tmp_path / "c.mp4", view="blend").__class__(
            str(tmp_path / "broken.mp4"), str(tmp_path / "none.mp4"), str(tmp_path / "c.mp4")
        )
    )
    outcome, rows, _ = run_batch(tmp_path, tasks, Inline(1))
    assert (outcome.done, len(outcome.aside), outcome.retried) == (2, 1, 1)
    assert "none.mp4: no such file" in outcome.aside[0][1]
    assert next(row for row in rows if row.state == "put aside").error == outcome.aside[0][1]
