"""The graphs that a compiler of engines may see: read whole, held to a list of operators, typed in half precision.

TensorRT 11 and TensorRT-RTX take the precision from the graph alone, so it is written here, once for every flavour.
Needs the package `onnx`, which comes with the extras `tensorrt` and `rtx`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from engines.model import ModelError
from engines.trt import Precision, Shape

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
NETWORK_OPERATORS = {"Add", "Cast", "Conv", "DepthToSpace", "Max", "MaxPool", "Relu", "Resize"}
RULE_OPERATORS = {"Clip", "Div", "Greater", "GreaterOrEqual", "Min", "Mul", "ReduceProd", "ReduceSum", "Round", "Shape"}
RULE_OPERATORS |= {"Squeeze", "Sub", "Unsqueeze", "Where"}
OPERATORS = frozenset(NETWORK_OPERATORS | RULE_OPERATORS)
"""What our graphs are made of. Whatever else a file asks for (plugins, loops, custom code) reaches no compiler."""
HALF_OPERATORS = frozenset({"Conv", "DepthToSpace", "Relu", "MaxPool", "Resize"})
"""Run in half precision. A tensor core sums its products in float32, so only the results are rounded."""
FOLLOWERS = frozenset({"Add", "Max"})
"""Run in half precision where all they take is half already: the sum of two decoded images, Eq. 4, and the maximum of
features, Eq. 8, which is exact. The sums of Eq. 9 follow a ReduceSum and stay in float32: 128 terms, and a count of
positions that passes 65504 in a 1080p picture."""
MAX_BYTES = 256 << 20
"""Of a graph with its weights; ours have 1.8 MB."""


def load_graph(path: Path) -> onnx.ModelProto:
    """The graph of a file with all its weights inside.

    onnx.load refuses external data outside the folder, behind a symbolic link too, where TensorRT-RTX 1.7 reads it.
    Raises ModelError for a file that cannot be read or asks for more than `OPERATORS`.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # protobuf's, onnx's and the system's share no base class
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not an ONNX graph that can be read ({reason}); export the model again") from error
    _check(path, model)
    return model


def typed_bytes(model: onnx.ModelProto, precision: Precision, half_ports: Collection[str] = ()) -> bytes:
    """What the compiler parses: the model in a precision, the same bytes each time. Raises ModelError.

    half_ports: inputs and outputs that are float16 in fp32, too, as the kernels beside the engine know no other.
    """
    typed = to_half(model) if precision == "fp16" else with_half_ports(model, half_ports)
    return bytes(typed.SerializeToString(deterministic=True))


def with_half_ports(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """A copy whose float32 inputs and outputs of these names are float16, cast at the border; inside it stays."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    before = []
    for value in graph.input:
        if value.name in names:
            value.type.tensor_type.elem_type = HALF
            before.append(_cast(value.name, f"{value.name}/float", FLOAT))
            rename(graph, value.name, f"{value.name}/float")
    after = [_cast(f"{value.name}/float", value.name, HALF) for value in graph.output if value.name in names]
    for value in graph.output:
        if value.name in names:
            value.type.tensor_type.elem_type = HALF
            rename(graph, value.name, f"{value.name}/float")
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(half, full_check=True)
    return half


def tensor_shapes(model: onnx.ModelProto, shape: Shape) -> dict[str, Shape]:
    """Shape of every tensor when the first input has this one. Raises ModelError if the graph cannot take it."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    axes = [list(value.type.tensor_type.shape.dim) for value in sized.graph.input]
    sizes = {dim.dim_param: size for dim, size in zip(axes[0], shape, strict=True) if dim.dim_param}
    for dim in (dim for dims in axes for dim in dims if dim.dim_param in sizes):  # axes of one name have one size
        dim.dim_value = sizes[dim.dim_param]
    for value in sized.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(sized, strict_mode=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"{model.graph.name}: cannot take {shape} ({error}); give a larger --size") from error
    values = [*graph.input, *graph.value_info, *graph.output]
    shapes = {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values}
    if any(min(found, default=1) < 1 for found in shapes.values()):
        raise ModelError(f"{model.graph.name}: nothing is left of {shape}; give a larger --size")
    return shapes


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the network in float16 and everything else as it was, casts where the two meet.

    An input, a weight or an output becomes float16 if only the network touches it: the encoders and the decoder have
    no cast at all. Raises ModelError naming a weight that float16 cannot hold.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    computed = _computed(graph)
    sources = _sources(graph)
    for value in [*graph.input, *graph.output]:
        if value.name in sources | computed:
            value.type.tensor_type.elem_type = HALF
    for tensor in graph.initializer:
        if tensor.name in sources:
            tensor.CopyFrom(_half_tensor(tensor))
    del graph.value_info[:]  # its types no longer hold
    _insert_casts(graph, computed, sources)
    onnx.checker.check_model(half, full_check=True)
    return half


def weights(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The constants of a graph by name, each in its own type."""
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a tensor another name wherever a node reads or makes it."""
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new


def _check(path: Path, model: onnx.ModelProto) -> None:
    graph = model.graph
    asked = {(node.domain or "ai.onnx", node.op_type) for node in graph.node}
    strange = sorted({f"{domain}:{name}" for domain, name in asked if domain != "ai.onnx" or name not in OPERATORS})
    if strange or model.functions or graph.sparse_initializer:
        found = ", ".join(strange) or "functions or sparse weights"
        raise ModelError(f"{path}: has {found}; engines are built of {', '.join(sorted(OPERATORS))}: export it again")
    outside = [tensor.name for tensor in graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    if outside:
        raise ModelError(f"{path}: weight {outside[0]} lies in another file that was not read; export the model again")
    if model.ByteSize() > MAX_BYTES:
        raise ModelError(f"{path}: {model.ByteSize() >> 20} MB; a model of at most {MAX_BYTES >> 20} MB can be built")


def _data_inputs(node: onnx.NodeProto) -> list[str]:
    """The inputs that share the node's element type: a Resize has its scales in float32 whatever it resizes."""
    return [name for name in (node.input[:1] if node.op_type == "Resize" else node.input) if name]


def _computed(graph: onnx.GraphProto) -> set[str]:
    """Names of the results in half precision; nodes stand in order, so one pass finds them."""
    names: set[str] = set()
    for node in graph.node:
        if node.op_type in HALF_OPERATORS or (node.op_type in FOLLOWERS and names.issuperset(node.input)):
            names.update(node.output)
    return names


def _sources(graph: onnx.GraphProto) -> set[str]:
    """Names of the float32 inputs and weights that nothing but the half-precision part reads."""
    floats = {value.name for value in graph.input if value.type.tensor_type.elem_type == FLOAT}
    floats |= {tensor.name for tensor in graph.initializer if tensor.data_type == FLOAT}
    readers: dict[str, list[bool]] = defaultdict(list)
    for node in graph.node:
        taken = _data_inputs(node) if node.op_type in HALF_OPERATORS else []
        for name in node.input:
            readers[name].append(name in taken)
    return {name for name in floats if readers[name] and all(readers[name])}


def _half_tensor(tensor: onnx.TensorProto) -> onnx.TensorProto:
    values: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        worst = float(np.nanmax(np.abs(values))) if not np.isnan(values).all() else float("nan")
        raise ModelError(
            f"weight {tensor.name}: has nan, inf or values up to {worst:.3g}; fp16 holds up to 65504: use "
            "--precision fp32, or train the model again"
        )
    return onnx.numpy_helper.from_array(half, tensor.name)


def _insert_casts(graph: onnx.GraphProto, computed: set[str], sources: set[str]) -> None:
    """Give each node inputs of its own type; one cast per tensor and direction, before its first reader."""
    nodes: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        is_half = node.output[0] in computed
        for i, name in enumerate(node.input):
            if name not in _data_inputs(node) or (name in computed | sources) == is_half:
                continue
            cast = f"{name}/{'half' if is_half else 'float'}"
            to = HALF if is_half else FLOAT
            nodes.setdefault(cast, _cast(name, cast, to))
            node.input[i] = cast
        nodes[node.output[0]] = node
    del graph.node[:]
    graph.node.extend(nodes.values())


def _cast(name: str, out: str, to: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [name], [out], name=f"{out}/cast", to=to)
