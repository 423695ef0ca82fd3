"""The ONNX graphs, node by node: what they compute, on which sizes, and where their weights lie."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from safetensors.numpy import load_file, save_file

from engines import rules
from training import graph as graphs
from training.graph import BRANCHES, OPSET, WEIGHTS, Graph, read_slots

FILES = (*BRANCHES, "decoder.onnx", "fuser.onnx")


def session(model):
    """A model as bytes, or a path, in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def luma(count, height, width, seed=0):
    return np.random.default_rng(seed).random((count, 1, height, width), np.float32)


def test_slots_are_where_safetensors_itself_reads(tmp_path):
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.float32([7]),
        "c": np.zeros((2, 0), np.float32),
    }
    save_file(arrays, tmp_path / "x.safetensors", metadata={"made": "by hand"})
    data = (tmp_path / "x.safetensors").read_bytes()
    slots = read_slots(tmp_path / "x.safetensors")
    assert slots.keys() == arrays.keys()
    for name, slot in slots.items():
        found = np.frombuffer(data[slot.offset : slot.offset + slot.length], np.float32).reshape(slot.shape)
        np.testing.assert_array_equal(found, arrays[name])


@pytest.mark.parametrize("file", FILES)
def test_a_graph_is_valid_and_small_and_reads_on_old_runtimes(exported, file):
    onnx.checker.check_model(str(exported / file), full_check=True)
    model = onnx.load(exported / file, load_external_data=False)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert (OPSET, model.ir_version) == (17, 8)
    assert (exported / file).stat().st_size < 20_000  # no weight inside


@pytest.mark.parametrize("file", FILES)
def test_weights_stay_in_the_one_file_beside_it(exported, file):
    """And the graph's own name for each tensor is the network's, at the place where the weights file has it."""
    model = onnx.load(exported / file, load_external_data=False)
    slots, size = read_slots(exported / WEIGHTS), (exported / WEIGHTS).stat().st_size
    outside = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    assert len(outside) == {"decoder.onnx": 6, "fuser.onnx": 24}.get(file, 6)
    for tensor in outside:
        where = {entry.key: entry.value for entry in tensor.external_data}
        assert where["location"] == WEIGHTS
        slot = slots[tensor.name]
        assert (int(where["offset"]), int(where["length"])) == (slot.offset, slot.length)
        assert slot.length == 4 * int(np.prod(tensor.dims))
        assert slot.offset + slot.length <= size
    inside = [t for t in model.graph.initializer if t.data_location != TensorProto.EXTERNAL]
    assert all(np.prod(t.dims) <= 4 for t in inside)  # constants


def test_all_graphs_together_use_every_weight(exported):
    models = [onnx.load(exported / file, load_external_data=False) for file in FILES]
    used = [{t.name for t in m.graph.initializer if t.data_location == TensorProto.EXTERNAL} for m in models]
    assert used[-1] == set(load_file(exported / WEIGHTS)) == set().union(*used[:-1])


@pytest.mark.parametrize(("count", "height", "width"), [(1, 18, 18), (2, 20, 34), (3, 50, 22)])
def test_batch_and_size_are_free(exported, network, count, height, width):
    ir, vis = luma(count, height, width), luma(count, height, width, 1)
    with torch.no_grad():
        wanted = network.encode(torch.from_numpy(ir), torch.from_numpy(vis))
        common, private = wanted.common_ir.numpy(), wanted.private_vis.numpy()
        decoded = network.decode(wanted.common_ir, wanted.private_vis).numpy()
    for file, picture, features in zip(BRANCHES, (ir, vis, ir), wanted[:3], strict=True):
        found = session(exported / file).run(None, {"luma": picture})[0]
        # float32 sums of up to 576 products in another order; first layers were folded besides
        np.testing.assert_allclose(found, features.numpy(), rtol=0, atol=2e-5 * float(features.max()))
    found = session(exported / "decoder.onnx").run(None, {"common": common, "private": private})[0]
    assert found.shape == (count, 1, height - 16, width - 16)
    np.testing.assert_allclose(found, decoded, rtol=0, atol=2e-5 * np.abs(decoded).max())
    bytes_ir, bytes_vis = ((255 * x[:, 0]).astype(np.uint8) for x in (ir, vis))
    feed = {"ir": bytes_ir, "vis": bytes_vis, "threshold": rules.next_threshold(None, maps=128)}
    fused, activity = session(exported / "fuser.onnx").run(None, feed)
    assert (fused.shape, fused.dtype) == ((count, height - 16, width - 16), np.uint8)
    assert (activity.shape, activity.dtype) == ((count, 128), np.float32)


def test_axes_are_named_and_free_in_the_files(exported):
    def shapes(ports):
        return {p.name: [d.dim_param or d.dim_value for d in p.type.tensor_type.shape.dim] for p in ports}

    fuser = onnx.load(exported / "fuser.onnx", load_external_data=False).graph
    assert shapes(fuser.input) == {"ir": ["N", "H", "W"], "vis": ["N", "H", "W"], "threshold": [128]}
    assert shapes(fuser.output) == {"fused": ["N", "H_out", "W_out"], "activity": ["N", 128]}
    encoder = onnx.load(exported / "encoder_ir.onnx", load_external_data=False).graph
    assert shapes(encoder.input) == {"luma": ["N", 1, "H", "W"]}


@pytest.fixture(scope="module")
def common_rule():
    """Eq. 9 alone as a graph of any number of maps: f(ir, vis, threshold) -> common, activity."""
    graph = Graph({})
    graphs.common_rule(graph)
    features = (TensorProto.FLOAT, ("N", "M", "h", "w"))
    inputs = {"common_ir": features, "common_vis": features, "threshold": (TensorProto.FLOAT, ("M",))}
    outputs = {"common": features, "activity": (TensorProto.FLOAT, ("N", "M"))}
    ready = session(graph.model("rule", inputs, outputs).SerializeToString())
    return lambda ir, vis, threshold: ready.run(
        None, {"common_ir": ir, "common_vis": vis, "threshold": np.float32(threshold)}
    )


def test_common_rule_by_hand(common_rule):
    # 1 pair, 2 maps, 1 x 2 positions. Sums over maps: ir 4 and 0, vis 12 and 0: w1 is 0.25 and, by choice, 0.5
    ir, vis = np.float32([[[[1, 0]], [[3, 0]]]]), np.float32([[[[2, 0]], [[10, 0]]]])
    common, activity = common_rule(ir, vis, [0.5, 0.6])
    np.testing.assert_array_equal(activity, [[0.5, 0.5]])
    # map 0 reaches its threshold: 0.25 * 1 + 0.75 * 2; map 1 does not: the maximum
    np.testing.assert_allclose(common, [[[[1.75, 0]], [[10, 0]]]], rtol=1e-6)


@pytest.mark.parametrize(("count", "averaged"), [(59, False), (60, True), (61, True)])
def test_a_threshold_counts_when_reached_exactly(common_rule, count, averaged):
    ir = np.zeros((1, 1, 10, 10), np.float32)
    ir.flat[:count] = 1
    vis = np.full_like(ir, 3)
    common, _ = common_rule(ir, vis, [0.6])
    assert common.flat[0] == (2.5 if averaged else 3)  # 1/4 of 1 and 3/4 of 3


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7), st.booleans())
def test_common_rule_is_that_of_the_reference(common_rule, seed, count, maps, height, width, stream):
    rng = np.random.default_rng(seed)
    shape = count, maps, height, width
    ir, vis = (np.maximum(0, rng.normal(rng.normal(0.3, 1), 1, shape)).astype(np.float32) for _ in range(2))
    before = rng.random(maps) < 0.5 if stream else None
    threshold = rules.next_threshold(before, maps=maps)
    found, activity = common_rule(ir, vis, threshold)
    np.testing.assert_array_equal(activity, rules.activity(ir, vis))
    wanted = rules.fuse_common(ir, vis, rules.averaged_maps(activity, threshold))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)  # sums over maps in another order


@pytest.mark.parametrize(
    ("value", "level"),
    [(0.5 / 255, 0), (1.5 / 255, 2), (2.5 / 255, 2), (-0.3, 0), (1.7, 255), (200.4 / 255, 200), (200.6 / 255, 201)],
)
def test_luma_is_rounded_half_to_even_and_clipped(value, level):
    graph = Graph({})
    graphs.add_bytes(graph)
    picture = (TensorProto.FLOAT, ("N", 1, "H", "W")), (TensorProto.UINT8, ("N", "H", "W"))
    ready = session(graph.model("bytes", {"luma": picture[0]}, {"fused": picture[1]}).SerializeToString())
    assert ready.run(None, {"luma": np.full((1, 1, 1, 1), value, np.float32)})[0].item() == level


def test_bytes_become_the_floats_that_training_sees():
    graph = Graph({})
    graphs.add_scaled(graph, "ir")
    kinds = {"ir": (TensorProto.UINT8, ("N", "H", "W"))}, {"ir_luma": (TensorProto.FLOAT, ("N", 1, "H", "W"))}
    ready = session(graph.model("scale", *kinds).SerializeToString())
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    found = ready.run(None, {"ir": levels})[0]
    np.testing.assert_array_equal(found[:, 0], torch.from_numpy(levels).float().numpy() / np.float32(255))
