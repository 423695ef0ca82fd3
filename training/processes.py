"""One process, or several that torchrun started: which am I, on which device, and what do all agree on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from training.command import first_line


class ProcessError(ValueError):
    """Processes or a device that the run cannot use."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the run."""

    device: torch.device
    rank: int = 0
    world: int = 1
    """Number of processes."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """The part of a batch that is this process' own; the parts of all make up the whole."""
        each = batch // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over all processes, the same in each."""
        if self.world == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.world


@contextmanager
def joined(device: str, batch: int) -> Iterator[Processes]:
    """This process, joined with the others while the context is open; it ends when all have come to its end.

    device: auto, cpu, cuda or cuda:N. Raises ProcessError: a device that is not there, a batch that the processes
    cannot share evenly, others that cannot be reached.
    """
    rank, world, local = _variable("RANK", 0), _variable("WORLD_SIZE", 1), _variable("LOCAL_RANK", 0)
    if batch % world:
        raise ProcessError(f"a batch of {batch} over {world} processes; give --batch as a multiple of {world}")
    chosen = choose_device(device, world=world, local=local)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Processes(chosen)
        return
    try:
        if chosen.type == "cuda":
            dist.init_process_group("nccl", device_id=chosen)
        else:
            dist.init_process_group("gloo")
    except (ValueError, RuntimeError) as error:
        raise ProcessError(f"WORLD_SIZE is {world}: {first_line(error)}; start the processes with torchrun") from error
    try:
        yield Processes(chosen, rank, world)
        dist.barrier()  # torchrun ends all as soon as one is gone with an error; the first may still be writing
    finally:
        dist.destroy_process_group()


def choose_device(device: str, *, world: int, local: int) -> torch.device:
    """The device of the process with number `local` on this machine. Raises ProcessError."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise ProcessError(f"device {device}: not known; give auto, cpu, cuda or cuda:N") from error
    if chosen.type == "cpu":
        return chosen
    if chosen.type != "cuda":
        raise ProcessError(f"device {device}: not for training; give auto, cpu, cuda or cuda:N")
    if world > 1 and chosen.index is not None:
        raise ProcessError(f"device {device} over {world} processes; give cuda, and each takes its own")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = local if chosen.index is None else chosen.index
    if index >= count:
        raise ProcessError(f"device cuda:{index}: torch sees {count} CUDA devices; use fewer, or give --device cpu")
    return torch.device("cuda", index)


def _variable(name: str, without: int) -> int:
    """A number that torchrun sets."""
    return int(os.environ.get(name, without))
