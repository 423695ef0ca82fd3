"""Where the work of a batch is done: processes of this machine, or those of a cluster."""

from __future__ import annotations

from pathlib import Path

from pipeline.batch.driver import Executor
from pipeline.batch.pool import LocalPool
from pipeline.batch.storage import CACHE_BYTES
from pipeline.frames import InputError


def open_executor(
    folder: Path, workers: int, *, cluster: str | None = None, cores: int | None = None, gpus: float | None = None,
    cache: int = CACHE_BYTES,
) -> Executor:  # fmt: skip
    """The executor of a run, its caller's to close.

    folder: of the ledger. cluster: None for this machine without one. cores, gpus: of a worker of a cluster, 1 and 0 if
    not given. cache: bytes of copies of remote files on a machine. Raises InputError, OutputError, ClusterError.
    """
    if cluster is not None:
        from pipeline.batch.ray_executor import RayCluster

        return RayCluster(cluster, folder, workers=workers, cores=cores or 1, gpus=gpus or 0.0, cache=cache)
    for name, value in (("cores", cores), ("gpus", gpus)):
        if value is not None:
            raise InputError(f"--{name}-per-worker {value:g}: of a cluster; give --cluster with it, or leave it out")
    return LocalPool(workers, cache=cache)
