"""A Ray cluster of two machines that are none: two nodes of one core each, on loopback or whatever address there is."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from unittest import mock

NODE = {"num_cpus": 1, "num_gpus": 0, "memory": 4 << 30, "object_store_memory": 80 << 20}


@contextmanager
def two_nodes(**more: object) -> Iterator[object]:
    """Ray's `Cluster`; its `address` is for `--cluster`. more: of both nodes."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    with mock.patch.dict(os.environ, token):
        import ray
        from ray.cluster_utils import Cluster

        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, **more, "include_dashboard": False})
        try:
            cluster.add_node(**NODE, **more)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            for number, handler in handlers.items():  # Ray's SIGTERM would end the tests' process
                signal.signal(number, handler)


def kill(host: str) -> None:
    """Kill -9 of the process in `name:pid`; it may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(int(host.rpartition(":")[2]), signal.SIGKILL)
