"""A baseline's model: the fuser gives what torch gives, its folder is like ours, and it is refused where it differs."""

import json

import numpy as np
import onnx
import pytest
import torch

from engines.base import open_fuser
from engines.model import load_model
from tests.training.baselines.conftest import made
from tests.training.material import noise
from training.baselines import export as module
from training.baselines.export import export, fused_by
from training.export import ExportError
from training.model_folder import TargetError


def test_the_fuser_gives_what_torch_gives_at_any_size(name, exported):
    fuser = open_fuser(exported(name), backend="cpu", threads=1)
    assert fuser.name == f"{name} on cpu"
    for height, width in ((1, 1), (2, 7), (31, 45)):
        ir, vis = noise(height, width, 1), noise(height, width, 2)
        found, wanted = fuser.fuse(ir, vis), fused_by(made(name), ir, vis)
        assert found.shape == (height, width)
        assert found.dtype == np.uint8
        assert (found != wanted).mean() <= module.LEVEL_SHARE, np.unique(found.astype(int) - wanted, return_counts=True)
    fuser.close()


def test_the_folder_holds_one_graph_its_weights_and_what_they_are(name, exported):
    folder = exported(name)
    info = load_model(folder)
    assert (info.name, info.kind, info.maps) == (name, "graph", 0)
    assert (info.margin, info.multiple) == (made(name).margin, made(name).multiple)
    assert sorted(info.files) == ["fuser.onnx", "weights.safetensors"]
    assert info.metrics == {"SSIM": 0.5}
    facts = json.loads((folder / "model.json").read_text())
    assert not {"maps", "activity_ratio"} & facts.keys(), "what means nothing is not in the file"
    graph = onnx.load(folder / "fuser.onnx", load_external_data=False).graph
    assert [port.name for port in graph.input] == ["ir", "vis"]
    assert [port.name for port in graph.output] == ["fused"]
    assert (folder / "fuser.onnx").stat().st_size < 50_000, "the weights lie beside it"


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    network = made("densefuse")

    def wrong(graph):
        graph.add("Add", "ir_features", "vis_features", out="features")

    monkeypatch.setattr(type(network), "write_rule", lambda self, graph: wrong(graph))
    with pytest.raises(ExportError, match=r"fuser\.onnx: .*% of pixels are not the network's"):
        export(network, tmp_path / "model", name="wrong", training={}, metrics={})
    assert list(tmp_path.iterdir()) == []


def test_an_older_model_is_replaced_and_a_strangers_folder_is_not(tmp_path):
    network, folder = made("ifcnn"), tmp_path / "model"
    export(network, folder, name="old", training={}, metrics={})
    torch.nn.init.constant_(network.conv4.conv.bias, 0.25)
    assert load_model(export(network, folder, name="new", training={}, metrics={}).folder).name == "new"
    (folder / "thesis.tex").write_text("")
    with pytest.raises(TargetError, match=r"thesis\.tex"):
        export(network, folder, name="newer", training={}, metrics={})
    assert load_model(folder).name == "new"


def test_the_network_given_stays_as_it_is(tmp_path):
    network = made("fusiongan").train()
    export(network, tmp_path / "model", name="kept", training={}, metrics={})
    assert network.training
