"""Models that are one whole graph: fused on the CPU, refused where encoders and decoder are wanted, in one line."""

import json
import shutil

import numpy as np
import pytest

from engines import backends
from engines.base import BackendError, open_fuser
from engines.build import networks
from engines.gpu import Gpu
from engines.model import ModelError, load_model, sha256
from engines.profile import Profile

H200 = Gpu("NVIDIA H200", "sm_90", 150 << 30, "13.0", "580.65")


@pytest.fixture(scope="module")
def graph_folder(tmp_path_factory):
    """The mean of both, less 2 px at each border."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch")  # training.graph stands beside it
    from training.baselines.base import add_inner
    from training.graph import Graph, add_bytes, add_scaled

    graph = Graph({})
    for name in ("ir", "vis"):
        add_scaled(graph, name)
    graph.add("Mean", "ir_luma", "vis_luma", out="mean")
    add_inner(graph, "mean", 2, "luma")
    add_bytes(graph)
    picture = (onnx.TensorProto.UINT8, ("N", "H", "W"))
    out = (onnx.TensorProto.UINT8, ("N", "h", "w"))
    model = graph.model("fuser", {"ir": picture, "vis": picture}, {"fused": out})
    folder = tmp_path_factory.mktemp("graphs") / "mean"
    folder.mkdir()
    (folder / "fuser.onnx").write_bytes(model.SerializeToString())
    facts = {"name": "mean", "kind": "graph", "multiple": 4, "margin": 2}
    (folder / "model.json").write_text(json.dumps({**facts, "files": {"fuser.onnx": sha256(folder / "fuser.onnx")}}))
    return folder


def changed(folder, target, **facts):
    """A copy whose model.json says otherwise; None takes a fact out."""
    copy = shutil.copytree(folder, target)
    told = {**json.loads((copy / "model.json").read_text()), **facts}
    (copy / "model.json").write_text(json.dumps({name: value for name, value in told.items() if value is not None}))
    return copy


def pictures(height, width):
    return np.random.default_rng(0).integers(0, 256, (2, height, width), np.uint8)


def test_it_fuses_pictures_of_any_size_and_batches(graph_folder):
    fuser = open_fuser(graph_folder, backend="cpu", threads=1)
    for shape in ((1, 1), (3, 8), (21, 33)):
        ir, vis = pictures(*shape)
        off = np.abs(fuser.fuse(ir, vis) - (ir.astype(float) + vis) / 2)
        assert off.max() <= 0.5
    ir, vis = pictures(9, 7)
    batch = fuser.fuse(np.stack([ir, vis]), np.stack([vis, vis]))
    assert np.array_equal(batch[0], fuser.fuse(ir, vis))
    assert np.array_equal(batch[1], vis)
    fuser.close()


def test_a_stream_of_it_has_no_state(graph_folder):
    fuser = open_fuser(graph_folder, backend="cpu", threads=1)
    ir, vis = pictures(9, 7)
    fused, state = fuser.fuse_next(ir, vis, None)
    assert state is None
    assert np.array_equal(fused, fuser.fuse(ir, vis))
    flight = fuser.start(follows=True)
    for _ in range(2):
        flight.put(ir, vis)
        assert np.array_equal(flight.get(), fused)
    fuser.close()


@pytest.mark.parametrize("backend", ["tensorrt", "rtx", "torch"])
def test_a_gpu_backend_by_name_is_refused_in_one_line(graph_folder, backend):
    with pytest.raises(ModelError) as caught:
        open_fuser(graph_folder, backend=backend)
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        f"model mean: one whole graph, and backend {backend} takes encoders and decoder; use --backend cpu, or a model "
        "of kind jcae"
    )


def test_auto_takes_the_cpu_and_says_once_why_not_the_gpu(graph_folder, monkeypatch):
    monkeypatch.setattr(backends, "find_gpu", lambda: H200)
    told = []
    fuser = open_fuser(graph_folder, on_progress=told.append)
    assert fuser.name == "mean on cpu"
    assert told == ["NVIDIA H200 is not used: model mean is one whole graph, which runs on cpu only"]
    fuser.close()


def test_an_unknown_backend_is_still_that(graph_folder):
    with pytest.raises(BackendError, match="use auto, cpu, tensorrt, rtx, torch"):
        open_fuser(graph_folder, backend="warp")


def test_no_engines_are_built_of_it(graph_folder):
    with pytest.raises(ModelError, match="model mean: one whole graph, and an engine takes encoders and decoder"):
        networks(load_model(graph_folder), "fp16", Profile.fixed(64, 48))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"kind": "jcae"}, "a model of kind jcae says its maps, 1 or more, and its activity_ratio"),
        ({"kind": "jcae", "maps": 8}, "says its maps, 1 or more, and its activity_ratio"),
        ({"kind": "jcae", "maps": 0, "activity_ratio": 0.6}, "says its maps, 1 or more"),
        ({"maps": 8}, "8 maps for kind graph, which shows none; give 0"),
        ({"kind": "magic"}, "kind: Input should be 'jcae' or 'graph'"),
    ],
)
def test_a_kind_that_does_not_fit_its_facts_is_named(graph_folder, tmp_path, facts, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_model(changed(graph_folder, tmp_path / "copy", **facts))
    assert "\n" not in str(caught.value)


def test_a_graph_that_takes_something_else_than_its_kind_is_named(graph_folder, tmp_path):
    folder = changed(graph_folder, tmp_path / "copy", kind="jcae", maps=8, activity_ratio=0.6)
    with pytest.raises(
        ModelError, match="takes ir, vis, a model of kind jcae takes ir, threshold, vis; export it again"
    ):
        open_fuser(folder, backend="cpu")


def test_a_model_without_a_kind_is_ours():
    assert load_model("jcae").kind == "jcae"
