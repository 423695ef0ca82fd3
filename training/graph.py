"""The network as ONNX graphs, written node by node, so that each is exactly what the engines are to run.

All graphs share one file of weights: the safetensors file beside them, whose tensors they name by offset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

OPSET = 17
"""What every ONNX Runtime and TensorRT in use reads."""
IR_VERSION = 8
WEIGHTS = "weights.safetensors"
BRANCHES = {"encoder_ir.onnx": "private_ir", "encoder_vis.onnx": "private_vis", "encoder_common.onnx": "common"}
"""One graph per weight set: engines run them one after the other in one block of scratch memory."""

Port = tuple[int, tuple[str | int, ...]]
"""Element type and shape of an input or output, with names for free axes."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a tensor lies in the weights file."""

    shape: tuple[int, ...]
    offset: int
    """bytes from the start of the file"""
    length: int
    """bytes"""


def read_slots(path: Path) -> dict[str, Slot]:
    """Each tensor's place in a safetensors file: 8 bytes of header length, JSON header, then the data."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {
        name: Slot(tuple(entry["shape"]), 8 + length + entry["data_offsets"][0], int(np.diff(entry["data_offsets"])[0]))
        for name, entry in header.items()
        if name != "__metadata__"
    }


class Graph:
    """A graph under construction: nodes in order, weights by reference."""

    def __init__(self, slots: Mapping[str, Slot]) -> None:
        self._slots = slots
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, out: str, **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        self._nodes.append(helper.make_node(operator, list(inputs), [out], name=out, **attributes))
        return out

    def constant(self, name: str, value: object, dtype: type) -> str:
        """A small tensor kept inside the graph."""
        array: NDArray[Any] = np.asarray(value, dtype)
        self._constants.setdefault(name, onnx.numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str) -> str:
        """A tensor of the weights file."""
        slot = self._slots[name]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=slot.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", slot.offset), ("length", slot.length)):
            tensor.external_data.add(key=key, value=str(value))
        self._constants.setdefault(name, tensor)
        return name

    def conv(self, x: str, layer: str, out: str, **attributes: Any) -> str:
        """An unpadded convolution; attributes: those of Conv that are not its defaults."""
        weights = self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias")
        return self.add("Conv", x, *weights, out=out, **attributes)

    def model(self, name: str, inputs: Mapping[str, Port], outputs: Mapping[str, Port]) -> onnx.ModelProto:
        """The finished model."""
        ports = [
            [helper.make_tensor_value_info(key, kind, shape) for key, (kind, shape) in values.items()]
            for values in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, name, ports[0], ports[1], initializer=list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="crotalus")


def branch_graph(slots: Mapping[str, Slot], branch: str, maps: int) -> onnx.ModelProto:
    """luma (N, 1, H, W) float in 0..1 -> features (N, maps, H/2 - 4, W/2 - 4)."""
    graph = Graph(slots)
    _encode(graph, "luma", branch, "features")
    inputs = {"luma": (TensorProto.FLOAT, ("N", 1, "H", "W"))}
    return graph.model(branch, inputs, {"features": (TensorProto.FLOAT, ("N", maps, "h", "w"))})


def decoder_graph(slots: Mapping[str, Slot], maps: int) -> onnx.ModelProto:
    """common, private (N, maps, h, w) -> luma (N, 1, 2h - 8, 2w - 8) float, nominally 0..1: D(common) + D(private)."""
    graph = Graph(slots)
    graph.add("Add", _decode(graph, "common", "c"), _decode(graph, "private", "p"), out="luma")
    shape: Port = (TensorProto.FLOAT, ("N", maps, "h", "w"))
    outputs = {"luma": (TensorProto.FLOAT, ("N", 1, "H", "W"))}
    return graph.model("decoder", {"common": shape, "private": shape}, outputs)


def fuser_graph(slots: Mapping[str, Slot], maps: int) -> onnx.ModelProto:
    """ir, vis (N, H, W) uint8 and threshold (maps,) -> fused (N, H - 16, W - 16) uint8 and activity (N, maps).

    The whole of `engines.rules` is inside; the caller pads, chooses the thresholds, and keeps a stream's state.
    """
    graph = Graph(slots)
    for name in ("ir", "vis"):
        add_scaled(graph, name)
        _encode(graph, f"{name}_luma", f"private_{name}", f"private_{name}")
        _encode(graph, f"{name}_luma", "common", f"common_{name}")
    graph.add("Max", "private_ir", "private_vis", out="private")  # Eq. 8
    common_rule(graph)
    graph.add("Add", _decode(graph, "common", "c"), _decode(graph, "private", "p"), out="luma")  # Eq. 4
    add_bytes(graph)
    picture: Port = (TensorProto.UINT8, ("N", "H", "W"))
    inputs = {"ir": picture, "vis": picture, "threshold": (TensorProto.FLOAT, (maps,))}
    fused = (TensorProto.UINT8, ("N", "H_out", "W_out"))
    return graph.model("fuser", inputs, {"fused": fused, "activity": (TensorProto.FLOAT, ("N", maps))})


def add_scaled(graph: Graph, name: str, *, is_unit: bool = True) -> None:
    """(N, H, W) uint8 -> (N, 1, H, W) float in 0..1; in 0..255 if not is_unit."""
    x = graph.add("Cast", name, out=f"{name}_float", to=TensorProto.FLOAT)
    if is_unit:
        x = graph.add("Div", x, graph.constant("white", 255, np.float32), out=f"{name}_unit")
    graph.add("Unsqueeze", x, graph.constant("axis_channel", [1], np.int64), out=f"{name}_luma")


def add_bytes(graph: Graph, *, is_unit: bool = True) -> None:
    """`luma` (N, 1, H, W) float, 0..255 if not is_unit, rounded half to even and clipped -> `fused` (N, H, W) uint8."""
    x = graph.add("Squeeze", "luma", graph.constant("axis_channel", [1], np.int64), out="luma_flat")
    if is_unit:
        x = graph.add("Mul", x, graph.constant("white", 255, np.float32), out="luma_255")
    graph.add("Round", x, out="luma_round")
    limits = graph.constant("black", 0, np.float32), graph.constant("white", 255, np.float32)
    graph.add("Clip", "luma_round", *limits, out="luma_clip")
    graph.add("Cast", "luma_clip", out="fused", to=TensorProto.UINT8)


def _encode(graph: Graph, x: str, branch: str, out: str) -> str:
    """Names carry `out`, as the common branch is run twice in one graph with one set of weights."""
    x = graph.add("Relu", graph.conv(x, f"{branch}.block1_conv1", f"{out}/conv1_1"), out=f"{out}/relu1_1")
    x = graph.add("Relu", graph.conv(x, f"{branch}.block1_conv2", f"{out}/conv1_2"), out=f"{out}/relu1_2")
    x = graph.add("MaxPool", x, out=f"{out}/pool", kernel_shape=[2, 2], strides=[2, 2])
    return graph.add("Relu", graph.conv(x, f"{branch}.block2_conv1", f"{out}/conv2_1"), out=out)


def _decode(graph: Graph, x: str, out: str) -> str:
    x = graph.add("Relu", graph.conv(x, "decoder.conv1", f"{out}/conv1"), out=f"{out}/relu1")
    scales = graph.constant("twice", [1, 1, 2, 2], np.float32)
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}  # repeat
    x = graph.add("Resize", x, "", scales, out=f"{out}/up", **how)
    x = graph.add("Relu", graph.conv(x, "decoder.conv2", f"{out}/conv2"), out=f"{out}/relu2")
    return graph.conv(x, "decoder.conv3", f"{out}/conv3")


def common_rule(graph: Graph) -> None:
    """Eq. 9: `common_ir`, `common_vis`, `threshold` -> `common`, `activity`."""
    _activity(graph)
    graph.add("GreaterOrEqual", "activity", "threshold", out="averaged")  # (N, M)
    graph.add("Unsqueeze", "averaged", graph.constant("axes_space", [2, 3], np.int64), out="averaged_maps")
    _average(graph)
    graph.add("Max", "common_ir", "common_vis", out="stronger")
    graph.add("Where", "averaged_maps", "average", "stronger", out="common")


def _activity(graph: Graph) -> None:
    """min(L_IR, L_VIS) / (h w): the count is exact in float32 up to 2^24 positions, the division rounds once."""
    zero, space = graph.constant("black", 0, np.float32), graph.constant("axes_space", [2, 3], np.int64)
    for name in ("ir", "vis"):
        graph.add("Greater", f"common_{name}", zero, out=f"{name}_positive")
        graph.add("Cast", f"{name}_positive", out=f"{name}_ones", to=TensorProto.FLOAT)
        graph.add("ReduceSum", f"{name}_ones", space, out=f"{name}_count", keepdims=0)  # (N, M)
    graph.add("Min", "ir_count", "vis_count", out="count")
    graph.add("Shape", "common_ir", out="side", start=2, end=4)
    graph.add("ReduceProd", "side", out="area_integer", keepdims=0)
    graph.add("Cast", "area_integer", out="area", to=TensorProto.FLOAT)
    graph.add("Div", "count", "area", out="activity")


def _average(graph: Graph) -> None:
    """w1 C_IR + (1 - w1) C_VIS with w1 = sum C_IR / (sum C_IR + sum C_VIS), 0.5 where both sums are 0."""
    maps = graph.constant("axis_channel", [1], np.int64)
    zero, one, half = (graph.constant(n, v, np.float32) for n, v in (("black", 0), ("one", 1), ("half", 0.5)))
    for name in ("ir", "vis"):
        graph.add("ReduceSum", f"common_{name}", maps, out=f"{name}_sum", keepdims=1)  # (N, 1, h, w)
    graph.add("Add", "ir_sum", "vis_sum", out="total")
    graph.add("Greater", "total", zero, out="has_signal")
    graph.add("Where", "has_signal", "total", one, out="divisor")
    graph.add("Div", "ir_sum", "divisor", out="share_raw")
    graph.add("Where", "has_signal", "share_raw", half, out="share")
    graph.add("Sub", one, "share", out="rest")
    graph.add("Mul", "share", "common_ir", out="ir_part")
    graph.add("Mul", "rest", "common_vis", out="vis_part")
    graph.add("Add", "ir_part", "vis_part", out="average")
