"""The network on an NVIDIA GPU through torch: for GPUs that no TensorRT at hand runs on.

None of this has run on a GPU yet; the tests run it on torch's CPU device, and its CUDA calls against doubles.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from engines.base import BackendError, CrotalusError
from engines.build import DECODED, DECODER, ENCODERS, FEATURES, INPUT
from engines.device import Recording, Stream
from engines.device_network import Tensors
from engines.model import ModelInfo
from engines.torch_graph import Convolution, Tensor, TorchGraph
from engines.torch_runtime import TorchRuntime, reason_of
from engines.trt import Precision

WARM_UP = 3
"""Runs before the first frame: cuDNN measures its kernels in the first, torch asks for a few before a recording."""
FIX = "install the torch of your CUDA (https://pytorch.org/get-started), or use --backend cpu"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Buffers:
    """What the network reads and writes, for one picture size; (1, C, h, w) laid out channels last."""

    ir: Tensor
    vis: Tensor
    private_ir: Tensor
    private_vis: Tensor
    common_ir: Tensor
    common_vis: Tensor
    fused: Tensor


class TorchNetwork:
    """A `DeviceNetwork` on torch: the graphs that TensorRT would get, with the same weights in the same precision."""

    def __init__(self, info: ModelInfo, *, precision: Precision = "fp16", runtime: TorchRuntime | None = None) -> None:
        """runtime: torch on the first GPU if not given, in the primary context, as torch takes no other.

        Raises BackendError where torch, onnx or a GPU for torch is missing, ModelError, DeviceMemoryError.
        """
        self._runtime = runtime = runtime or open_runtime()
        try:
            from engines import fp16
        except ImportError as error:
            raise BackendError(f"backend torch: {error}; pip install 'crotalus[cuda]', or use --backend cpu") from error
        self.name = f"{runtime.name} {precision}"
        self.unit: Literal["half", "float"] = "half" if precision == "fp16" else "float"
        self._tensor_shapes = fp16.tensor_shapes
        self._models: dict[str, Any] = {}
        for file in (*ENCODERS, DECODER):
            model, ports = fp16.load_graph(info.path(file)), DECODED if file == DECODER else (INPUT, FEATURES)
            self._models[file] = fp16.to_half(model) if precision == "fp16" else fp16.with_half_ports(model, ports)
        constants = {file: fp16.weights(model) for file, model in self._models.items()}
        with runtime.failures("the weights", sum(v.nbytes for values in constants.values() for v in values.values())):
            self._graphs = {
                file: TorchGraph(runtime.torch, model.graph, constants[file], runtime.place)
                for file, model in self._models.items()
            }
        for convolution in self._convolutions():
            convolution.is_fused = runtime.is_cuda
        self._needed = 0
        self._buffers: Buffers | None = None
        self._warm_on: threading.Thread | None = None

    def memory(self, rows: int, columns: int) -> int:
        """Buffers and the most that a graph holds on its way; cuDNN's scratch memory comes on top, by its choice."""
        luma, features, fused = self._port_shapes(rows, columns)
        halves = 2 * math.prod(luma) + 4 * math.prod(features)
        return 2 * halves + self._itemsize * math.prod(fused) + self._working(rows, columns)

    def prepare(self, rows: int, columns: int) -> Tensors:
        """See `DeviceNetwork.prepare`."""
        runtime = self._runtime
        self._forget()
        self._needed = self.memory(rows, columns)
        try:
            with runtime.failures(f"a picture of {columns}x{rows}", self._needed), runtime.settings():
                self._buffers = self._allocate(rows, columns)
                self._warm_up(self._buffers)
        except CrotalusError:
            self._forget()
            raise
        held = self._held()
        addresses: dict[str, Any] = {name: getattr(held, name).data_ptr() for name in Buffers.__slots__}
        feature, decoded = (tuple(tensor.shape[2:]) for tensor in (held.common_ir, held.fused))
        return Tensors(**addresses, feature=feature, decoded=decoded)

    def encode(self, stream: Stream) -> None:
        """See `DeviceNetwork.encode`."""
        held = self._held()
        self._runtime.run(stream, lambda: self._encode(held), what="the encoders", needed=self._needed)

    def decode(self, stream: Stream) -> None:
        """See `DeviceNetwork.decode`."""
        held = self._held()
        self._runtime.run(stream, lambda: self._decode(held), what="the decoder", needed=self._needed)

    def record(self, stream: Stream, body: Callable[[], None]) -> Recording:
        """See `DeviceNetwork.record`."""
        what, held = "recording a frame", self._held()
        if self._warm_on is not threading.current_thread():
            with self._runtime.failures(what, self._needed), self._runtime.settings():
                self._warm_up(held)
        return self._runtime.record(stream, body, what=what, needed=self._needed)

    def close(self) -> None:
        """See `DeviceNetwork.close`."""
        self._graphs, self._models = {}, {}
        self._forget()

    def _encode(self, held: Buffers) -> None:
        ir, vis, common = (self._graphs[file] for file in ENCODERS)
        for graph, luma, stack in (
            (ir, held.ir, held.private_ir),
            (vis, held.vis, held.private_vis),
            (common, held.ir, held.common_ir),
            (common, held.vis, held.common_vis),
        ):
            stack.copy_(graph({INPUT: luma}))  # to a fixed address, which the kernels were told

    def _decode(self, held: Buffers) -> None:
        stacks = dict(zip(DECODED, (held.common_ir, held.private_ir), strict=True))
        held.fused.copy_(self._graphs[DECODER](stacks))

    def _warm_up(self, held: Buffers) -> None:
        """Run all a few times. cuDNN's handle and its choice of kernels belong to a thread, so each has to."""
        *_, rows, columns = held.ir.shape
        working = self._working(rows, columns)
        self._runtime.warm_up(lambda turn: self._try(held, 0 if turn else working), WARM_UP)
        self._warm_on = threading.current_thread()  # not its number, which the next thread may get

    def _try(self, held: Buffers, poison: int) -> None:
        """One run for the warm-up. poison: bytes of memory on the way to hold not-a-numbers before, 0 for none.

        cuDNN's fused call is handed its own unwritten output, as an addend times 0. In case one of its kernels does
        read that, it shows here, and the call is not used.
        """
        torch = self._runtime.torch
        held.ir.fill_(0.5)
        held.vis.fill_(0.5)
        torch.full((poison // 2,), math.nan, dtype=torch.float16, device=held.ir.device)
        self._encode(held)
        self._decode(held)
        if poison and not all(torch.isfinite(t.sum(dtype=torch.float32)) for t in (held.common_ir, held.fused)):
            logger.warning("%s: cuDNN's fused convolution reads unwritten memory here and is not used", self.name)
            for convolution in self._convolutions():
                convolution.is_fused = False

    def _allocate(self, rows: int, columns: int) -> Buffers:
        torch, (luma, features, fused) = self._runtime.torch, self._port_shapes(rows, columns)
        shapes = [luma] * 2 + [features] * 4 + [fused]
        types = [torch.float16] * 6 + [torch.float16 if self.unit == "half" else torch.float32]
        return Buffers(*(self._runtime.empty(s, t) for s, t in zip(shapes, types, strict=True)))

    def _port_shapes(self, rows: int, columns: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Of a luma, a stack of features and the decoded luma."""
        shapes = self._shapes(rows, columns)
        return (1, 1, rows, columns), shapes[ENCODERS[0]][FEATURES], shapes[DECODER][self._graphs[DECODER].output]

    def _working(self, rows: int, columns: int) -> int:
        """Bytes that results on the way take at most."""
        shapes = self._shapes(rows, columns)
        return self._itemsize * max(graph.working_values(shapes[file]) for file, graph in self._graphs.items())

    def _shapes(self, rows: int, columns: int) -> dict[str, dict[str, tuple[int, ...]]]:
        """Of every tensor of each graph."""
        shapes = {file: self._tensor_shapes(self._models[file], (1, 1, rows, columns)) for file in ENCODERS}
        return shapes | {DECODER: self._tensor_shapes(self._models[DECODER], shapes[ENCODERS[0]][FEATURES])}

    @property
    def _itemsize(self) -> int:
        return 2 if self.unit == "half" else 4

    def _convolutions(self) -> Iterator[Convolution]:
        return (convolution for graph in self._graphs.values() for convolution in graph.convolutions)

    def _held(self) -> Buffers:
        if self._buffers is None:
            raise ValueError("this network has no buffers; call prepare first")
        return self._buffers

    def _forget(self) -> None:
        self._buffers = None
        self._runtime.give_back()


def open_runtime(place: str = "cuda") -> TorchRuntime:
    """torch, seen to work on a device of it. Raises BackendError with what is missing."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its CUDA libraries
        raise BackendError(f"backend torch: {error}; {FIX}") from error
    runtime = TorchRuntime(torch, place)
    if not runtime.is_cuda:
        return runtime
    if torch.version.cuda is None:
        raise BackendError(f"backend torch: {runtime.name} is built without CUDA; {FIX}")
    if not torch.cuda.is_available():
        raise BackendError(f"backend torch: {runtime.name} finds no GPU; see `doctor`, or use --backend cpu")
    try:
        torch.zeros(1, device=place).add_(1).item()  # the first call that needs machine code for this very GPU
    except RuntimeError as error:
        known = ", ".join(torch.cuda.get_arch_list())
        raise BackendError(f"backend torch: {runtime.name} has code for {known}: {reason_of(error)}; {FIX}") from error
    runtime.give_back()
    return runtime
