"""A network's ONNX graph run by torch, node by node: the operators and attributes that our graphs have, and no others.

torch is handed in by engines/torch_cuda.py, the one file that imports it.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.model import ModelError

Tensor = Any
"""A torch.Tensor; nodes and graphs are onnx's."""
Weights = Mapping[str, NDArray[np.floating[Any]]]
ATTRIBUTES: dict[str, frozenset[str]] = {
    "Add": frozenset(),
    "Cast": frozenset({"to"}),
    "Conv": frozenset({"dilations", "group", "kernel_shape", "pads", "strides"}),
    "DepthToSpace": frozenset({"blocksize", "mode"}),
    "Max": frozenset(),
    "MaxPool": frozenset({"kernel_shape", "strides"}),
    "Relu": frozenset(),
    "Resize": frozenset({"coordinate_transformation_mode", "mode", "nearest_mode"}),
}
"""What is understood of each of `fp16.NETWORK_OPERATORS`."""
REPEATS = {"coordinate_transformation_mode": b"asymmetric", "mode": b"nearest", "nearest_mode": b"floor"}
"""A Resize that repeats pixels, as torch's `nearest` does."""
EXACT_SCALES = (1, 2, 4, 8)
"""torch finds a pixel's source by a product with 1/scale in float32, exact for these."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: reads named tensors, makes one, and is the last to read some."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    run: Callable[..., Tensor]
    last_read: tuple[str, ...]


class Convolution:
    """A convolution, with the Relu behind it if it is the only reader.

    torch adds a bias and rectifies in passes of their own over the picture; cuDNN's fused call does both on the way.
    """

    def __init__(self, torch: Any, node: Any, *, is_rectified: bool) -> None:
        """Raises ModelError for padding that differs between opposite borders."""
        found = {attribute.name: attribute for attribute in node.attribute}
        pads = tuple(found["pads"].ints) if "pads" in found else (0, 0, 0, 0)
        if pads[:2] != pads[2:]:
            raise ModelError(
                f"{node.name}: Conv with pads {pads}; opposite borders must have the same: export it again"
            )
        stride, dilation = (tuple(found[name].ints) if name in found else (1, 1) for name in ("strides", "dilations"))
        self._options = stride, pads[:2], dilation, found["group"].i if "group" in found else 1
        self._torch, self._name, self._is_rectified = torch, node.name, is_rectified
        self.is_fused = False
        """Set where cuDNN may be asked for the fused call; cleared for good when it has none."""

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, C, h, w) -> (N, K, h', w')."""
        if self._is_rectified and self.is_fused:
            try:
                fused: Tensor = self._torch.cudnn_convolution_relu(x, weight, bias, *self._options)
                return fused
            except self._torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # no kernel for this shape; an error of the GPU comes again below
                logger.info("%s: cuDNN does not fuse it (%s)", self._name, str(error).splitlines()[0])
                self.is_fused = False
        y: Tensor = self._torch.conv2d(x, weight, bias, *self._options)
        return self._torch.relu_(y) if self._is_rectified else y


class TorchGraph:
    """A graph with its weights on a torch device. Call it with tensors by name, in the graph's own element type."""

    def __init__(self, torch: Any, graph: Any, weights: Weights, place: str) -> None:
        """place: torch's name of the device. Raises ModelError naming what it does not know."""
        self.steps = plan(torch, graph, weights)
        self.output: str = graph.output[0].name
        self._constants = {name: _constant(torch, values, place) for name, values in weights.items()}

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The graph's output; what is no longer needed on the way is given back to torch at once."""
        values = {**self._constants, **inputs}
        for step in self.steps:
            values[step.output] = step.run(*(values[name] for name in step.inputs))
            for name in step.last_read:
                del values[name]
        return values[self.output]

    @property
    def convolutions(self) -> list[Convolution]:
        """Those of the graph, to choose how they run."""
        return [step.run for step in self.steps if isinstance(step.run, Convolution)]

    def working_values(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """The largest number of values held at once for results on the way; shapes: of every tensor."""
        held: dict[str, int] = {}
        largest = 0
        for step in self.steps:
            held[step.output] = math.prod(shapes[step.output])
            largest = max(largest, sum(held.values()))
            for name in step.last_read:
                held.pop(name, None)  # an input is the caller's
        return largest


def plan(torch: Any, graph: Any, weights: Weights) -> list[Step]:
    """The graph's nodes as operations of torch, in order. Raises ModelError naming what is not understood."""
    kept = {value.name for value in graph.output} | set(weights)
    readers = Counter(name for node in graph.node for name in node.input)
    rectified = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "Relu"}
    rectified = {name: output for name, output in rectified.items() if readers[name] == 1 and name not in kept}
    merged: set[str] = set()
    steps: list[Step] = []
    for node in graph.node:
        _check(node)
        if node.output[0] in merged:
            continue
        output = node.output[0]
        if node.op_type == "Conv":
            run: Callable[..., Tensor] = Convolution(torch, node, is_rectified=output in rectified)
            output = rectified.get(output, output)
            merged.add(output)
        else:
            run = _operation(torch, node, weights)
        inputs = tuple(node.input[:1] if node.op_type == "Resize" else filter(None, node.input))
        steps.append(Step(node.op_type, inputs, output, run, ()))
    last = {name: i for i, step in enumerate(steps) for name in step.inputs if name not in kept}
    return [
        Step(step.operator, step.inputs, step.output, step.run, tuple(n for n, place in last.items() if place == i))
        for i, step in enumerate(steps)
    ]


def _check(node: Any) -> None:
    known = ATTRIBUTES.get(node.op_type)
    if known is None:
        raise ModelError(f"{node.name}: operator {node.op_type}; backend torch runs {', '.join(sorted(ATTRIBUTES))}")
    strange = sorted({attribute.name for attribute in node.attribute} - known)
    if strange:
        allowed = ", ".join(sorted(known)) or "none"
        raise ModelError(f"{node.name}: {node.op_type} with {', '.join(strange)}; backend torch knows {allowed}")


def _operation(torch: Any, node: Any, weights: Weights) -> Callable[..., Tensor]:
    found = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Cast":
        return lambda x: x.to({1: torch.float32, 10: torch.float16}[found["to"].i])  # as TensorProto counts
    if node.op_type == "MaxPool":
        stride = tuple(found["strides"].ints) if "strides" in found else 1
        return partial(torch.max_pool2d, kernel_size=tuple(found["kernel_shape"].ints), stride=stride)
    if node.op_type == "Resize":
        scales = weights.get(node.input[2]) if len(node.input) == 3 else None
        how = {name: attribute.s for name, attribute in found.items()}
        if scales is None or how != REPEATS or [*scales[:2]] != [1, 1] or not np.isin(scales, EXACT_SCALES).all():
            raise ModelError(
                f"{node.name}: Resize by {scales}, {how}; backend torch repeats pixels, {EXACT_SCALES} times"
            )
        factors = float(scales[2]), float(scales[3])
        return partial(torch.nn.functional.interpolate, scale_factor=factors, mode="nearest")
    if node.op_type == "DepthToSpace":
        if "mode" not in found or found["mode"].s != b"CRD":
            raise ModelError(f"{node.name}: DepthToSpace of mode DCR; backend torch knows CRD: export it again")
        return partial(torch.pixel_shuffle, upscale_factor=found["blocksize"].i)
    if node.op_type == "Max":
        return lambda *tensors: reduce(torch.maximum, tensors)
    return {"Add": torch.add, "Relu": torch.relu}[node.op_type]


def _constant(torch: Any, values: NDArray[np.floating[Any]], place: str) -> Any:
    """On the device, four axes channels last.

    `contiguous` would leave a weight with one input channel in its old strides, by which torch then takes the whole
    picture for channels first: so it is copied.
    """
    tensor = torch.from_numpy(np.array(values))
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=place, memory_format=layout).copy_(tensor)
