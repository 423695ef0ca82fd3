"""What a fuser is, and the one function that opens one. Luma in, luma out; no video, no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engines.device_picture import DevicePicture
    from engines.model import ModelInfo
    from engines.trt import Precision

Luma = NDArray[np.uint8]
"""(H, W) or (N, H, W) uint8, 0 black to 255 white (full range)."""

Picture: TypeAlias = "Luma | DevicePicture"
"""Luma (H, W), in the host's memory or in a device's."""

Backend = Literal["auto", "cpu", "tensorrt", "rtx", "torch"]


class CrotalusError(Exception):
    """An error that a user can act on: its text is one line, `exit_code` is what the command line returns."""

    exit_code = 1


class BackendError(CrotalusError, RuntimeError):
    """A backend that was asked for by name cannot run here; the text says why and what to do."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class StreamState:
    """What one pair of a stream leaves for the next: the rule each common map followed."""

    averaged: NDArray[np.bool_]
    """(M,) True where Eq. 9 took the weighted average, False where it took the maximum."""


class Fuser(Protocol):
    """Fuses luma pairs. One fuser serves one thread at a time; `close` may be called twice."""

    @property
    def name(self) -> str:
        """A word for tables and messages, e.g. `jcae on cpu`."""
        ...

    @property
    def info(self) -> ModelInfo | None:
        """The model behind it; None for a formula without weights."""
        ...

    def fuse(self, ir: Luma, vis: Luma) -> Luma:
        """Fused luma of the same shape as both inputs, owned by the caller. Image mode: the paper exactly.

        Raises ValueError if the two shapes or types differ from each other or from `Luma`.
        """
        ...

    def fuse_next(self, ir: Luma, vis: Luma, state: StreamState | None) -> tuple[Luma, StreamState | None]:
        """Fused luma (H, W) and the state for the next pair of the same stream; None starts a stream.

        Stream mode: a map changes its rule only when it has left the threshold behind, see `rules.next_threshold`.
        """
        ...

    def start(self, *, follows: bool) -> Flight:
        """Begin a run of pairs. follows: they are of one stream, as for `fuse_next`; False: each as by `fuse`.

        One flight at a time; starting another, `fuse` or `fuse_next` forget the one before. Each pair is done as soon
        as it can be; for as many as can be in a time see `start_abreast`.
        """
        ...

    def close(self) -> None: ...


class Flight(Protocol):
    """Pairs on their way through a fuser: in by `put`, out by `get`, in order."""

    @property
    def depth(self) -> int:
        """Pairs that may be under way at once; 1 where nothing runs beside the caller."""
        ...

    def put(self, ir: Picture, vis: Picture) -> None:
        """Start on a pair, (H, W) each; the arrays may be reused once this returns. At most `depth` may be waiting.

        Pictures in a device's memory are for flights of a `device_picture.PictureFuser`, which holds them meanwhile.
        """
        ...

    def get(self) -> Luma:
        """Fused luma (H, W) of the oldest pair put, owned by the caller; waits until it is there.

        In a flight of `PictureFuser.start_on_device` a `DevicePicture` stands for it.
        """
        ...


@runtime_checkable
class AbreastFuser(Protocol):
    """A fuser that does more pairs in a time side by side than one after the other, each of them later."""

    def start_abreast(self, *, follows: bool) -> Flight:
        """As `Fuser.start`, with the same pictures to the bit."""
        ...


def start_abreast(fuser: Fuser, *, follows: bool) -> Flight:
    """A run of pairs through a fuser, as many in a time as it can do; for those who do not wait for each."""
    return fuser.start_abreast(follows=follows) if isinstance(fuser, AbreastFuser) else fuser.start(follows=follows)


class SerialFlight:
    """A flight of a fuser that does one pair at a time: `put` computes, `get` hands over."""

    depth = 1

    def __init__(self, fuser: Fuser, *, follows: bool) -> None:
        self._fuser, self._follows = fuser, follows
        self._state: StreamState | None = None
        self._done: list[Luma] = []

    def put(self, ir: Picture, vis: Picture) -> None:
        """See `Flight`."""
        assert isinstance(ir, np.ndarray), f"a {type(ir).__name__} for a fuser that takes arrays only"
        assert isinstance(vis, np.ndarray), f"a {type(vis).__name__} for a fuser that takes arrays only"
        if self._follows:
            fused, self._state = self._fuser.fuse_next(ir, vis, self._state)
        else:
            fused = self._fuser.fuse(ir, vis)
        self._done.append(fused)

    def get(self) -> Luma:
        """See `Flight`."""
        return self._done.pop(0)


def open_fuser(
    model: str | Path = "auto",
    *,
    backend: Backend = "auto",
    threads: int = 0,
    precision: Precision = "fp16",
    on_progress: Callable[[str], None] = lambda line: None,
) -> Fuser:
    """The fuser for a model (`auto`, a shipped name, or a model directory) on a backend.

    backend: `auto` takes the first of tensorrt, rtx, torch and cpu that can run here; the fuser's name says which, the
    log why not the others. The model of `auto` is the full one on a GPU, the light one on a CPU. threads: CPU threads
    for the network, 0 for one per core. precision: of the network on a GPU; `cpu` is float32 always. on_progress: told
    what takes long, of a GPU that is there and not used, and of the light model where `auto` takes it.
    Raises ModelError for a model that cannot be read, BackendError for a backend that cannot run here.
    """
    from engines.backends import open_auto, open_backend
    from engines.model import load_model

    if model == "auto":
        return open_auto(backend, threads=threads, precision=precision, on_progress=on_progress)
    info = load_model(model)
    return open_backend(info, backend, threads=threads, precision=precision, on_progress=on_progress)
