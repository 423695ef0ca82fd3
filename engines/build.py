"""Engines of a model: which it needs, and building those that are missing.

One engine for each set of weights (private IR, private VIS, common) and one decoder of one stack, run twice, all in
turn in one block of scratch memory: four branches in one engine took 335 MiB at 640x480, one branch takes 86, one stack
84. The fusion rules are CUDA kernels elsewhere; features pass between them and the engines in fp16, channels last, as
the kernels read them.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import BackendError, CrotalusError
from engines.cache import Made, Tell, engine_folder, obtain, open_folder
from engines.model import ModelInfo
from engines.onnx_cpu import available_memory
from engines.profile import Profile, ProfileError, padded
from engines.record import EngineKey, Record, read_plan
from engines.trt import Compiler, EngineBackend, Network, Precision, open_compiler

ENCODERS = ("encoder_ir.onnx", "encoder_vis.onnx", "encoder_common.onnx")
DECODER = "decoder.onnx"
INPUT, FEATURES, DECODED = "luma", "features", ("common", "private")
"""Names in the graphs, as `training.graph` writes them: of an encoder's input and output, of the decoder's inputs."""
BEFORE = "before"
"""Beside FEATURES the input of our decoder of one stack: what it decoded before, in float32 like its output `luma`."""
MAX_VALUES = 2**31 - 1
"""In a tensor. Past 2**32, TensorRT-RTX 1.7.1 builds without complaint and tells an eighth of the memory it needs."""
BUILD_MEMORY = 1 << 30
"""Bytes of the host to be free for a build: TensorRT-RTX 1.7.1 took 85 MB at 640x480, 0.97 GB at 7680x4320 for sm_75,
and given 20 or 40 MB it crashed."""


class HostMemoryError(CrotalusError, MemoryError):
    """This machine has too little memory left to build in."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """An engine in the cache."""

    path: Path
    record: Record
    is_new: bool
    """This call built it."""

    def __str__(self) -> str:
        """File name, whether it was built now, and its size."""
        record = self.record
        how = f"built in {record.seconds:.1f} s" if self.is_new else "kept"
        scratch = "not told" if record.scratch_bytes is None else f"{record.scratch_bytes / 2**20:.0f} MiB"
        return f"{self.path.name}: {how}, {record.plan_bytes / 1e6:.2f} MB, scratch memory {scratch}"

    def read(self) -> bytes:
        """The plan, its hash checked. Raises StaleError if it was changed since."""
        return read_plan(self.path)[1]


def build_engines(
    info: ModelInfo,
    *,
    backend: EngineBackend,
    precision: Precision = "fp16",
    profile: Profile,
    batch: int = 1,
    targets: Sequence[str] = (),
    force: bool = False,
    on_progress: Tell = lambda line: None,
    compiler: Compiler | None = None,
) -> list[BuiltEngine]:
    """The engines of a model for each target: those in the cache, and the missing ones built.

    batch: largest number of pictures at once. targets: like `sm_86`; the GPU here if empty. force: build anew.
    on_progress: told each build and each wait. compiler: `open_compiler(backend)` if not given.

    Raises BackendError for a backend or target that cannot be, ModelError, ProfileError, EngineError, CacheError,
    HostMemoryError.
    """
    if batch < 1:
        raise ProfileError(f"--batch {batch}: pictures at once; give 1 or more")
    compiler = compiler or open_compiler(backend)
    chosen = _targets(compiler, targets)
    folder = open_folder(engine_folder())
    parts = networks(info, precision, profile, batch)
    engines = []
    for target in chosen:
        for network in parts:
            key = key_of(network, compiler, precision=precision, profile=str(profile), batch=batch, target=target)
            make = _Maker(info, compiler, network, key)
            record, is_new = obtain(folder, key, make, force=force, on_progress=on_progress)
            engines.append(BuiltEngine(folder / key.name, record, is_new))
    return engines


def shared_scratch(engines: Sequence[BuiltEngine]) -> int | None:
    """Bytes of device memory that serve all of them, run in turn; None if one did not tell at its build."""
    sizes = [engine.record.scratch_bytes for engine in engines]
    known = [size for size in sizes if size is not None]
    return max(known, default=0) if len(known) == len(sizes) else None


@dataclass(frozen=True, slots=True)
class _Maker:
    """Builds one engine when called."""

    info: ModelInfo
    compiler: Compiler
    network: Network
    key: EngineKey

    def __call__(self) -> Made:
        if (free := available_memory()) < BUILD_MEMORY:
            raise HostMemoryError(
                f"{self.network.name}: building needs {BUILD_MEMORY >> 20} MB, {free >> 20} are free; close something"
            )
        started = time.monotonic()
        plan = self.compiler.compile(self.network, self.key.target)
        record = Record(
            key=self.key,
            plan_sha256=hashlib.sha256(plan.data).hexdigest(),
            plan_bytes=len(plan.data),
            scratch_bytes=plan.scratch_bytes,
            seconds=round(time.monotonic() - started, 3),
            model=self.info.name,
            model_json=str(self.info.folder.resolve() / "model.json"),
            model_files=self.info.files,
        )
        return Made(plan.data, record)


def _targets(compiler: Compiler, asked: Sequence[str]) -> list[str]:
    chosen = list(dict.fromkeys(asked)) or ([compiler.present] if compiler.present else [])
    allowed = ", ".join(compiler.targets) or "the GPU here, and there is none"
    if not chosen:
        raise BackendError(
            f"backend {compiler.flavour}: no GPU here to build for; --backend rtx builds for others, too: name one by "
            "--target sm_XX"
        )
    for target in chosen:
        if target not in compiler.targets:
            raise BackendError(
                f"--target {target}: {compiler.flavour} {compiler.version} builds for {allowed}; name one of these, or "
                "use another --backend"
            )
    return chosen


def networks(info: ModelInfo, precision: Precision, profile: Profile, batch: int = 1) -> list[Network]:
    """What the engines of a model are built from. Raises BackendError, ModelError, ProfileError."""
    info.require_parts("an engine")
    try:
        from engines.fp16 import load_graph, tensor_shapes, typed_bytes
        from engines.one_stack import one_stack
    except ImportError as error:
        raise BackendError(f"building engines: {error}; pip install 'crotalus[rtx]' or 'crotalus[tensorrt]'") from error
    graphs = {file: load_graph(info.path(file)) for file in (*ENCODERS, DECODER)}
    sizes = [padded(size, info) for size in (profile.smallest, profile.typical, profile.largest)]
    luma = [(count, 1, height, width) for count, (width, height) in zip((1, batch, batch), sizes, strict=True)]
    tensors = [tensor_shapes(graphs[ENCODERS[0]], shape) for shape in luma]
    values = max(math.prod(shape) for shape in tensors[-1].values())
    if values > MAX_VALUES:
        raise ProfileError(
            f"sizes {profile}, batch {batch}: a tensor of {values} values; TensorRT counts up to {MAX_VALUES}: give a "
            "smaller --size or --batch"
        )
    features = [shapes[FEATURES] for shapes in tensors]
    decoded = [tensor_shapes(graphs[DECODER], shape)[graphs[DECODER].graph.output[0].name] for shape in features]
    graphs[DECODER] = one_stack(graphs[DECODER], stack=FEATURES, before=BEFORE)
    inputs = {file: {INPUT: luma} for file in ENCODERS} | {DECODER: {FEATURES: features, BEFORE: decoded}}
    return [
        Network(
            name=file.removesuffix(".onnx"),
            onnx=typed_bytes(graphs[file], precision, {FEATURES} if file == DECODER else {FEATURES, INPUT}),
            shapes={name: (shapes[0], shapes[1], shapes[2]) for name, shapes in ports.items()},
            channels_last=frozenset({FEATURES}),
        )
        for file, ports in inputs.items()
    ]


def key_of(
    network: Network, compiler: Compiler, *, precision: Precision, profile: str, batch: int, target: str
) -> EngineKey:
    """What tells the engine of a network from others; profile: as `engines.profile` writes it."""
    return EngineKey(
        graph=network.name,
        onnx=hashlib.sha256(network.onnx).hexdigest(),
        precision=precision,
        profile=profile,
        batch=batch,
        target=target,
        flavour=compiler.flavour,
        version=compiler.version,
    )
