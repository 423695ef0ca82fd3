"""The fuser that runs everywhere: one ONNX graph, rules inside, on ONNX Runtime's CPU provider."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.base import BackendError, CrotalusError, Flight, Luma, Picture, SerialFlight, StreamState
from engines.cores import network_threads, pairs_abreast
from engines.model import ModelError, ModelInfo
from engines.onnx_flight import OnnxFlight
from engines.rules import averaged_maps, next_threshold

if TYPE_CHECKING:
    import onnxruntime

GRAPH = "fuser.onnx"
INPUTS = {"jcae": {"ir", "vis", "threshold"}, "graph": {"ir", "vis"}}
"""Of the graph, for each kind of model."""
BYTES_PER_PIXEL = 1500
"""Peak memory of the full network: 1470 measured at 640x480, 1060 at 1280x720."""
FULL_MAPS, LEAST_BYTES = 128, 190
"""Memory falls with the maps, to what a light network takes: 70 a pixel measured, 185 with blocks of 2x2 px."""
LIGHT_MAPS = 16
"""Most maps of a model whose pairs are fused side by side; a heavier one keeps all threads busy with one pair."""
ABREAST_BYTES = 10**9
"""That pairs side by side may take together."""
Buffers = tuple[Luma, Luma]
"""Infrared and visible as the network takes them, with their margins."""


class TooLargeError(CrotalusError, MemoryError):
    """A picture that the network cannot hold in this machine's memory."""

    exit_code = 2


class OnnxFuser:
    """A model on ONNX Runtime. Buffers are kept for the last picture size; results belong to the caller."""

    def __init__(self, info: ModelInfo, *, threads: int = 0) -> None:
        """threads: of the network, 0 for one per core. Raises ModelError, BackendError."""
        self.info = info
        self.name = f"{info.name} on cpu"
        self._threads = network_threads(threads)
        self._session: onnxruntime.InferenceSession | None = _open_session(info, self._threads)
        self._narrow: onnxruntime.InferenceSession | None = None
        self._flight: OnnxFlight | None = None
        self._padded: Buffers | None = None
        self._checked: tuple[int, int] | None = None

    def fuse(self, ir: Luma, vis: Luma) -> Luma:
        """Fused luma of the inputs' shape, (H, W) or (N, H, W) uint8. Pictures of a batch are independent."""
        check_inputs(ir, vis)
        if ir.ndim == 2:
            return self._run(ir, vis, None)[0]
        # One by one: a batch takes N times the memory and saves no time on a CPU.
        return np.stack([self._run(a, b, None)[0] for a, b in zip(ir, vis, strict=True)]) if len(ir) else ir.copy()

    def fuse_next(self, ir: Luma, vis: Luma, state: StreamState | None) -> tuple[Luma, StreamState | None]:
        """Fused luma (H, W) and the rule each map followed, for the next pair of the stream; None without rules."""
        check_inputs(ir, vis)
        if ir.ndim != 2:
            raise ValueError(f"a stream takes one pair at a time, (H, W); given {ir.shape}")
        averaged = None if state is None else state.averaged
        fused, averaged = self._run(ir, vis, averaged)
        return fused, None if averaged is None else StreamState(averaged)

    def start(self, *, follows: bool) -> SerialFlight:
        """A run of pairs, one after the other, each on all threads: the least delay."""
        return SerialFlight(self, follows=follows)

    def start_abreast(self, *, follows: bool) -> Flight:
        """See `base.AbreastFuser`: a light model fuses several pairs side by side, others as by `start`."""
        pairs = pairs_abreast(self._threads)
        if pairs < 2 or not 0 < self.info.maps <= LIGHT_MAPS:  # 0: of a graph that tells nothing of its maps
            return self.start(follows=follows)
        if self._session is None:
            raise ValueError("this fuser is closed; open another")
        if self._flight is not None:
            self._flight.close()
        if self._narrow is None:  # each run has a thread of its own; the rest of the threads helps all of them
            self._narrow = _open_session(self.info, self._threads - pairs + 1)
        self._flight = OnnxFlight(self, pairs, follows=follows)
        return self._flight

    def close(self) -> None:
        """Give the network's memory back, when what is under way is done."""
        if self._flight is not None:
            self._flight.close()
        self._session, self._narrow, self._flight, self._padded = None, None, None, None

    def _run(self, ir: Luma, vis: Luma, averaged: NDArray[np.bool_] | None) -> tuple[Luma, NDArray[np.bool_] | None]:
        if self._session is None:
            raise ValueError("this fuser is closed; open another")
        self._check_memory(ir.shape[0], ir.shape[1])
        self._padded = self._pad(ir, vis, self._padded)
        if self.info.kind == "graph":
            height, width = ir.shape
            feed = {"ir": self._padded[0][None], "vis": self._padded[1][None]}
            return self._session.run(["fused"], feed)[0][0, :height, :width], None
        threshold = self._threshold(averaged)
        fused, activity = _fused(self._session, self._padded, ir.shape, threshold)
        return fused, averaged_maps(activity, threshold)

    def _run_narrow(
        self, padded: Buffers, shape: tuple[int, ...], threshold: NDArray[np.float32]
    ) -> tuple[Luma, NDArray[np.float32]]:
        """Fused luma and activity on the calling thread; several may call."""
        assert self._narrow is not None, "a flight outlived its fuser"
        return _fused(self._narrow, padded, shape, threshold)

    def _threshold(self, averaged: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        return next_threshold(averaged, maps=self.info.maps, ratio=self.info.activity_ratio)

    def _pad(self, ir: Luma, vis: Luma, into: Buffers | None = None) -> Buffers:
        """Both pictures with the model's margin, reflected, and filled up to its multiple; in these buffers if fit."""
        height, width = ir.shape
        rows, columns = (reflected(n, self.info.margin, self.info.multiple) for n in (height, width))
        shape = (len(rows), len(columns))
        if into is None or into[0].shape != shape:
            into = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        top = left = self.info.margin
        for buffer, luma in zip(into, (ir, vis), strict=True):
            inside = buffer[top : top + height]
            inside[:, left : left + width] = luma
            inside[:, :left] = luma[:, columns[:left]]
            inside[:, left + width :] = luma[:, columns[left + width :]]
            buffer[:top] = inside[rows[:top]]
            buffer[top + height :] = inside[rows[top + height :]]
        return into

    def _room(self, height: int, width: int) -> int:
        """Pairs of this size that may be fused side by side, by their memory; 1 at the least."""
        return max(1, min(ABREAST_BYTES, available_memory()) // self._bytes(height, width))

    def _bytes(self, height: int, width: int) -> int:
        """Memory that a pair takes at most."""
        return height * width * max(LEAST_BYTES, BYTES_PER_PIXEL * (self.info.maps or FULL_MAPS) // FULL_MAPS)

    def _check_memory(self, height: int, width: int) -> None:
        if self._checked == (height, width):
            return
        needed, free = self._bytes(height, width), available_memory()
        if needed > free:
            raise TooLargeError(
                f"{width}x{height}: the network needs about {needed / 2**30:.1f} GB for it, {free / 2**30:.1f} GB "
                "are free; fuse at a smaller --work-height"
            )
        self._checked = (height, width)


def reflected(length: int, margin: int, multiple: int) -> NDArray[np.intp]:
    """Source index of each row of a padded axis: `margin` mirrored on both sides, more at the end up to `multiple`.

    The border pixel itself is not repeated (4 3 2 1 | 0 1 2 ...); an axis shorter than the margin bounces on.
    """
    total = length + 2 * margin
    total += -total % multiple
    position = np.arange(-margin, total - margin)
    if length == 1:
        return np.zeros(total, np.intp)
    period = 2 * (length - 1)
    folded = np.abs(position) % period
    return np.minimum(folded, period - folded).astype(np.intp)


def _fused(
    session: onnxruntime.InferenceSession, padded: Buffers, shape: tuple[int, ...], threshold: NDArray[np.float32]
) -> tuple[Luma, NDArray[np.float32]]:
    """Fused luma of this shape and the activity of each map (M,)."""
    feed = {"ir": padded[0][None], "vis": padded[1][None], "threshold": threshold}
    fused, activity = session.run(["fused", "activity"], feed)
    return fused[0, : shape[0], : shape[1]], activity[0]


def _open_session(info: ModelInfo, threads: int) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(f"backend cpu: {error}; pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Its threads would spin between two operators and two pictures: at 640x480 the light model then takes 72 ms of two
    # cores instead of 41, and what it wastes is what decoders and encoder need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its messages come back in the exception
    try:
        session = onnxruntime.InferenceSession(info.path(GRAPH), options, providers=["CPUExecutionProvider"])
    except ModelError:
        raise
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        reason = str(error).splitlines()[0]
        raise ModelError(f"{info.path(GRAPH)}: ONNX Runtime cannot load it ({reason}); export it again") from error
    found, wanted = {port.name for port in session.get_inputs()}, INPUTS[info.kind]
    if found != wanted:
        raise ModelError(
            f"{info.path(GRAPH)}: takes {', '.join(sorted(found))}, a model of kind {info.kind} takes "
            f"{', '.join(sorted(wanted))}; export it again"
        )
    return session


def check_inputs(ir: Picture, vis: Picture) -> None:
    """Raises ValueError unless both are uint8 (H, W) or (N, H, W) of one shape, and not empty."""
    for name, luma in (("ir", ir), ("vis", vis)):
        if luma.dtype != np.uint8 or luma.ndim not in (2, 3) or 0 in luma.shape[-2:]:
            raise ValueError(f"{name}: {luma.dtype} {luma.shape}; a fuser takes uint8 (H, W) or (N, H, W), not empty")
    if ir.shape != vis.shape:
        raise ValueError(f"ir is {ir.shape}, vis is {vis.shape}; a pair has one shape")


def available_memory() -> int:
    """Bytes that can be taken without swapping; a large number where the system does not tell."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) * 1024
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 50
