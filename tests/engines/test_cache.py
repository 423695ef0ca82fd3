"""The cache of engines: a private folder, one builder at a time, never a half file."""

import contextlib
import hashlib
import multiprocessing
import os
import resource
import signal
import tempfile
from pathlib import Path

import pytest

from engines.cache import LOCK, CacheError, Made, engine_folder, obtain, open_folder
from engines.record import SIDECAR, EngineKey, Record, StaleError, read_plan

FORK = multiprocessing.get_context("fork")
NOBODY = 65534
SHA = "0123456789abcdef" * 4
KEY = EngineKey(
    graph="encoder_ir", onnx=SHA, precision="fp16", profile="640x480", batch=1, target="sm_86", flavour="rtx",
    version="1.7.1.116",
)  # fmt: skip
PATIENCE = 30
"""s that a process of a test may take."""


@pytest.fixture
def folder(tmp_path):
    return open_folder(tmp_path / "cache" / "engines")


def made(plan=b"plan", key=KEY):
    return Made(
        plan,
        Record(
            key=key,
            plan_sha256=hashlib.sha256(plan).hexdigest(),
            plan_bytes=len(plan),
            scratch_bytes=1 << 20,
            seconds=0.5,
            model="jcae",
            model_json="/nowhere/model.json",
            model_files={},
        ),
    )


def ask(folder, make=made, *, key=KEY, force=False, told=None):
    told = [] if told is None else told
    return obtain(folder, key, make, force=force, on_progress=told.append)


def never():
    raise AssertionError("built again")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def finish(process):
    process.join(PATIENCE)
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"CROTALUS_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, Path("/c/engines")),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/crotalus/engines")),
        ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache/crotalus/engines"),
        ({}, Path.home() / ".cache/crotalus/engines"),
    ],
)
def test_engines_live_in_the_users_cache_folder(environment, wanted):
    assert engine_folder(environment) == wanted


def test_a_new_folder_is_for_the_user_alone(folder):
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]


def test_files_are_for_the_user_alone(folder):
    ask(folder)
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_refused(folder, mode):
    folder.chmod(mode)
    with pytest.raises(CacheError, match=rf"mode {mode:o} lets others write .*chmod 700"):
        open_folder(folder)


def test_a_folder_of_somebody_else_is_refused(folder):
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(CacheError, match=r"belongs to user 65534, you are 0; .*CROTALUS_CACHE"):
        open_folder(folder)


@pytest.mark.parametrize("place", ["file/engines", "file"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="set CROTALUS_CACHE"):
        open_folder(tmp_path / place)


def test_a_good_engine_is_not_built_again(folder):
    assert ask(folder) == (made().record, True)
    assert ask(folder, never) == (made().record, False)
    assert read_plan(folder / KEY.name) == (made().record, b"plan")
    assert names(folder) == sorted([KEY.name, str(Path(KEY.name).with_suffix(SIDECAR)), LOCK])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda plan, sidecar: plan.write_bytes(b""), "half written, 0 of 4 bytes"),
        (lambda plan, sidecar: plan.write_bytes(b"pla"), "half written, 3 of 4 bytes"),
        (lambda plan, sidecar: plan.write_bytes(b"plaN"), "damaged"),
        (lambda plan, sidecar: plan.unlink(), "cannot be read"),
        (lambda plan, sidecar: sidecar.unlink(), "its sidecar is missing"),
        (lambda plan, sidecar: sidecar.write_text(""), "its sidecar is damaged"),
        (lambda plan, sidecar: sidecar.write_text('{"key": 1}'), "its sidecar is damaged"),
        (
            lambda plan, sidecar: sidecar.write_text(
                made(key=KEY.model_copy(update={"target": "sm_75"})).record.model_dump_json()
            ),
            "its sidecar is of another engine",
        ),
    ],
)
def test_what_is_damaged_is_built_again_and_says_so(folder, damage, reason):
    ask(folder)
    path = folder / KEY.name
    damage(path, path.with_suffix(SIDECAR))
    told = []
    assert ask(folder, told=told)[1]
    assert len(told) == 1
    assert told[0].startswith("building encoder_ir for sm_86 at 640x480 in fp16 (")
    assert reason in told[0]
    assert read_plan(path)[1] == b"plan"


@pytest.mark.parametrize("change", [{"version": "1.8.0.1"}, {"target": "sm_89"}])
def test_another_version_or_gpu_is_built_and_the_old_engine_stays(folder, change):
    ask(folder)
    told, key = [], KEY.model_copy(update=change)
    assert ask(folder, lambda: made(b"new", key), key=key, told=told)[1]
    assert "there is one of rtx 1.7.1.116 for sm_86" in told[0]
    assert read_plan(folder / KEY.name)[1] == b"plan"
    assert read_plan(folder / key.name)[1] == b"new"


def test_the_old_engine_stays_until_the_new_one_is_in_place(folder):
    ask(folder)

    def make():
        assert read_plan(folder / KEY.name)[1] == b"plan"
        return made(b"better")

    assert ask(folder, make, force=True)[1]
    assert read_plan(folder / KEY.name)[1] == b"better"


def test_a_build_that_fails_leaves_the_old_engine_and_frees_the_lock(folder):
    ask(folder)

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(folder, fail, force=True)
    assert read_plan(folder / KEY.name)[1] == b"plan"
    assert ask(folder, force=True)[1]


def test_a_changed_plan_is_not_handed_out(folder):
    ask(folder)
    (folder / KEY.name).write_bytes(b"evil")
    with pytest.raises(StaleError, match=rf"{KEY.name}: damaged, .*build it again"):
        read_plan(folder / KEY.name)


def test_a_full_disk_is_one_line_and_leaves_nothing(folder):
    ask(folder)
    before = names(folder)

    def child():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        with pytest.raises(CacheError, match=rf"{folder}: File too large; .*free space, or set CROTALUS_CACHE"):
            ask(folder, lambda: made(b"x" * 1000), force=True)

    process = FORK.Process(target=child)
    process.start()
    finish(process)
    assert names(folder) == before
    assert read_plan(folder / KEY.name)[1] == b"plan"


def test_a_folder_that_cannot_be_written_is_one_line_and_still_read():
    with tempfile.TemporaryDirectory() as scratch:  # pytest's own folder is closed to other users
        os.chmod(scratch, 0o755)
        folder = open_folder(Path(scratch) / "engines")
        ask(folder)

        def child():
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            assert ask(open_folder(folder), never) == (made().record, False)
            with pytest.raises(CacheError, match=r"Permission denied; .*set CROTALUS_CACHE"):
                ask(folder, never, key=KEY.model_copy(update={"target": "sm_75"}))

        (folder / LOCK).unlink()
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        folder.chmod(0o500)
        process = FORK.Process(target=child)
        process.start()
        finish(process)
        folder.chmod(0o700)


def test_of_two_processes_that_ask_at_once_one_builds_and_the_other_waits(folder):
    built, waits, start = FORK.Value("i", 0), FORK.Event(), FORK.Barrier(2)

    def make():
        with built.get_lock():
            built.value += 1
        assert waits.wait(PATIENCE)  # so that the other is known to have met the lock
        return made()

    def tell(line):
        if line.startswith("waiting for another process"):
            waits.set()

    def child():
        start.wait(PATIENCE)
        record, _ = obtain(folder, KEY, make, force=False, on_progress=tell)
        assert record == made().record

    processes = [FORK.Process(target=child) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        finish(process)
    assert built.value == 1


def test_a_killed_builder_leaves_its_place_to_the_next(folder):
    building, waits = FORK.Event(), FORK.Event()

    def hang():
        building.set()
        Path(folder, "half.tmp").write_bytes(b"half a pl")
        signal.pause()

    def tell(line):
        if line.startswith("waiting for another process"):
            waits.set()

    first = FORK.Process(target=lambda: ask(folder, hang))
    second = FORK.Process(target=lambda: obtain(folder, KEY, made, force=False, on_progress=tell))
    first.start()
    assert building.wait(PATIENCE)
    second.start()
    assert waits.wait(PATIENCE)
    os.kill(first.pid, signal.SIGKILL)
    first.join(PATIENCE)
    finish(second)
    assert ask(folder, never) == (made().record, False)


def test_a_builder_killed_between_plan_and_sidecar_is_noticed(folder):
    ask(folder)

    def child():
        def make():
            (folder / KEY.name).write_bytes(b"new plan, no record yet")
            os.kill(os.getpid(), signal.SIGKILL)

        with contextlib.suppress(BaseException):
            ask(folder, make, force=True)

    process = FORK.Process(target=child)
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert ask(folder)[1]
