"""The way into a Ray cluster: found, entered, and asked what it has room for."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from typing import Any

from engines.base import CrotalusError
from pipeline.frames import InputError

LOCAL = "local"
"""Instead of an address: a cluster of this machine alone, started and ended with the run."""
REACH = 5.0
"""s for the cluster's port to answer."""
STORE = 80 << 20
"""Bytes of Ray's object store on a cluster of our own, about the least it takes: no frame goes there."""


class ClusterError(CrotalusError):
    """A cluster that cannot be reached, or gives no worker. The same command may succeed later."""


def connect(address: str) -> Any:
    """The package ray, connected: `local`, `auto` or HOST:PORT. Its `shutdown` ends that.

    Raises InputError if it is not installed or the address is none, ClusterError.
    """
    if address != LOCAL:
        _check_address(address)
    elif "RAY_AUTH_MODE" not in os.environ:  # else Ray makes a token in the home folder, and says so
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a cluster of our own reports home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of its future; till Ray 3
    ray = _ray()  # reads the environment when it is imported
    where: dict[str, Any] = {"address": address}
    if address == LOCAL:
        where |= {"num_cpus": len(os.sched_getaffinity(0)), "object_store_memory": STORE, "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**where, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except Exception as error:  # Ray raises many kinds
        raise ClusterError(f"--cluster {address}: {last_line(error)}; see ray status on its head") from error
    finally:
        # Nothing public keeps Ray 2.60 from printing a paragraph for each worker that dies; the ledger has its reason.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own would end the process under the driver
    return ray


def alive(ray: Any) -> list[dict[str, Any]]:
    """Machines that are up, as Ray tells them: `NodeID`, `Resources`, ..."""
    return [node for node in ray.nodes() if node["Alive"]]


def room(ray: Any, need: dict[str, float]) -> int:
    """Workers that fit on the machines there are, if nobody else uses them."""
    return sum(fitting(node["Resources"], need) for node in alive(ray))


def fitting(has: dict[str, float], need: dict[str, float]) -> int:
    """How many workers fit on a machine; a share of 0.1 fits ten times into 1."""
    return min(int(has.get(name, 0) / amount + 1e-6) for name, amount in need.items() if amount)


def described(resources: dict[str, float]) -> str:
    """Resources for people."""
    memory = resources.get("memory", 0) / (1 << 30)
    return f"{resources.get('CPU', 0):g} CPU, {resources.get('GPU', 0):g} GPU, {memory:.1f} GiB"


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise InputError(f"--cluster: needs ray, not installed ({error}); pip install 'crotalus[cluster]'") from error
    return ray


def _check_address(address: str) -> None:
    host, mark, port = address.rpartition(":")
    if address == "auto":
        return
    if "://" in address or not mark or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--cluster {address}: give local, auto, or HOST:PORT of the head as ray start tells it; "
                         "run this on a machine of the cluster")  # fmt: skip
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH).close()
    except OSError as error:
        raise ClusterError(f"--cluster {address}: cannot be reached ({error.strerror or error}); "
                           "check the address, or start it with ray start --head") from error  # fmt: skip


def last_line(error: BaseException) -> str:
    """Of Ray's long texts, the line that says what it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
