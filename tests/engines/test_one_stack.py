"""Half of a decoder, run twice, is the decoder; and what is no sum of two halves alike is refused."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from engines.fp16 import load_graph, typed_bytes  # noqa: E402
from engines.model import ModelError  # noqa: E402
from engines.one_stack import one_stack  # noqa: E402

FEATURES = 1, 128, 9, 11
DECODED = 1, 1, 10, 14


@pytest.fixture(scope="module")
def decoder(model_folder):
    return load_graph(model_folder / "decoder.onnx")


def run(data, **feed):
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, feed)[0]


def twice(half, dtype, common, private):
    """Both stacks through half a decoder, one after the other."""
    decoded = np.zeros(DECODED, np.float32)
    for stack in (common, private):
        decoded = run(half, features=stack.astype(dtype), before=decoded)
    return decoded


def test_run_twice_it_is_the_decoder(decoder):
    half = one_stack(decoder, stack="features", before="before")
    common, private = np.random.default_rng(0).random((2, *FEATURES), np.float32)
    wanted = run(decoder.SerializeToString(), common=common, private=private)
    found = twice(typed_bytes(half, "fp32"), np.float32, common, private)
    np.testing.assert_allclose(found, wanted, atol=1e-6)  # the order of a sum of two
    assert not np.allclose(run(typed_bytes(half, "fp32"), features=common, before=0 * found), wanted, atol=1e-2)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_the_sum_is_float32_in_either_precision(decoder, precision):
    half = typed_bytes(one_stack(decoder, stack="features", before="before"), precision, {"features"})
    common, private = np.random.default_rng(1).random((2, *FEATURES), np.float32)
    wanted = run(decoder.SerializeToString(), common=common, private=private)
    found = twice(half, np.float16, common, private)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < {"fp16": 2e-3, "fp32": 2e-4}[precision] * np.abs(wanted).max()


def test_ports_cast_at_the_border_change_a_result_by_their_rounding_only(decoder):
    """fp32 with half inputs: what is halved before it comes in is not rounded again."""
    stacks = np.random.default_rng(2).random((2, *FEATURES), np.float32).astype(np.float16)
    common, private = stacks
    half = typed_bytes(decoder, "fp32", {"common", "private"})
    wanted = run(decoder.SerializeToString(), common=common.astype(np.float32), private=private.astype(np.float32))
    np.testing.assert_array_equal(run(half, common=common, private=private), wanted)


def test_an_output_cast_at_the_border_is_rounded_once(model_folder):
    encoder = load_graph(model_folder / "encoder_ir.onnx")
    luma = np.random.default_rng(3).random((1, 1, 24, 28), np.float32).astype(np.float16)
    wanted = run(encoder.SerializeToString(), luma=luma.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(run(typed_bytes(encoder, "fp32", {"luma", "features"}), luma=luma), wanted)


def test_the_graph_that_it_was_cut_from_is_left_alone_and_the_weights_are_there_once(decoder):
    before = decoder.SerializeToString(deterministic=True)
    half = one_stack(decoder, stack="features", before="before")
    assert decoder.SerializeToString(deterministic=True) == before
    assert {tensor.name for tensor in half.graph.initializer} == {tensor.name for tensor in decoder.graph.initializer}
    assert [value.name for value in half.graph.input] == ["features", "before"]


def changed(decoder, kind):
    """A decoder that is no sum of two stacks decoded alike."""
    model = onnx.ModelProto()
    model.CopyFrom(decoder)
    nodes = model.graph.node
    if kind == "difference":
        nodes[-1].op_type = "Sub"
    elif kind == "other weights":
        other = next(node for node in nodes if node.output[0] == "p/conv1")
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == other.input[1])
        model.graph.initializer.append(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 2, "twin"))
        other.input[1] = "twin"
    elif kind == "other settings":
        next(node for node in nodes if node.output[0] == "p/up").attribute[0].s = b"linear"
    elif kind == "one stack twice":
        nodes[-1].input[1] = nodes[-1].input[0]
    elif kind == "one more layer":
        nodes.insert(len(nodes) - 1, helper.make_node("Relu", ["p/conv3"], ["p/relu3"], name="p/relu3"))
        nodes[-1].input[1] = "p/relu3"
    elif kind == "a third stack":
        model.graph.input.append(helper.make_tensor_value_info("third", TensorProto.FLOAT, ("N",)))
    else:
        del nodes[:]
    return model


@pytest.mark.parametrize(
    "kind",
    ["difference", "other weights", "other settings", "one stack twice", "one more layer", "a third stack", "nothing"],
)
def test_what_is_no_such_sum_is_refused(decoder, kind):
    with pytest.raises(ModelError, match="decoder: not the sum of two stacks decoded alike; export the model again"):
        one_stack(changed(decoder, kind), stack="features", before="before")
