"""The light network as ONNX graphs, of the same names, inputs and outputs as the full one's."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto

from training.distil.network import Shape
from training.graph import BRANCHES, Graph, Port, Slot, add_bytes, add_scaled, common_rule

BOTH = "decoder.both"
"""In the file of weights: the decoder's layers `common` and `private` as one, for the fuser's graph."""

LEVELS = "levels"
"""In the file of weights: stems that take luma in 0..255 and a last layer that gives it, for that graph, too."""


def light_graphs(slots: Mapping[str, Slot], shape: Shape) -> dict[str, onnx.ModelProto]:
    """Every graph of a model folder by its file's name: three encoders, the decoder, and all in one with the rules."""
    graphs = {file: _branch_graph(slots, branch, shape) for file, branch in BRANCHES.items()}
    return graphs | {"decoder.onnx": _decoder_graph(slots, shape), "fuser.onnx": _fuser_graph(slots, shape)}


def _branch_graph(slots: Mapping[str, Slot], branch: str, shape: Shape) -> onnx.ModelProto:
    graph = Graph(slots)
    _encode(graph, shape, "luma", branch, "features")
    inputs: dict[str, Port] = {"luma": (TensorProto.FLOAT, ("N", 1, "H", "W"))}
    return graph.model(branch, inputs, {"features": (TensorProto.FLOAT, ("N", shape.maps, "h", "w"))})


def _decoder_graph(slots: Mapping[str, Slot], shape: Shape) -> onnx.ModelProto:
    graph = Graph(slots)
    _decode(graph, shape)
    features: Port = (TensorProto.FLOAT, ("N", shape.maps, "h", "w"))
    outputs: dict[str, Port] = {"luma": (TensorProto.FLOAT, ("N", 1, "H", "W"))}
    return graph.model("decoder", {"common": features, "private": features}, outputs)


def _fuser_graph(slots: Mapping[str, Slot], shape: Shape) -> onnx.ModelProto:
    graph = Graph(slots)
    for name in ("ir", "vis"):
        add_scaled(graph, name, is_unit=False)
        _encode(graph, shape, f"{name}_luma", f"private_{name}", f"private_{name}", stem=LEVELS)
        _encode(graph, shape, f"{name}_luma", "common", f"common_{name}", stem=LEVELS)
    graph.add("Max", "private_ir", "private_vis", out="private")  # Eq. 8
    common_rule(graph)
    _decode_both(graph, shape)
    add_bytes(graph, is_unit=False)
    picture: Port = (TensorProto.UINT8, ("N", "H", "W"))
    inputs: dict[str, Port] = {"ir": picture, "vis": picture, "threshold": (TensorProto.FLOAT, (shape.maps,))}
    outputs: dict[str, Port] = {
        "fused": (TensorProto.UINT8, ("N", "H_out", "W_out")),
        "activity": (TensorProto.FLOAT, ("N", shape.maps)),
    }
    return graph.model("fuser", inputs, outputs)


def _encode(graph: Graph, shape: Shape, x: str, branch: str, out: str, *, stem: str = "") -> str:
    """Features of luma (N, 1, H, W). Names carry `out`, as the common branch is run twice. stem: of which weights."""
    last, layer = f"{out}/stem/relu" if shape.layers else out, f"{stem}.{branch}.stem".lstrip(".")
    x = graph.add("Relu", graph.conv(x, layer, f"{out}/stem", strides=[shape.block] * 2), out=last)
    for k in range(shape.layers):
        last = out if k == shape.layers - 1 else f"{out}/{k}/relu"
        x = graph.add("Relu", _separable(graph, x, f"{branch}.layers.{k}", f"{out}/{k}", shape.maps), out=last)
    return x


def _decode(graph: Graph, shape: Shape) -> str:
    """`common` and `private` -> `luma`."""
    shares = [_separable(graph, x, f"decoder.{x}", f"decoder/{x}", shape.maps) for x in ("common", "private")]
    return _decode_sum(graph, shape, graph.add("Add", *shares, out="decoder/sum"))


def _decode_both(graph: Graph, shape: Shape) -> str:
    """The same with the first layers of both stacks as one: on a CPU their sum alone took a fifth of the time.

    Compilers of engines are not given it, as they know no Concat.
    """
    both = graph.add("Concat", "common", "private", out="decoder/stacks", axis=1)
    first = _separable(graph, both, BOTH, "decoder/both", 2 * shape.maps)
    return _decode_sum(graph, shape, first, last=f"{LEVELS}.decoder.last")


def _decode_sum(graph: Graph, shape: Shape, x: str, *, last: str = "decoder.last") -> str:
    x = graph.add("Relu", x, out="decoder/relu")
    for k in range(shape.depth):
        x = _separable(graph, x, f"decoder.layers.{k}", f"decoder/{k}", shape.width)
        x = graph.add("Relu", x, out=f"decoder/{k}/relu")
    x = _separable(graph, x, last, "decoder/last", shape.width)
    return graph.add("DepthToSpace", x, out="luma", blocksize=shape.block, mode="CRD")


def _separable(graph: Graph, x: str, layer: str, out: str, maps: int) -> str:
    return graph.conv(graph.conv(x, f"{layer}.0", f"{out}/alone", group=maps), f"{layer}.1", f"{out}/mix")
