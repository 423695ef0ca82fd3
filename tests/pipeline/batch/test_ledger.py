"""The account of a batch: one writer, few commits, and what a crash may take from it costs nothing."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3

import pytest

from pipeline.batch import docket, durable
from pipeline.batch.driver import Driver
from pipeline.batch.ledger import FOLDER, LEASE, TOGETHER, Ledger, read_ledger
from pipeline.frames import InputError
from tests.pipeline.batch.archive import Inline, run_batch, task_of, write_pair


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(durable, "_sync", lambda path: None)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    return write_pair(folder, "a", count=40)


def test_changes_of_a_second_are_one_commit(tmp_path):
    now = [50.0]
    with Ledger(tmp_path, clock=lambda: now[0]) as ledger:
        for number in range(4):
            ledger.enter_chunk("t", number, state="done")
            now[0] += TOGETHER / 4 - 0.01
            assert not ledger.settle()
        assert read_ledger(tmp_path)[1] == []
        assert [row.state for row in ledger.rows()] == ["done"] * 4
        now[0] += 0.05
        assert ledger.settle()
        assert [row.state for row in read_ledger(tmp_path)[1]] == ["done"] * 4
        assert ledger.settle()  # nothing to do
        ledger.enter_chunk("t", 4, state="running")
        assert not ledger.settle()  # the second begins anew
    assert len(read_ledger(tmp_path)[1]) == 5  # closing keeps the last ones


def test_a_run_commits_as_often_as_seconds_pass_and_not_as_often_as_pieces_do(archive, tmp_path):
    commits = []
    with Ledger(tmp_path, clock=lambda: 0.0) as ledger:
        ledger._db.set_trace_callback(lambda text: commits.append(text) if text.startswith("COMMIT") else None)
        Driver(ledger, Inline(1), chunk=1.0).run([task_of(archive, tmp_path / "a.mp4", view="blend")])
    assert len(read_ledger(tmp_path)[1]) == 4
    assert len(commits) == 2  # at the end of the run, and when the lease is given back


@pytest.mark.parametrize("after", ["chunk", "join"])
def test_what_a_crash_takes_from_the_ledger_is_found_again(archive, tmp_path, after):
    """Killed before the first commit: pieces, and the output that was joined, are known by what lies beside them."""
    task = task_of(archive, tmp_path / "a.mp4", view="blend")

    class Killed(Inline):
        def submit(self, work):
            outcome = super().submit(work)
            if work.kind == after and work.values.get("index") in (None, 2):
                ledger._db.rollback()
                ledger._db.close()
                raise KeyboardInterrupt
            return outcome

    ledger = Ledger(tmp_path, clock=lambda: 0.0)
    with pytest.raises(KeyboardInterrupt):
        Driver(ledger, Killed(1), chunk=1.0).run([task])
    ledger._is_open = False
    ledger.close()
    assert read_ledger(tmp_path) == ([], [])
    again = Inline(1)
    outcome, rows, chunks = run_batch(tmp_path, [task], again)
    assert (outcome.done, outcome.aside, rows[0].frames) == (1, [], 40)
    assert len([work for work in again.done if work.kind == "chunk"]) == (1 if after == "chunk" else 0)
    assert [row.state for row in chunks] == ["done"] * 4
    assert not list((tmp_path / FOLDER).glob("*/*"))


def test_pieces_go_only_when_the_ledger_says_on_the_disk_that_the_file_is_done(archive, tmp_path, monkeypatch):
    states = []

    def remove(folder, **_):
        states.extend(row.state for row in read_ledger(tmp_path)[0])
        rmtree(folder)

    rmtree = shutil.rmtree
    monkeypatch.setattr(docket.shutil, "rmtree", remove)
    task = task_of(archive, tmp_path / "a.mp4", view="blend")
    assert run_batch(tmp_path, [task], Inline(1))[0].done == 1
    assert states == ["done"]
    left = tmp_path / FOLDER / read_ledger(tmp_path)[0][0].id
    left.mkdir()  # by a run that was killed between the two
    monkeypatch.undo()
    assert run_batch(tmp_path, [task], Inline(1))[0].skipped == 1
    assert not left.exists()


def _hold(folder, ready, over):
    with Ledger(folder):
        ready.set()
        over.wait(20)


def test_two_batches_cannot_share_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, over = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, over))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(InputError, match="another batch is at work"):
            Ledger(tmp_path)
    finally:
        over.set()
        other.join()
    Ledger(tmp_path).close()


def test_a_batch_of_another_machine_is_waited_for_until_its_lease_ends(tmp_path):
    now = [1000.0]
    Ledger(tmp_path, wall=lambda: now[0]).close()
    with sqlite3.connect(tmp_path / FOLDER / "ledger.db") as db:
        db.execute("INSERT OR REPLACE INTO lease VALUES (1, 'elsewhere', 77, ?)", (now[0] + LEASE,))
    with pytest.raises(InputError, match="a batch on elsewhere \\(process 77\\)"):
        Ledger(tmp_path, wall=lambda: now[0])
    now[0] += LEASE + 1
    Ledger(tmp_path, wall=lambda: now[0]).close()


def test_a_ledger_can_be_read_while_it_is_written_and_says_if_there_is_none(archive, tmp_path):
    with pytest.raises(InputError, match="no ledger"):
        read_ledger(tmp_path)
    with Ledger(tmp_path) as ledger:
        ledger.enter_task("t", state="done", out="x.mp4", complaints=["a line"])
        ledger.enter_chunk("t", 0, state="running")
        assert ledger.settle(at_once=True)
        tasks, rows = read_ledger(tmp_path)
    assert (tasks[0].out, tasks[0].complaints, tasks[0].frames) == ("x.mp4", ("a line",), 0)
    assert (rows[0].state, rows[0].attempt) == ("running", 0)
