"""Kill workers, drivers and machines of a Ray cluster, and hold what comes out against one run in one piece.

Not a test that is collected: `python -m tests.pipeline.batch.cluster_faults [KILLS] [FOLDER]` takes some minutes. It
ends with exit code 1 at the first difference.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
from moto.server import ThreadedMotoServer

from pipeline.batch.driver import Outcome
from pipeline.batch.ledger import FOLDER, read_ledger
from pipeline.batch.pieces import ATTEMPTS
from pipeline.batch.ray_executor import RayCluster
from pipeline.batch.task import Task
from tests.pipeline.batch.archive import in_one_piece, run_batch, task_of, write_pair
from tests.pipeline.batch.cluster import kill, two_nodes
from tests.pipeline.batch.faults import is_begun
from tests.pipeline.batch.stores import Spoiler
from tests.pipeline.batch.test_batch_command import command, is_alive, pieces_of, rows_of

NAMES = ("a", "b", "c")
OPTIONS = {"preset": "ultrafast", "view": "edges"}
EACH = 5
"""Kills of workers in one run."""


def main() -> None:
    """All faults, one after the other, on one cluster; the last one takes half of it away."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())
    for number, name in enumerate(NAMES):
        write_pair(folder / "in", name, 100 + 50 * number)
    tasks = [task_of(folder / "in", f"{name}.mp4", name, **OPTIONS) for name in NAMES]
    truth = {task.out: in_one_piece(task, None, folder) for task in tasks}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with Spoiler(server.get_host_and_port()[1], lambda number, *_: "500" if number % 5 == 0 else None) as store:
        os.environ |= {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hush-hush",
                       "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
                       "CROTALUS_CACHE": str(folder / "cache")}  # fmt: skip
        with two_nodes() as cluster:
            archive = Archive(folder, tasks, truth, cluster.address)
            archive.run("undisturbed", lambda executor: None)
            a_piece_that_kills(archive)
            driver_killed(archive)
            poison(archive)
            store_in_trouble(archive, store)
            workers_killed(archive, kills)
            machine_gone(archive, cluster)
    server.stop()


class Archive:
    """Tasks, and the framehash and number of frames of each in one piece."""

    def __init__(self, folder: Path, tasks: list[Task], truth: dict[str, tuple[str, int]], address: str) -> None:
        self.folder, self.tasks, self.truth, self.address = folder, tasks, truth, address

    def run(self, name: str, disturb: Callable[[RayCluster], None], tasks: list[Task] | None = None) -> Outcome:
        """A run with something going on beside it."""
        out = self.folder / name
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        executor = RayCluster(self.address, out / FOLDER)
        other = threading.Thread(target=disturb, args=(executor,), daemon=True)
        other.start()
        began = time.monotonic()
        chosen = self.tasks if tasks is None else tasks
        whole = [task_at(task, out) for task in chosen]
        outcome, _, rows = run_batch(out, whole, executor)
        tried = sum(row.attempt for row in rows)
        print(f"{name}: {time.monotonic() - began:.1f} s, {outcome.done} done, {len(outcome.aside)} aside, "
              f"{len(rows)} pieces, {tried} tries failed, {outcome.redone} fused again", flush=True)  # fmt: skip
        self.check(out, set(dict(outcome.aside)))
        return outcome

    def check(self, out: Path, aside: set[str] = frozenset()) -> None:
        """Leave unless all is as in one piece."""
        found = {Path(row.out).name: (row.framehash, row.frames) for row in read_ledger(out)[0] if row.out not in aside}
        wanted = {name: value for name, value in self.truth.items() if name in found}
        left = sorted(path.name for path in (out / FOLDER).iterdir() if path.name not in ("lock", "ledger.db"))
        is_left = bool(left) and not aside  # what is done of those put aside stays for another run
        if found != wanted or is_left or len(found) + len(aside) != len(read_ledger(out)[0]):
            raise SystemExit(f"{out}: {found} is not {wanted}, or {left} was left behind")


def task_at(task: Task, out: Path) -> Task:
    """The task with its output in a folder, or where it says."""
    return task if "://" in task.out else Task(task.ir, task.vis, str(out / task.out), options=task.options)


def workers_killed(archive: Archive, kills: int) -> None:
    """Kill -9 of a random worker at so many random moments. If three meet one piece, a second run does the rest."""
    seed = total = 0
    while total < kills:
        chance = random.Random(seed)
        told: list[float] = []

        def disturb(executor: RayCluster, chance: random.Random = chance, told: list[float] = told) -> None:
            while len(told) < EACH:
                while not (there := [host for host in executor.hosts() if is_alive(int(host.rpartition(":")[2]))]):
                    time.sleep(0.02)
                time.sleep(chance.uniform(0, 2.5))
                if is_alive(int((victim := chance.choice(there)).rpartition(":")[2])):
                    kill(victim)
                    told.append(time.monotonic())

        outcome = archive.run(f"killed{seed}", disturb)
        print(f"  {len(told)} workers killed, {outcome.retried} of them at work", flush=True)
        if outcome.aside:
            print(f"  {outcome.aside}", flush=True)
            outcome = archive.run(f"killed{seed}", lambda executor: None)
        if outcome.done != len(NAMES):
            raise SystemExit(f"aside: {outcome.aside}")
        seed, total = seed + 1, total + len(told)


def a_piece_that_kills(archive: Archive) -> None:
    """The worker of one piece is killed each time: the piece is put aside after its tries, all others are done."""
    over = threading.Event()

    def disturb(executor: RayCluster) -> None:
        while not over.is_set():
            for post in tuple(executor._posts):
                values = post.item[0].values if post.item else {}
                if values.get("index") == 4 and values["task"]["vis"].endswith("a.mp4"):
                    kill(post.host)
            time.sleep(0.005)

    outcome = archive.run("deadly", disturb)
    over.set()
    print(f"  {outcome.aside}", flush=True)
    if (outcome.done, len(outcome.aside), outcome.retried) != (len(NAMES) - 1, 1, ATTEMPTS):
        raise SystemExit(1)


def start(archive: Archive, out: Path, manifest: Path) -> subprocess.Popen[str]:
    """The command."""
    options = [part for name, text in OPTIONS.items() for part in ("--option", f"{name}={text}")]
    args = command("batch", manifest, "-o", out, "--cluster", archive.address, "--chunk", "1s", *options)
    return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def manifest_of(archive: Archive, name: str, *more: str) -> Path:
    """A list of all pairs, and of more lines."""
    path = archive.folder / name
    path.write_text("\n".join(["ir,vis,out", *(f"{t.ir},{t.vis},{t.out}" for t in archive.tasks), *more]))
    return path


def driver_killed(archive: Archive) -> None:
    """Kill -9 of the driver: its workers end, and the same command goes on."""
    out, manifest = archive.folder / "driver", manifest_of(archive, "list.csv")
    driver = start(archive, out, manifest)
    while not is_begun(out) or sum(row.state == "done" for row in rows_of(out)) < 9:
        if driver.poll() is not None:
            raise SystemExit(driver.communicate()[1])
        time.sleep(0.02)
    pids = {int(row.host.rpartition(":")[2]) for row in rows_of(out) if row.host}
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    began = time.monotonic()
    while any(is_alive(pid) for pid in pids):
        time.sleep(0.05)
    gone, before = time.monotonic() - began, pieces_of(out)
    again = start(archive, out, manifest)
    said, wrong = again.communicate()
    archive.check(out)
    print(
        f"driver killed after {before} pieces, workers gone {gone:.1f} s later; then: {said.splitlines()[-1]}",
        flush=True,
    )
    if again.returncode or wrong:
        raise SystemExit(wrong)


def poison(archive: Archive) -> None:
    """A file cut short and one that is none: named, all others done, exit code 3."""
    bad = archive.folder / "bad.mp4"
    bad.write_bytes(Path(archive.tasks[0].vis).read_bytes()[:9000])
    manifest = manifest_of(archive, "poison.csv", f"{archive.tasks[0].ir},{bad},bad.mp4")
    run = start(archive, archive.folder / "poison", manifest)
    said, wrong = run.communicate()
    print(f"poison: exit code {run.returncode}; {said.splitlines()[-1]}; {wrong.strip()}", flush=True)
    if run.returncode != 3 or wrong.count("\n") != 1 or "bad.mp4" not in wrong:
        raise SystemExit(1)
    archive.check(archive.folder / "poison", {str(archive.folder / "poison" / "bad.mp4")})


def store_in_trouble(archive: Archive, store: Spoiler) -> None:
    """Inputs and outputs on S3, every fifth request answered by 500."""
    system = fsspec.filesystem("s3")
    system.mkdir("archive")
    away = []
    for task in archive.tasks:
        for side in ("ir", "vis"):
            system.put_file(getattr(task, side), f"archive/{side}/{task.out}")
        away.append(Task(f"s3://archive/ir/{task.out}", f"s3://archive/vis/{task.out}", f"s3://archive/out/{task.out}",
                         options=task.options))  # fmt: skip
    store.spoilt = store.requests = 0
    archive.run("store", lambda executor: None, away)
    print(f"  {store.spoilt} of {store.requests} requests answered by 500", flush=True)


def machine_gone(archive: Archive, cluster: object) -> None:
    """The second machine is taken away under its work: no try is counted, the first one does the rest."""

    def disturb(executor: RayCluster) -> None:
        while len(executor.hosts()) < 2 or sum(row.state == "done" for row in rows_of(archive.folder / "gone")) < 6:
            time.sleep(0.02)
        cluster.remove_node(cluster.list_all_nodes()[1], allow_graceful=False)

    outcome = archive.run("gone", disturb)
    if outcome.retried or outcome.done != len(NAMES):
        raise SystemExit(f"{outcome}")


if __name__ == "__main__":
    main()
