"""The commands `batch` and `run-chunk` as a user meets them: processes, exit codes, one line for what is wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.batch.ledger import FOLDER, read_ledger
from pipeline.batch.pool import LocalPool
from pipeline.batch.task import Task
from pipeline.batch.work import Work, WorkError
from pipeline.commands.batch import batch, run_chunk
from pipeline.frames import InputError
from tests.pipeline.batch.archive import in_one_piece, task_of, write_pair
from tests.pipeline.media import read

ROOT = Path(__file__).parents[3]
BLEND = ("--chunk", "1s", "--option", "view=blend", "--option", "preset=ultrafast")


def command(*args) -> list[str]:
    return [sys.executable, str(ROOT / "run_stream.py"), *map(str, args)]


def crotalus(*args, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, timeout=200, **kwargs)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder of two pairs, and the framehash of each in one piece."""
    folder = tmp_path_factory.mktemp("archive")
    truth = {}
    for name, count in (("a", 90), ("b", 30)):
        write_pair(folder, name, count)
        truth[name] = in_one_piece(task_of(folder, f"{name}.mp4", name, view="blend"), None, folder)[0]
    (folder / "one.mp4").unlink()
    return folder, truth


def hashes(out):
    return {Path(row.out).stem: row.framehash for row in read_ledger(out)[0]}


def test_a_driver_killed_at_work_leaves_no_worker_and_the_same_command_goes_on(archive, tmp_path):
    folder, truth = archive
    args = ("batch", folder, "-o", tmp_path, "--workers", 1, *BLEND)
    driver = subprocess.Popen(command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    workers: list[int] = []
    while len(results(tmp_path)) < 2:
        assert driver.poll() is None
        workers = children(driver.pid) or workers
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in workers))
    assert workers
    done = pieces_of(tmp_path)
    again = crotalus(*args)
    assert again.returncode == 0, again.stderr
    assert hashes(tmp_path) == truth
    assert "2 of 2 files done" in again.stdout
    assert f" in {len(read_ledger(tmp_path)[1]) - done} pieces" in again.stdout
    assert (len(read(tmp_path / "a.mp4")), len(read(tmp_path / "b.mp4"))) == (90, 30)
    assert sorted(path.name for path in tmp_path.iterdir()) == [FOLDER, "a.mp4", "b.mp4"]


def rows_of(out):
    try:
        return read_ledger(out)[1]
    except InputError:  # not there yet
        return []


def pieces_of(out):
    """Number of pieces that need not be fused again: those on the disk, and of files that are done."""
    done = {row.id for row in read_ledger(out)[0] if row.state == "done"}
    there = sum(path.parent.name not in done for path in results(out))
    return there + sum(row.task in done for row in read_ledger(out)[1])


def results(out):
    """Of pieces that are done, of files that are not: they are there before the ledger tells of them."""
    return [path for path in (out / FOLDER).glob("*/0*.json") if not path.name.endswith("spec.json")]


def children(pid):
    """Processes that a process has started."""
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for text in lists for child in text.split()]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(fact, seconds=60):
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_full_disk_is_one_line_and_code_1_and_the_run_goes_on_later(archive, tmp_path):
    folder, _ = archive
    args = ("batch", folder, "-o", tmp_path, "--workers", 1, "--chunk", "8s", "--option", "view=blend",
            "--option", "codec=ffv1", "--option", "view=ir")  # fmt: skip
    full = crotalus(*args, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)))
    assert full.returncode == 1, full.stderr
    assert full.stderr.count("\n") == 1
    assert "disk full" in full.stderr
    assert "run the same command again" in full.stderr
    assert not list(tmp_path.glob("*.mp4"))
    assert not list(tmp_path.glob(f"{FOLDER}/*/.*part*"))
    again = crotalus(*args)
    assert (again.returncode, again.stderr) == (0, "")


def test_damaged_inputs_are_named_and_all_others_are_done(archive, tmp_path):
    folder, truth = archive
    cut, headless = tmp_path / "cut.ts", tmp_path / "headless.mp4"
    write_pair(tmp_path / "in", "t", 60, suffix=".ts")
    whole = (tmp_path / "in" / "vis" / "t.ts").read_bytes()
    cut.write_bytes(whole[: len(whole) * 2 // 3 - 77])
    headless.write_bytes((folder / "vis" / "a.mp4").read_bytes()[:9000])
    lines = [
        {"ir": str(tmp_path / "in" / "ir" / "t.ts"), "vis": str(cut), "out": "cut.mp4"},
        {"ir": str(folder / "ir" / "a.mp4"), "vis": str(headless), "out": "headless.mp4"},
        {"ir": str(folder / "ir" / "a.mp4"), "vis": str(folder / "vis" / "a.mp4"), "out": "deep/a.mp4"},
    ]
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    done = crotalus("batch", manifest, "-o", tmp_path / "out", "--workers", 1, *BLEND)
    assert done.returncode == 3
    errors = done.stderr.splitlines()
    assert all("cut.mp4: cut.ts: " in line for line in errors[:-1]), errors
    assert "cut short" in errors[0]
    assert "put aside" in errors[-1]
    assert "headless.mp4: MP4 without its index" in errors[-1]
    assert hashes(tmp_path / "out")["a"] == truth["a"]
    assert 30 < len(read(tmp_path / "out" / "cut.mp4")) < 60


def test_pieces_fused_by_array_jobs_are_joined(archive, tmp_path):
    folder, truth = archive
    args = ("batch", folder, "-o", tmp_path, "--workers", 1, *BLEND)
    planned = crotalus(*args, "--plan")
    assert planned.returncode == 0, planned.stderr
    specs = (tmp_path / FOLDER / "chunks.txt").read_text().split()
    assert len(specs) == 12
    done = crotalus("run-chunk", specs[1], cwd="/")
    assert done.returncode == 0, done.stderr
    assert "chunk 1: 10 frames" in done.stdout
    rest = crotalus(*args)
    assert rest.returncode == 0, rest.stderr
    assert "in 11 pieces" in rest.stdout
    assert hashes(tmp_path) == truth


def test_wrong_use_is_one_line_and_code_2(archive, tmp_path):
    folder, _ = archive
    for given, said in (
        ({"option": ["colour=red"]}, "option 'colour': not one of batch"),
        ({"option": ["colour"]}, "--option colour: give NAME=VALUE"),
        ({"option": ["crf=99"]}, "crf 99: libx264 takes"),
        ({"chunk": "0.2s"}, "--chunk 0.2s: give 1 s or more"),
        ({"sides": "ir"}, "--sides ir: give the two words"),
    ):
        with pytest.raises(InputError) as caught:
            batch([str(folder)], tmp_path / "out", **given)
        assert said in str(caught.value)
    done = crotalus("batch", tmp_path / "none.csv", "-o", tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert not (tmp_path / "out").exists()
    bad = tmp_path / "x.json"
    bad.write_text("{}")
    done = crotalus("run-chunk", bad)
    assert (done.returncode, "not a piece of a batch" in done.stderr) == (2, True)
    with pytest.raises(InputError, match="no array index beyond its last"):
        run_chunk(Path(""))  # what `sed -n 99p` gives of fewer lines


def test_ctrl_c_ends_workers_and_keeps_what_is_done(archive, tmp_path):
    folder, _ = archive
    args = command("batch", folder, "-o", tmp_path, "--workers", 1, *BLEND)
    driver = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: results(tmp_path))
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "run the same command again" in said
    states, there = [row.state for row in read_ledger(tmp_path)[1]], len(results(tmp_path))
    assert there - 1 <= states.count("done") <= there  # the last one may not have been heard of
    assert "running" not in states


def test_a_killed_worker_is_told_as_lost_and_replaced(archive, tmp_path):
    folder, _ = archive
    pool = LocalPool(1)
    work = Work.plan(Task(str(folder / "ir" / "a.mp4"), str(folder / "vis" / "a.mp4"), "x.mp4"), 1.0)
    try:
        lost = pool.submit(work)
        wait_for(pool.pids)
        os.kill(pool.pids()[0], signal.SIGKILL)  # before it has read its libraries, so within its work
        with pytest.raises(WorkError, match="killed by signal 9") as caught:
            lost.result(60)
        assert caught.value.why == "lost"
        assert pool.submit(work).result(60)["pairs"] == 90
    finally:
        pool.close()
    assert pool.pids() == []


def test_workers_have_cores_of_their_own():
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("one core only")
    pool = LocalPool(2, cores=set(cores))
    try:
        for _ in range(2):
            pool.submit(Work("plan", {}))
        wait_for(lambda: len(pool.pids()) == 2)
        wait_for(lambda: sorted(map(os.sched_getaffinity, pool.pids()), key=min) == [{core} for core in cores])
    finally:
        pool.close()
    with pytest.raises(InputError, match="give 1 to 2"):
        LocalPool(3, cores=set(cores))
