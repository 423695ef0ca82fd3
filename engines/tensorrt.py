"""The network on an NVIDIA GPU through TensorRT 10, 11 or TensorRT-RTX. None of this has run on a GPU yet.

Four engines share one block of scratch memory and run in turn; two of them run twice: the common encoder, once for each
picture, and the decoder, once for each fused stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from engines.base import BackendError, CrotalusError
from engines.build import BEFORE, DECODER, ENCODERS, FEATURES, INPUT, BuiltEngine, networks, shared_scratch
from engines.cache import Tell
from engines.device import Device, Recording, Stream
from engines.device_network import Tensors
from engines.fitting import fitting_engines, stored_engines, unpadded
from engines.model import ModelInfo
from engines.profile import Size
from engines.trt import Compiler, EngineBackend, EngineError, Network, Precision, Shape, load, open_compiler
from engines.trt_run import Engine

GRAPHS = tuple(Path(file).stem for file in (*ENCODERS, DECODER))
IR, VIS, COMMON, DECODE = GRAPHS
STACKS = ("private_ir", "private_vis", "common_ir", "common_vis")
HALF_BYTES, FLOAT_BYTES = 2, 4


class TensorRtNetwork:
    """A `DeviceNetwork` on TensorRT. Engines come from the user's cache, or are built into it for a new size."""

    unit: Literal["half", "float"] = "float"
    """In fp16, too: what the engines decode of each stack is summed in float32."""

    def __init__(
        self,
        info: ModelInfo,
        device: Device,
        *,
        backend: EngineBackend = "tensorrt",
        precision: Precision = "fp16",
        on_progress: Tell = lambda line: None,
    ) -> None:
        """on_progress: told of each build. Raises BackendError where this TensorRT is missing or not for this GPU,
        ModelError for a model without the graphs."""
        self._trt, self._compiler = load(backend), compiler_for(backend, device.name, device.target)
        self._info, self._device, self._precision, self._tell = info, device, precision, on_progress
        self.name = f"{backend} {_short(self._compiler.version)} ({device.target}, {precision})"
        self._parts(*(2 * (info.margin + info.multiple),) * 2)  # what is wrong with the model is to be known now
        self._stream = device.stream()
        self._engines: dict[str, Engine] = {}
        self._paths: list[Path] = []
        self._held: dict[str, int] = {}

    def memory(self, rows: int, columns: int) -> int:
        """See `DeviceNetwork`: buffers, and scratch memory as far as engines in the cache tell it."""
        size, parts = (columns, rows), self._parts(rows, columns)
        needed = sum(_buffers(self._shapes(parts)).values())
        with suppress(CrotalusError):  # of a cache that cannot be read: `prepare` will tell
            needed += shared_scratch(self._stored(size, parts)) or 0
        return needed

    def prepare(self, rows: int, columns: int) -> Tensors:
        """See `DeviceNetwork`. Builds engines where none in the cache takes this size; also raises EngineError."""
        self._forget()
        size, parts = (columns, rows), self._parts(rows, columns)
        shapes = self._shapes(parts)
        sizes = _buffers(shapes)
        try:
            with self._device.current():
                built = fitting_engines(
                    self._info, size, compiler=self._compiler, precision=self._precision, target=self._device.target,
                    on_progress=self._tell,
                )  # fmt: skip
                self._open(built)
                self._reshape(parts, shapes)
                sizes["scratch"] = max(1, *(engine.scratch_bytes for engine in self._engines.values()))
                self._allocate(sizes)
                for engine in self._engines.values():
                    engine.lend(self._held["scratch"], sizes["scratch"])
        except BaseException:
            self.close()
            raise
        held = self._held
        return Tensors(
            ir=held["ir"], vis=held["vis"], **{name: held[name] for name in STACKS}, fused=held["fused"],
            feature=_plane(shapes[IR][FEATURES]), decoded=_plane(shapes[DECODE][BEFORE]),
        )  # fmt: skip

    def encode(self, stream: Stream) -> None:
        """See `DeviceNetwork`."""
        with self._device.current():
            for graph, picture, stack in (
                (IR, "ir", "private_ir"),
                (VIS, "vis", "private_vis"),
                (COMMON, "ir", "common_ir"),
                (COMMON, "vis", "common_vis"),
            ):
                self._run(graph, stream, **{INPUT: picture, FEATURES: stack})

    def decode(self, stream: Stream) -> None:
        """See `DeviceNetwork`: Eq. 4, one stack after the other."""
        with self._device.current():
            self._run(DECODE, stream, **{FEATURES: "common_ir", BEFORE: "zeros", INPUT: "half_decoded"})
            self._run(DECODE, stream, **{FEATURES: "private_ir", BEFORE: "half_decoded", INPUT: "fused"})

    def record(self, stream: Stream, body: Callable[[], None]) -> Recording:
        """See `DeviceNetwork`."""
        return self._device.capture(stream, body)

    def close(self) -> None:
        """See `DeviceNetwork`."""
        self._forget()
        engines, self._engines, self._paths = self._engines, {}, []
        with suppress(CrotalusError, ValueError), self._device.current():  # ValueError: the device is closed
            for engine in engines.values():
                engine.close()

    def _run(self, graph: str, stream: Stream, **names: str) -> None:
        if not self._held:
            raise ValueError("the network has no buffers; call prepare first")
        self._engines[graph].run(stream, **{port: self._held[name] for port, name in names.items()})

    def _parts(self, rows: int, columns: int) -> list[Network]:
        return networks(self._info, self._precision, unpadded((columns, rows), self._info))

    def _stored(self, size: Size, parts: list[Network]) -> list[BuiltEngine]:
        compiler, target = self._compiler, self._device.target
        return stored_engines(self._info, size, parts, compiler=compiler, precision=self._precision, target=target)

    def _shapes(self, parts: list[Network]) -> dict[str, dict[str, Shape]]:
        """Inputs and outputs of each engine."""
        shapes = {part.name: {name: largest for name, (_, _, largest) in part.shapes.items()} for part in parts}
        for graph in (IR, VIS, COMMON):
            shapes[graph][FEATURES] = shapes[DECODE][FEATURES]
        shapes[DECODE][INPUT] = shapes[DECODE][BEFORE]
        return shapes

    def _open(self, built: list[BuiltEngine]) -> None:
        """The engines of these files: those that are open, if they are the same; opening takes a while."""
        paths = [engine.path for engine in built]
        if paths == self._paths:
            return
        for engine in self._engines.values():
            engine.close()
        self._engines, self._paths = {}, []
        for graph, file in zip(GRAPHS, built, strict=True):
            self._engines[graph] = opened = Engine(self._trt, graph, file.read())
            halves = {FEATURES} if graph == DECODE else {FEATURES, INPUT}
            opened.check(frozenset(halves), channels_last=frozenset({FEATURES}))
        self._paths = paths

    def _reshape(self, parts: list[Network], shapes: dict[str, dict[str, Shape]]) -> None:
        for part in parts:
            given = {name: shapes[part.name][name] for name in part.shapes}
            found = self._engines[part.name].reshape(given)
            if found != shapes[part.name]:
                raise EngineError(f"{part.name}: its shapes are {found}, to be {shapes[part.name]}; build with --force")

    def _allocate(self, sizes: dict[str, int]) -> None:
        for name, nbytes in sizes.items():
            self._held[name] = self._device.allocate(nbytes)
        self._device.fill(self._held["zeros"], 0, sizes["zeros"], self._stream)
        self._device.synchronize(self._stream)

    def _forget(self) -> None:
        """Give the buffers back; nothing that reads them is under way."""
        held, self._held = self._held, {}
        for address in held.values():
            self._device.free(address)


def compiler_for(backend: EngineBackend, name: str, target: str) -> Compiler:
    """The compiler of a TensorRT that runs on a GPU of this name and compute capability. Raises BackendError."""
    compiler = open_compiler(backend)
    if target not in compiler.targets:
        known = ", ".join(compiler.targets) or "no GPU that is here"
        others = " or ".join(sorted({"tensorrt", "torch", "cpu"} - {backend}, reverse=True))
        raise BackendError(
            f"backend {backend}: version {_short(compiler.version)} runs on {known}, {name} is {target}; "
            f"use --backend {others}"
        )
    return compiler


def _short(version: str) -> str:
    """`10.16` of `10.16.1.11`."""
    return ".".join(version.split(".")[:2])


def _buffers(shapes: dict[str, dict[str, Shape]]) -> dict[str, int]:
    """Bytes of each buffer but the scratch block."""
    luma, stack, decoded = shapes[IR][INPUT], shapes[IR][FEATURES], shapes[DECODE][BEFORE]
    halves = dict.fromkeys(("ir", "vis"), HALF_BYTES * math.prod(luma))
    stacks = dict.fromkeys(STACKS, HALF_BYTES * math.prod(stack))
    return halves | stacks | dict.fromkeys(("zeros", "half_decoded", "fused"), FLOAT_BYTES * math.prod(decoded))


def _plane(shape: Shape) -> tuple[int, int]:
    return shape[2], shape[3]
