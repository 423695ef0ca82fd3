"""One adapter for the three bindings of TensorRT: `tensorrt` 10, `tensorrt` 11 and `tensorrt_rtx`: finding, building.

What differs is here and in `trt_run` and nowhere else: which package, who is strongly typed, who builds for a GPU that
is not present. TensorRT tells failure by None or False and a line in its log, so every answer is looked at.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from engines.base import BackendError, CrotalusError
from engines.gpu import present_target

EngineBackend = Literal["tensorrt", "rtx"]
Precision = Literal["fp16", "fp32"]
PACKAGES: dict[EngineBackend, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""The front package is an sdist: where only wheels are allowed, there is just that of the bindings, its equal."""
ACTIVATIONS = re.compile(r"Total Activation Memory: (\d+) bytes")
SHORT = re.compile(r"OutOfMemory|out of memory|bad_alloc", re.IGNORECASE)
SHORTAGE = re.compile(r"Exceeded mem budget of \d+\. Need (\d+)")

Shape = tuple[int, ...]
T = TypeVar("T")
logger = logging.getLogger(__name__)


class EngineError(CrotalusError, RuntimeError):
    """TensorRT refused to build or to read an engine; the text has its last messages."""


@dataclass(frozen=True, slots=True)
class Network:
    """What one engine is built from."""

    name: str
    onnx: bytes
    """Typed graph with its weights inside."""
    shapes: Mapping[str, tuple[Shape, Shape, Shape]]
    """Smallest, typical and largest shape of each input."""
    channels_last: frozenset[str]
    """Of the float16 inputs and outputs those laid out (N, h, w, C), as the kernels read and write them: no reformat
    stands between."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A built engine in memory."""

    data: bytes
    scratch_bytes: int | None
    """Device memory that it needs while it runs and that engines run in turn can share; None if not told."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """An installed TensorRT, as much of it as is needed to build engines."""

    flavour: EngineBackend
    version: str
    """Exact: another one reads no engine of this."""
    targets: tuple[str, ...]
    """Compute capabilities that it builds for, `sm_86`."""
    present: str | None
    """That of the GPU here; None without one."""
    compile: Callable[[Network, str], Plan]
    """Builds an engine for a target. Raises EngineError."""


def open_compiler(backend: EngineBackend) -> Compiler:
    """The compiler of a backend. Raises BackendError if it is not installed, with every reason."""
    trt = load(backend)
    present = present_target()
    everyone = getattr(trt, "ComputeCapability", None)  # TensorRT-RTX only
    targets: tuple[str, ...] = (present,) if present else ()
    if everyone is not None:
        names = sorted((name for name in everyone.__members__ if name[2:].isdigit()), key=lambda name: int(name[2:]))
        targets = tuple(f"sm_{name[2:]}" for name in names)
    return Compiler(backend, trt.__version__, targets, present, partial(build_plan, trt))


def load(backend: EngineBackend) -> Any:
    """The module of a backend. Raises BackendError with every reason it cannot be imported."""
    reasons = []
    for package in PACKAGES[backend]:
        try:
            module = importlib.import_module(package)
        except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: its libraries are not found
            reasons.append(f"{package}: {error}")
            continue
        if backend == "tensorrt" and int(module.__version__.split(".")[0]) < 10:
            raise BackendError(f"tensorrt {module.__version__}: too old; pip install 'tensorrt>=10.13,<12'")
        return module
    raise BackendError(f"backend {backend}: {'; '.join(reasons)}; pip install 'crotalus[{backend}]'")


def build_plan(trt: Any, network: Network, target: str) -> Plan:
    """Compile a network for a target (of a GPU that need not be here if `trt` is TensorRT-RTX).

    Raises EngineError with the last messages of TensorRT. Takes a fraction of a second with TensorRT-RTX, which
    compiles again at run time, and up to minutes with TensorRT, which measures on the GPU.
    """
    log = make_log(trt)
    try:
        builder = trt.Builder(log)
        flags = 0
        if (
            not hasattr(trt, "ComputeCapability") and trt.__version__.split(".")[0] == "10"
        ):  # later ones always are, and deprecate saying so
            flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        definition = must(builder.create_network(flags), network.name, log)
        parser = trt.OnnxParser(definition, log)
        if not parser.parse(network.onnx):
            found = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
            raise EngineError(f"{network.name}: TensorRT {trt.__version__} cannot read the graph ({found}); update it")
        config = _configure(trt, builder, network, target, log)
        _set_layouts(trt, definition, network.channels_last)
        data = bytes(must(builder.build_serialized_network(definition, config), network.name, log))
    except EngineError:
        raise
    except (TypeError, ValueError, RuntimeError, MemoryError) as error:  # pybind's, for None and for C++ exceptions
        raise EngineError(refusal(network.name, log, str(error))) from error
    return Plan(data, log.scratch_bytes)


def make_log(trt: Any) -> Any:
    """A logger for TensorRT that passes messages on at debug level, and keeps the errors and the memory sizes."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=3)
            self.scratch_bytes: int | None = None
            self.needed_bytes: int | None = None

        def log(self, severity: Any, message: str) -> None:
            logger.debug("%s", message)
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(" ".join(message.split()))
            if found := ACTIVATIONS.search(message):
                self.scratch_bytes = int(found[1])
            if found := SHORTAGE.search(message):
                self.needed_bytes = int(found[1])

    return Log()


def _configure(trt: Any, builder: Any, network: Network, target: str, log: Any) -> Any:
    config = must(builder.create_builder_config(), network.name, log)
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32; on by default otherwise
    if hasattr(trt, "ComputeCapability"):
        config.num_compute_capabilities = 1
        capability = getattr(trt.ComputeCapability, target.replace("_", "").upper())
        must(config.set_compute_capability(capability, 0), f"{network.name} for {target}", log)
    profile = must(builder.create_optimization_profile(), network.name, log)
    for name, shapes in network.shapes.items():
        profile.set_shape(name, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(refusal(network.name, log, f"shapes {dict(network.shapes)}"))
    return config


def _set_layouts(trt: Any, definition: Any, channels_last: frozenset[str]) -> None:
    tensors = [definition.get_input(i) for i in range(definition.num_inputs)]
    tensors += [definition.get_output(i) for i in range(definition.num_outputs)]
    for tensor in tensors:
        if tensor.name in channels_last:
            tensor.allowed_formats = 1 << int(trt.TensorFormat.HWC8)  # of halves: 8 are one 16-byte load


def must(value: T | None, name: str, log: Any) -> T:
    """The answer of a call that tells failure by None or False."""
    if value is None or value is False:
        raise EngineError(refusal(name, log, f"it gave {value}"))
    return value


def refusal(name: str, log: Any, reason: str) -> str:
    """One line for what TensorRT would not do: its last messages, or the reason if it said nothing."""
    said = " | ".join(log.errors) or reason
    if log.needed_bytes or SHORT.search(f"{said} {reason}"):
        need = f"needs {log.needed_bytes / 2**30:.1f} GB" if log.needed_bytes else "needs more than there is"
        return f"{name}: too little memory, the engine {need} ({said}); build for a smaller --size or --batch"
    return f"{name}: TensorRT refused ({said}); check the GPU with `doctor`, update TensorRT, or use --backend cpu"
