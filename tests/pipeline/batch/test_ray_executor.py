"""A Ray cluster as an executor: the frames of one run in one piece, workers that die, clusters that are none."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import re
import signal
import socket
import sys
import threading
from concurrent.futures import Future
from contextlib import closing

import pytest

from engines.model import version
from pipeline.batch import durable, ray_connection, ray_executor
from pipeline.batch.executors import open_executor
from pipeline.batch.ledger import FOLDER
from pipeline.batch.pieces import ATTEMPTS
from pipeline.batch.pool import THREAD_VARIABLES
from pipeline.batch.ray_connection import ClusterError
from pipeline.batch.ray_posts import Post
from pipeline.batch.task import Task
from pipeline.batch.work import Work, WorkError
from pipeline.frames import InputError
from tests.pipeline.batch.archive import in_one_piece, run_batch, task_of, write_pair
from tests.pipeline.batch.test_batch_command import wait_for

if importlib.util.find_spec("ray") is None:  # not imported yet: it reads its environment when it is
    pytest.skip("ray is not installed; pip install 'crotalus[cluster]'", allow_module_level=True)


@pytest.fixture(scope="module")
def cluster():
    from tests.pipeline.batch.cluster import two_nodes

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with two_nodes() as nodes:
        yield nodes
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    return write_pair(folder, "a", count=60)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(durable, "_sync", lambda path: None)


@pytest.fixture(scope="module")
def executor(cluster, tmp_path_factory):
    """Two workers that are ready. A process is in one cluster at a time: this is for the last tests that need one."""
    with closing(executor_of(cluster, tmp_path_factory.mktemp("executor"), cache=1)) as executor:
        wait_for(lambda: executor.slots == 2, 200)  # one on each node
        yield executor


def executor_of(cluster, out, **more):
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    return open_executor(out / FOLDER, 0, cluster=cluster.address, **more)


def test_frames_are_those_of_one_run_and_a_piece_that_kills_its_worker_is_put_aside(cluster, archive, tmp_path):
    """One run: a worker is killed whenever it has the second piece of b, which is tried three times and put aside."""
    from tests.pipeline.batch.cluster import kill

    write_pair(tmp_path / "in", "b", count=30)
    tasks = [task_of(archive, tmp_path / "a.mp4", "a", view="blend"),
             task_of(tmp_path / "in", tmp_path / "b.mp4", "b", view="blend")]  # fmt: skip
    executor, over, hosts = executor_of(cluster, tmp_path), threading.Event(), set()

    def watch():
        while not over.wait(0.002):
            hosts.update(executor.hosts())
            for post in tuple(executor._posts):
                values = post.item[0].values if post.item else {}
                if values.get("index") == 1 and values["task"]["vis"].endswith("b.mp4"):
                    kill(post.host)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        outcome, rows, chunks = run_batch(tmp_path, tasks, executor)
    finally:
        over.set()
        watcher.join()
    assert (outcome.done, outcome.retried) == (1, ATTEMPTS)
    [(label, reason)] = outcome.aside
    assert label.endswith("b.mp4")
    assert reason.startswith("chunk 1 of 3: its process on ")
    assert "ended; memory or a damaged file?" in reason
    assert {row.state for row in chunks if row.task.startswith("a")} == {"done"}
    assert (rows[0].framehash, rows[0].frames) == in_one_piece(tasks[0], None, tmp_path)
    assert {row.host for row in chunks if row.host} <= hosts  # by the cluster's processes, not by this one
    assert not (tmp_path / FOLDER / "cluster").exists()


def test_a_worker_that_does_not_see_the_output_folder_is_not_used(cluster, tmp_path):
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    ours = signal.getsignal(signal.SIGTERM)
    try:
        executor = executor_of(cluster, tmp_path)
        found = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    (tmp_path / FOLDER / "cluster").write_text("of another machine")
    with closing(executor), pytest.raises(ClusterError, match=r"does not see .*mount it at the same place"):
        executor.submit(Work("plan", {})).result(200)
    assert found is ours  # Ray's own would end the process under the driver


def test_a_cluster_without_room_for_a_worker_is_told_at_once(cluster, tmp_path):
    for more, said in (({"cores": 2}, "no machine for a worker of 2 CPU"), ({"gpus": 0.5}, "1 CPU, 0.5 GPU")):
        with pytest.raises(InputError, match=said):
            executor_of(cluster, tmp_path, **more)
    with pytest.raises(InputError, match="give a share up to 1, or a whole number"):
        executor_of(cluster, tmp_path, gpus=1.5)
    assert not (tmp_path / FOLDER / "cluster").exists()


def test_a_worker_has_as_many_threads_as_cores_and_its_failures_come_with_their_reason(executor):
    failed = executor.submit(Work.plan(Task("none.mp4", "none.mp4", "x.mp4"), 1.0))
    with pytest.raises(WorkError, match=r"none\.mp4: no such file") as caught:
        failed.result(200)
    assert caught.value.why == "input"
    assert len({post.node for post in executor._posts}) == len(executor.hosts()) == 2
    for host in executor.hosts():
        with open(f"/proc/{host.rpartition(':')[2]}/environ", "rb") as file:
            told = dict(part.split(b"=", 1) for part in file.read().split(b"\0") if b"=" in part)
        assert {told[name.encode()] for name in THREAD_VARIABLES} == {b"1"}


def test_workers_have_the_cache_that_they_were_given(executor, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"video")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}/a.mp4"
        failed = executor.submit(Work.plan(Task(place, place, "x.mp4"), 1.0))
        with pytest.raises(WorkError, match="5 bytes together; the cache takes 1; give --cache-size more"):
            failed.result(60)
        server.shutdown()


def through(executor, *events):
    """Have the cluster's thread do something, and wait until it has."""
    over = threading.Event()
    for event in (*events, (over.set,)):
        executor._events.put(event)
    assert over.wait(60)


def test_work_without_a_worker_for_long_is_given_up(executor, monkeypatch):
    monkeypatch.setattr(ray_executor, "START", 0.0)
    hosts = [post.host for post in executor._posts]
    for post in executor._posts:
        post.host = ""  # as long as it has not said so
    with pytest.raises(ClusterError, match="the cluster gives no worker: no machine had room for it"):
        executor.submit(Work("plan", {})).result(60)
    for post, host in zip(executor._posts, hosts, strict=True):
        post.host = host


UNAVAILABLE, DIED = "ActorUnavailableError", "ActorDiedError"


@pytest.mark.parametrize(
    ("error", "verdict", "machine", "why"),
    [
        (DIED, 1000, "up", "lost"),  # its machine has told of it
        (UNAVAILABLE, 0, "up", "lost"),  # nobody has, though there was time
        (UNAVAILABLE, 1000, "down", "input"),  # done by another worker: a file that is not there
        (UNAVAILABLE, 1000, "down later", "input"),
        (DIED, 0, "down", "input"),
        (DIED, 0, "third down", "lost"),  # it may be the piece that ends them
    ],
)
def test_a_worker_that_ends_costs_a_try_and_a_machine_that_goes_does_not(
    executor, monkeypatch, error, verdict, machine, why
):
    from ray import exceptions

    looks: list[int] = []

    def nodes(ray):
        looks.append(1)
        is_up = machine == "up" or (machine == "down later" and len(looks) < 3)
        return ray_connection.alive(ray) + ([{"NodeID": "ours"}] if is_up else [])

    monkeypatch.setattr(ray_executor, "alive", nodes)
    monkeypatch.setattr(ray_executor, "VERDICT", verdict)
    answer: Future[dict] = Future()
    answer.set_exception(getattr(exceptions, error)(*(("socket closed", None) if error == UNAVAILABLE else ())))
    item = Work.plan(Task("none.mp4", "none.mp4", "x.mp4"), 1.0), Future()
    executor._moves[item[1]] = ATTEMPTS - 1 if machine == "third down" else ATTEMPTS - 2
    post = Post(None, "host:1", "ours", item)
    executor._posts.append(post)
    executor._events.put((executor._answered, post, answer))
    with pytest.raises(WorkError) as caught:
        item[1].result(60)
    assert caught.value.why == why
    assert post not in executor._posts
    assert len(looks) >= (3 if machine == "down later" else 1)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"version": "0.0.1", "sees": True}, r"elsewhere has crotalus 0\.0\.1, not .*; update it"),
        ({"version": version("crotalus"), "sees": False}, "elsewhere does not see .*; mount it at the same place"),
    ],
)
def test_a_worker_that_would_spoil_the_work_is_refused_once_and_not_replaced(executor, caplog, about, said):
    answer: Future[dict] = Future()
    answer.set_result({"host": "elsewhere", "pid": 1, "node": "ours", **about})
    kept, post = list(executor._posts), Post(None)
    executor._workers = 3
    executor._posts.append(post)
    through(executor, (executor._greeted, post, answer), (executor._grow,))
    assert executor._posts == kept
    assert [bool(re.search(said, record.message)) for record in caplog.records] == [True]
    executor._workers = executor._unfit = 0


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:0", "head:port"])
def test_an_address_that_is_none_is_wrong_use(address, tmp_path):
    with pytest.raises(InputError, match="give local, auto, or HOST:PORT"):
        open_executor(tmp_path, 0, cluster=address)


def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and listens not
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"127.0.0.1:{port}: cannot be reached .*refused.*ray start --head"):
            open_executor(tmp_path, 0, cluster=f"127.0.0.1:{port}")


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # else it would be set, and stay
    with pytest.raises(InputError, match=r"needs ray, not installed .*pip install 'crotalus\[cluster\]'"):
        open_executor(tmp_path, 0, cluster="local")


def test_shares_of_a_cluster_without_one_are_wrong_use(tmp_path):
    with pytest.raises(InputError, match=r"--gpus-per-worker 0.5: of a cluster; give --cluster"):
        open_executor(tmp_path, 0, gpus=0.5)
