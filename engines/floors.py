"""What a pair costs at the least: arithmetic and memory traffic counted from the graphs, not measured.

A time computed here is a floor under whatever is measured, never a claim of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.base import BackendError
from engines.build import DECODER, ENCODERS, FEATURES
from engines.model import ModelInfo
from engines.profile import Size, padded

PASSES = dict(zip((*ENCODERS, DECODER), (1, 1, 2, 1), strict=True))
"""Runs of each graph for a pair: the common encoder sees both pictures."""
RULE_TRANSFERS = 8
"""Stacks of features that the kernels read or write: two to count, all four to fuse, two as the result."""
FEATURE_BYTES = 2
"""fp16, whatever the network's precision."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one pair takes."""

    operations: int
    """Multiplications and additions of the convolutions."""
    rule_bytes: int
    """Read and written by the fusion rules."""

    def __str__(self) -> str:
        """E.g. `212.6 GFLOP in the network, 162 MB through the rules`."""
        return f"{self.operations / 1e9:.1f} GFLOP in the network, {self.rule_bytes / 1e6:.0f} MB through the rules"

    def floor_ms(self, *, operations: float, bandwidth: float) -> float:
        """Least time where `operations` and `bandwidth` (bytes) are to be had a second, one after the other, ms."""
        return 1e3 * (self.operations / operations + self.rule_bytes / bandwidth)


def count_work(info: ModelInfo, size: Size) -> Work:
    """The work for a pair of (width, height). Raises BackendError without onnx, ModelError."""
    try:
        from engines.fp16 import load_graph, tensor_shapes
    except ImportError as error:
        raise BackendError(f"counting the work of a model: {error}; pip install 'onnx>=1.17'") from error
    columns, rows = padded(size, info)
    operations = 0
    shape: tuple[int, ...] = 1, 1, rows, columns
    for file, passes in PASSES.items():
        model = load_graph(info.path(file))
        shapes = tensor_shapes(model, shape)
        operations += passes * convolution_operations(model.graph, shapes)
        if file == ENCODERS[-1]:
            shape = shapes[FEATURES]
    return Work(operations, rule_bytes(shape))


def rule_bytes(features: tuple[int, ...]) -> int:
    """Bytes that the rules move for stacks of a shape."""
    return RULE_TRANSFERS * FEATURE_BYTES * math.prod(features)


def convolution_operations(graph: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiplications and additions of an ONNX graph's convolutions; shapes: of every tensor."""
    weights = {tensor.name: math.prod(tensor.dims[1:]) for tensor in graph.initializer}
    return sum(
        2 * math.prod(shapes[node.output[0]]) * weights[node.input[1]] for node in graph.node if node.op_type == "Conv"
    )
