"""A built engine on the GPU: opened, told its shapes and its scratch memory, run. For all three bindings.

TensorRT tells failure by None, False or a line in its log, so every answer is looked at, as in `trt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from engines.device import Stream
from engines.trt import EngineError, Shape, make_log, must, refusal


class Engine:
    """An engine and its context, which owns no memory: the caller lends a block that engines run in turn can share.

    Needs the CUDA context of its making current in each call. One thread at a time.
    """

    def __init__(self, trt: Any, name: str, plan: bytes) -> None:
        """plan: as `engines.record.read_plan` has checked it. Raises EngineError.

        A plan is as good as a program: only one's own is read, and it may bring no code for the host.
        """
        self._trt, self.name, self._log = trt, name, make_log(trt)
        with self._complaints():
            runtime = trt.Runtime(self._log)
            runtime.engine_host_code_allowed = False  # the default, too; never switched on
            self._engine: Any = must(runtime.deserialize_cuda_engine(plan), name, self._log)
            self._context: Any = must(self._new_context(), f"{name}: its context", self._log)
            self.scratch_bytes = int(self._engine.device_memory_size_v2)
            """Of the block to lend: enough for the largest size of its profile."""

    def check(self, halves: frozenset[str], channels_last: frozenset[str]) -> None:
        """Raise EngineError unless inputs and outputs are what the kernels beside it read and write.

        halves: names of those in float16, the others are float32. channels_last: of those laid out so.
        """
        engine, trt = self._engine, self._trt
        for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
            kind = trt.DataType.HALF if name in halves else trt.DataType.FLOAT
            layout = trt.TensorFormat.HWC8 if name in channels_last else trt.TensorFormat.LINEAR
            found = engine.get_tensor_dtype(name), engine.get_tensor_format(name)
            if found != (kind, layout):
                raise EngineError(
                    f"{self.name}: {name} is {found[0]}, {found[1]}, to be {kind}, {layout}; build with --force"
                )

    def reshape(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Take inputs of these shapes from now on; returns the shapes of all. Raises EngineError."""
        with self._complaints():
            for name, shape in shapes.items():
                must(self._context.set_input_shape(name, shape), f"{self.name}: {name} of {shape}", self._log)
            if unknown := self._context.infer_shapes():
                raise EngineError(refusal(self.name, self._log, f"shapes of {', '.join(unknown)} are not known"))
            names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
            return {name: tuple(self._context.get_tensor_shape(name)) for name in names}

    def lend(self, address: int, nbytes: int) -> None:
        """Give it scratch memory of `scratch_bytes` or more, for as long as it is run. Raises EngineError."""
        with self._complaints():
            self._log.errors.clear()
            self._context.set_device_memory(address, nbytes)  # tells nothing back, so the log decides
            if self._log.errors:
                raise EngineError(refusal(self.name, self._log, "scratch memory"))

    def run(self, stream: Stream, **addresses: int) -> None:
        """Enqueue one run, with inputs and outputs at these addresses. Raises EngineError."""
        with self._complaints():
            for name, address in addresses.items():
                must(self._context.set_tensor_address(name, address), f"{self.name}: {name}", self._log)
            must(self._context.execute_async_v3(stream.handle), self.name, self._log)

    def close(self) -> None:
        """Give the context and the weights on the GPU back; may be called twice."""
        self._context = None  # before its engine
        self._engine = None

    def _new_context(self) -> Any:
        trt, engine = self._trt, self._engine
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(trt, "ComputeCapability"):
            return engine.create_execution_context(strategy)
        # TensorRT-RTX compiles kernels for a shape when it first meets it, beside the caller and to be swapped in
        # later: a recording would keep what stood in until then.
        runtime_config = must(engine.create_runtime_config(), self.name, self._log)
        runtime_config.set_execution_context_allocation_strategy(strategy)
        runtime_config.dynamic_shapes_kernel_specialization_strategy = (
            trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        return engine.create_execution_context(runtime_config)

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        """What the bindings raise as an EngineError."""
        try:
            yield
        except EngineError:
            raise
        except (TypeError, ValueError, RuntimeError, MemoryError) as error:  # for None and for C++ exceptions
            raise EngineError(refusal(self.name, self._log, str(error))) from error
