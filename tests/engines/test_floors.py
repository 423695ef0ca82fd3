"""Work counted from graphs, against sums done by hand."""

import onnx
import pytest

from engines.floors import Work, convolution_operations, count_work, rule_bytes
from engines.fp16 import load_graph, tensor_shapes
from engines.model import load_model


def test_the_rules_move_eight_stacks():
    """640x480 without a margin: a stack of 240 x 320 x 128 halves is 19.66 MB, 157 MB in all."""
    assert rule_bytes((1, 128, 240, 320)) == 8 * 240 * 320 * 128 * 2 == 157_286_400
    assert Work(0, 157_286_400).floor_ms(operations=1, bandwidth=4.3e12) == pytest.approx(0.0366, abs=1e-4)


def test_the_network_takes_206_gflop_for_a_vga_picture_and_6_more_for_its_margin():
    """By hand: each layer's output positions x maps in x maps out x 9 taps x 2, the common encoder twice."""
    encoder = 494 * 654 * 1 * 64 + 492 * 652 * 64 * 64 + 244 * 324 * 64 * 128
    decoder = 242 * 322 * 128 * 64 + 482 * 642 * 64 * 64 + 480 * 640 * 64 * 1
    work = count_work(load_model("jcae"), (640, 480))
    assert work.operations == 18 * (4 * encoder + 2 * decoder)
    assert work.rule_bytes == 8 * 2 * 128 * 244 * 324
    bare = 18 * 6 * (480 * 640 * (64 + 64 * 64) + 240 * 320 * 64 * 128)  # no margin: all layers keep their size
    assert bare == pytest.approx(206e9, rel=1e-3)
    assert 0 < work.operations - bare < 6.1e9
    assert str(work) == "212.0 GFLOP in the network, 162 MB through the rules"


def test_a_floor_is_the_sum_of_both():
    work = Work(operations=400 * 10**9, rule_bytes=2 * 10**9)
    assert work.floor_ms(operations=400e12, bandwidth=4e12) == pytest.approx(1 + 0.5)


def test_groups_are_counted_once(tmp_path):
    weight = onnx.helper.make_tensor("W", 1, [6, 2, 3, 3], [0.0] * 108)
    node = onnx.helper.make_node("Conv", ["x", "W"], ["y"], group=2)
    ports = (
        [onnx.helper.make_tensor_value_info("x", 1, ["N", 4, "h", "w"])],
        [onnx.helper.make_tensor_value_info("y", 1, ["N", 6, "a", "b"])],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(
        onnx.helper.make_model(
            onnx.helper.make_graph([node], "g", *ports, [weight]), opset_imports=opsets, ir_version=8
        ),
        tmp_path / "grouped.onnx",
    )
    model = load_graph(tmp_path / "grouped.onnx")
    shapes = tensor_shapes(model, (1, 4, 5, 6))
    assert convolution_operations(model.graph, shapes) == 2 * (3 * 4 * 6) * (2 * 9)
