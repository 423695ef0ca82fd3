"""Typed half precision: only the network is rounded, it agrees with float32, and no strange graph gets through."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.fp16 import load_graph, tensor_shapes, to_half, typed_bytes
from engines.model import ModelError

FILES = ["encoder_ir.onnx", "encoder_vis.onnx", "encoder_common.onnx", "decoder.onnx"]
TOLERANCE = 2e-3
"""Of the largest value. Half precision rounds to 4.9e-4 of a value; 5.3e-4 was measured, on three layers."""
LEVEL_SHARE = 0.2
"""Of fused pixels that may be one level off: those whose luma lies within 1e-3 of a rounding border; 0.04 measured."""


@pytest.fixture(scope="module", params=FILES)
def graph(request, model_folder):
    return load_graph(model_folder / request.param)


@pytest.fixture(scope="module")
def fuser(model_folder):
    return load_graph(model_folder / "fuser.onnx")


def element_types(model):
    """Element type of every tensor of a graph."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in inferred.initializer}


def run(data, feed):
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, feed)


def scene(height, width, seed=0):
    """Luma (H, W) in 0..1 like a picture: a sky without texture, a ramp, hard edges, hot spots, little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    picture = 0.3 + 0.4 * x / width * (y > height / 3)
    picture[height // 2 :, width // 4 : width // 2] = 0.05
    picture[(y - height * 0.6) ** 2 + (x - width * 0.7) ** 2 < (height / 8) ** 2] = 1
    return np.clip(picture + rng.normal(0, 0.01, picture.shape) * (y > height / 3), 0, 1).astype(np.float32)


def histogram(error):
    return f"max {error.max():.2e}, mean {error.mean():.2e}, histogram {np.histogram(error, 8)}"


def tiny(node, *, weight=1.0, opset="", shape=("N", 1, "H", "W")):
    """A graph of one operator that reads `x` and, if it names it, the weight `w`."""
    operator, *inputs = node
    nodes = [helper.make_node(operator, inputs, ["y"], domain=opset)]
    kernel = onnx.numpy_helper.from_array(np.full((1, 1, 1, 1), weight, np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    imports = [helper.make_opsetid("", 17), *([helper.make_opsetid(opset, 1)] if opset else [])]
    return helper.make_model(helper.make_graph(nodes, "tiny", [x], [y], [kernel]), opset_imports=imports, ir_version=8)


def test_encoders_and_decoder_are_half_from_end_to_end(graph):
    half = to_half(graph)
    types = element_types(half)
    assert not [node.name for node in half.graph.node if node.op_type == "Cast"]
    assert {name for name, kind in types.items() if kind == TensorProto.FLOAT} <= {"twice"}  # Resize's scales
    assert {types[value.name] for value in [*half.graph.input, *half.graph.output]} == {TensorProto.FLOAT16}


def test_sums_and_activity_of_the_rules_stay_in_float32(fuser):
    types = element_types(to_half(fuser))
    names = "ir_sum vis_sum total share rest ir_part vis_part average ir_count vis_count area activity threshold"
    assert {types[name] for name in names.split()} == {TensorProto.FLOAT}
    assert {types[name] for name in ("common_ir", "private", "decoder.conv1.weight")} == {TensorProto.FLOAT16}


@pytest.mark.parametrize("kind", ["noise", "scene"])
def test_half_agrees_with_float32(graph, kind):
    rng, feed = np.random.default_rng(1), {}
    for i, value in enumerate(graph.graph.input):
        maps = value.type.tensor_type.shape.dim[1].dim_value
        picture = rng.random((maps, 61, 82), np.float32) if kind == "noise" else np.stack([scene(61, 82, i)] * maps)
        feed[value.name] = picture[None]
    wanted = run(typed_bytes(graph, "fp32"), feed)[0]
    found = run(typed_bytes(graph, "fp16"), {name: x.astype(np.float16) for name, x in feed.items()})[0]
    assert found.dtype == np.float16
    error = np.abs(found - wanted) / np.abs(wanted).max()
    assert error.max() < TOLERANCE, histogram(error)


@pytest.mark.parametrize("kind", ["noise", "scene"])
def test_half_fuser_agrees_within_one_level(fuser, kind):
    rng = np.random.default_rng(2)
    pictures = [rng.random((90, 110)) if kind == "noise" else scene(90, 110, seed) for seed in (0, 1)]
    feed = {name: np.rint(255 * x).astype(np.uint8)[None] for name, x in zip(("ir", "vis"), pictures, strict=True)}
    feed["threshold"] = np.full(128, 0.6, np.float32)
    wanted, activity = run(typed_bytes(fuser, "fp32"), feed)
    found, half_activity = run(typed_bytes(fuser, "fp16"), feed)
    off = np.abs(found.astype(int) - wanted)
    assert off.max() <= 1, np.bincount(off.ravel())
    assert (off > 0).mean() < LEVEL_SHARE, np.bincount(off.ravel())
    assert np.abs(half_activity - activity).max() < 0.02  # positions whose feature rounds to or from zero


def test_activity_of_more_positions_than_half_can_count_is_right(fuser):
    feed = {name: np.rint(255 * scene(520, 520, i)).astype(np.uint8)[None] for i, name in enumerate(("ir", "vis"))}
    feed["threshold"] = np.full(128, 0.6, np.float32)  # 256 * 256 = 65536 positions; half ends at 65504
    wanted, found = (run(typed_bytes(fuser, precision), feed)[1] for precision in ("fp32", "fp16"))
    assert wanted.max() > 0.9
    assert np.abs(found - wanted).max() < 0.02


@pytest.mark.parametrize("weight", [70000.0, -1e6, np.inf, np.nan])
def test_a_weight_beyond_half_is_an_error_that_names_it(weight):
    with pytest.raises(ModelError, match=r"weight w: .*65504.*--precision fp32"):
        to_half(tiny(("Conv", "x", "w"), weight=weight))


def test_the_largest_half_is_no_error():
    assert to_half(tiny(("Conv", "x", "w"), weight=65504.0)).graph.initializer[0].data_type == TensorProto.FLOAT16


def test_an_addition_of_a_float_input_is_not_rounded():
    assert set(element_types(to_half(tiny(("Add", "x", "w")))).values()) == {TensorProto.FLOAT}


def test_conversion_leaves_its_input_alone_and_gives_the_same_bytes(graph):
    before = graph.SerializeToString(deterministic=True)
    assert typed_bytes(graph, "fp16") == typed_bytes(graph, "fp16")
    assert graph.SerializeToString(deterministic=True) == before == typed_bytes(graph, "fp32")


def test_what_the_parser_gets_needs_no_other_file(graph):
    for precision in ("fp16", "fp32"):
        model = onnx.ModelProto.FromString(typed_bytes(graph, precision))
        assert all(tensor.raw_data and not tensor.external_data for tensor in model.graph.initializer)


def test_feature_size_is_half_less_four(model_folder):
    encoder = load_graph(model_folder / "encoder_ir.onnx")
    shapes = tensor_shapes(encoder, (3, 1, 496, 656))
    assert shapes["features"] == (3, 128, 244, 324)
    assert shapes["features/relu1_1"] == (3, 64, 494, 654)
    with pytest.raises(ModelError, match="give a larger --size"):
        tensor_shapes(encoder, (1, 1, 8, 8))


@pytest.mark.parametrize("model", [tiny(("Sigmoid", "x")), tiny(("Conv", "x", "w"), opset="evil")])
def test_an_operator_that_is_not_ours_reaches_no_compiler(tmp_path, model):
    (tmp_path / "encoder.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"(Sigmoid|evil:Conv).*export"):
        load_graph(tmp_path / "encoder.onnx")


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\x08" * 40])
def test_junk_is_one_clear_line(tmp_path, content):
    (tmp_path / "encoder.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="export the model again") as caught:
        load_graph(tmp_path / "encoder.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["../outside.bin", "/etc/passwd", "link.bin"])
def test_weights_from_outside_the_folder_are_refused(tmp_path, place):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(b"\0" * 64)
    os.symlink(tmp_path / "outside.bin", folder / "link.bin")
    model = tiny(("Conv", "x", "w"))
    kernel = model.graph.initializer[0]
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value=place)
    (folder / "encoder.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"encoder\.onnx"):
        load_graph(folder / "encoder.onnx")
