"""Workers on the machines of a Ray cluster. Only descriptions of work and results pass through Ray, never frames."""

from __future__ import annotations

import logging
import os
import queue
import secrets
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from engines.model import version
from pipeline.batch.pieces import ATTEMPTS
from pipeline.batch.pool import GIB_EACH, THREAD_VARIABLES, Outcome
from pipeline.batch.ray_connection import ClusterError, alive, connect, described, fitting, last_line, room
from pipeline.batch.ray_posts import Doubt, Item, Post, hand_out
from pipeline.batch.ray_worker import RayWorker
from pipeline.batch.storage import CACHE_BYTES
from pipeline.batch.work import Work, WorkError
from pipeline.frames import InputError, OutputError

log = logging.getLogger(__name__)

START = 120.0
"""s without any worker after which the run ends."""
LOOK = 20.0
"""s between looks for machines that have joined."""
VERDICT = 60.0
"""s for Ray to say whether the machine of a worker that does not answer any more has gone: 15 s, if it is asked in
vain five times every three."""
_ROOT = str(Path(__file__).parents[2])


class RayCluster:
    """An executor, see `driver.Executor`: an actor for each GPU, or share of one, or group of cores.

    Ray would try work again by itself; it is told not to (max_restarts and max_task_retries of 0), because the ledger
    counts tries, and a piece that kills its worker would kill so many times as many. A dead actor is replaced here.
    A machine that has gone as a whole is no fault of the piece, and costs it no try; a third one in a row does, as
    the piece may be what ends them.

    Ray is spoken to by the thread that makes and closes this, and by one of its own in between.
    """

    def __init__(
        self, address: str, folder: Path, *, workers: int = 0, cores: int = 1, gpus: float = 0.0,
        cache: int = CACHE_BYTES,
    ) -> None:  # fmt: skip
        """address: `local`, `auto` or HOST:PORT. folder: of the ledger, which all machines must see.

        workers: 0 for as many as there is room for, then also on machines that join later. cores, gpus: of each.
        cache: bytes of copies of remote files on each machine. Raises InputError, OutputError, ClusterError.
        """
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise InputError(f"--gpus-per-worker {gpus:g}: give a share up to 1, or a whole number")
        self._workers, self._cache = workers, cache
        self._need = {"CPU": cores, "GPU": gpus, "memory": GIB_EACH << 30}
        self._mark = folder.absolute() / "cluster"
        self._token = secrets.token_hex(8)
        self._events: queue.Queue[tuple[Any, ...] | None] = queue.Queue()
        self._waiting: deque[Item] = deque()
        self._posts: list[Post] = []
        self._doubts: list[Doubt] = []
        self._moves: Counter[Outcome] = Counter()
        self._unfit, self._why, self._alone_since = 0, "no machine had room for it", time.monotonic()
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._is_closed = False
        self._ray = connect(address)
        try:
            self._check_room(address)
            _write(self._mark, self._token)
            limits = {name: str(cores) for name in THREAD_VARIABLES}
            where = os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
            self._kind = self._ray.remote(
                num_cpus=cores, num_gpus=gpus, memory=self._need["memory"], max_restarts=0, max_task_retries=0,
                runtime_env={"env_vars": {**limits, "PYTHONPATH": where}},
            )(RayWorker)  # fmt: skip
            self._grow()
        except BaseException:
            self.close()
            raise
        self._thread.start()

    @property
    def slots(self) -> int:
        """Workers that are ready; at least 1, as work may wait for the first one."""
        return max(sum(bool(post.host) for post in tuple(self._posts)), 1)

    def submit(self, work: Work) -> Outcome:
        """The work's result to come; a WorkError in it if it failed, of kind `lost` if its process did.

        A ClusterError in it if there is nobody to do it.
        """
        outcome: Outcome = Future()
        outcome.set_running_or_notify_cancel()
        self._events.put((self._take, (work, outcome)))
        return outcome

    def hosts(self) -> list[str]:
        """`name:pid` of the workers that are ready."""
        return [post.host for post in tuple(self._posts) if post.host]

    def close(self) -> None:
        """End all workers at once, whatever they do, and leave the cluster. May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._thread.is_alive():
            self._events.put(None)
            self._thread.join()
        for post in self._posts:
            self._end(post)
        self._posts.clear()
        self._ray.shutdown()
        with suppress(OSError):
            self._mark.unlink()

    def _run(self) -> None:
        looked = time.monotonic()
        while True:
            with suppress(queue.Empty):
                event = self._events.get(timeout=1.0)
                if event is None:
                    return
                event[0](*event[1:])
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                self._grow()
            self._judge()
            self._hand_out()

    def _grow(self) -> None:
        """Start workers where there is room for more. Those for which there is none yet wait inside of Ray."""
        wanted = (self._workers or room(self._ray, self._need)) - self._unfit
        for _ in range(wanted - len(self._posts)):
            post = Post(self._kind.remote(self._need["CPU"], self._cache))
            self._posts.append(post)
            self._await(post.actor.about.remote(str(self._mark), self._token), self._greeted, post)

    def _await(self, answer: Any, then: Any, post: Post) -> None:
        """Have the thread call a method with what became of an answer, when it has come."""
        answer.future().add_done_callback(lambda future: self._events.put((then, post, future)))

    def _greeted(self, post: Post, future: Future[dict[str, Any]]) -> None:
        try:
            about = future.result()
        except Exception as error:
            self._refuse(post, last_line(error))
            return
        if not about["sees"]:
            self._refuse(post, f"{about['host']} does not see {self._mark.parent}; mount it at the same place")
        elif about["version"] != version("crotalus"):
            self._refuse(post, f"{about['host']} has crotalus {about['version']}, not {version('crotalus')}; update it")
        else:
            post.node, post.host = about["node"], f"{about['host']}:{about['pid']}"

    def _refuse(self, post: Post, why: str) -> None:
        """Do without a worker: another one at its place would be no better."""
        self._drop(post)
        if why != self._why:  # a thousand may have the same
            log.warning("a worker is not used: %s", why)
        self._unfit, self._why = self._unfit + 1, why

    def _take(self, item: Item) -> None:
        self._waiting.append(item)

    def _hand_out(self) -> None:
        """Give waiting work to workers without any; if there has been no worker for long, give up."""
        ready = [post for post in self._posts if post.host]
        if ready or not self._waiting:
            self._alone_since = time.monotonic()
        for post, work in hand_out(self._posts, self._waiting):
            self._await(post.actor.do.remote(work.kind, work.values), self._answered, post)
        if not self._posts or time.monotonic() - self._alone_since > START:
            while self._waiting:
                self._waiting.popleft()[1].set_exception(ClusterError(f"the cluster gives no worker: {self._why}"))

    def _judge(self) -> None:
        """Have work done again whose machine has gone; after a while without that verdict, it was its worker alone."""
        doubts, self._doubts = self._doubts, []
        there = {node["NodeID"] for node in alive(self._ray)} if doubts else set()
        for doubt in doubts:
            is_gone, outcome = doubt.node not in there, doubt.item[1]
            self._moves[outcome] += is_gone
            if is_gone and self._moves[outcome] < ATTEMPTS:
                self._waiting.appendleft(doubt.item)
            elif is_gone or time.monotonic() >= doubt.until:
                outcome.set_exception(WorkError(doubt.why, "lost"))
            else:
                self._doubts.append(doubt)

    def _answered(self, post: Post, future: Future[dict[str, Any]]) -> None:
        assert post.item is not None
        (_, outcome), item, post.item = post.item, post.item, None
        try:
            answer = future.result()
        except self._ray.exceptions.RayActorError as error:
            self._drop(post)
            is_full = "low on memory" in str(error)
            why = "give fewer --workers, the machine had no memory left" if is_full else "memory or a damaged file?"
            # That a process has died its machine tells. Where nobody tells, it may have gone itself.
            is_told = not isinstance(error, self._ray.exceptions.ActorUnavailableError)
            until = time.monotonic() + (0.0 if is_told else VERDICT)
            self._doubts.append(Doubt(item, post.node, f"its process on {post.host} ended; {why}", until))
            self._grow()
        except Exception as error:  # crosses over to the driver
            outcome.set_exception(WorkError(f"{type(error).__name__}: {last_line(error)}"))
        else:
            if "error" in answer:
                outcome.set_exception(WorkError(answer["error"], answer["why"]))
            else:
                outcome.set_result(answer["result"])

    def _drop(self, post: Post) -> None:
        self._posts.remove(post)
        self._end(post)

    def _end(self, post: Post) -> None:
        with suppress(Exception):  # dead already
            self._ray.kill(post.actor)

    def _check_room(self, address: str) -> None:
        """Raise InputError unless there is a machine that a worker fits on; warn of GPUs without use."""
        machines = [node["Resources"] for node in alive(self._ray)]
        if not any(fitting(has, self._need) for has in machines):
            has = "; ".join(map(described, machines[:4])) + ("; ..." if len(machines) > 4 else "")
            raise InputError(f"--cluster {address}: no machine for a worker of {described(self._need)}; "
                             f"it has {has}; ask for less with --cores-per-worker, --gpus-per-worker")  # fmt: skip
        gpus = sum(has.get("GPU", 0) for has in machines)
        if gpus and not self._need["GPU"]:
            log.warning("the cluster has GPUs (%g), and none is used; give --gpus-per-worker 1", gpus)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; name an output folder that can be written") from error
