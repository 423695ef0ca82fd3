"""An exported folder computes what the network computes, is whole or not there, and can be read back."""

import json
import os
import shutil

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file, save_file

from engines.model import ModelError, load_model, sha256
from engines.rules import ACTIVITY_RATIO
from tests.training.material import textured
from training import export as module
from training.checkpoint import Point, save_checkpoint
from training.export import (
    FLOAT_TOLERANCE,
    ExportError,
    check,
    export,
    folded_weights,
    load_network,
    main,
    read_metrics,
    unfolded_network,
)
from training.graph import WEIGHTS
from training.model_folder import TargetError
from training.network import JCAE

NAMES = sorted(
    ["model.json", WEIGHTS, "encoder_ir.onnx", "encoder_vis.onnx", "encoder_common.onnx", "decoder.onnx", "fuser.onnx"]
)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def luma(seed, height=40, width=36):
    return torch.from_numpy(textured(height, width, seed))[None, None] / 255


def test_folding_three_equal_channels_is_the_sum_of_the_kernels(network):
    folded = folded_weights(network)
    for branch in ("private_ir", "private_vis", "common"):
        kernel = getattr(network, branch).block1_conv1.weight.double()
        found = torch.from_numpy(folded[f"{branch}.block1_conv1.weight"])
        assert found.shape == (64, 1, 3, 3)
        assert torch.equal(found[:, 0], (kernel[:, 0] + kernel[:, 1] + kernel[:, 2]).float())


def test_a_folded_convolution_is_that_of_three_channels(network):
    layer, x = network.common.block1_conv1, luma(0).double()
    folded = torch.from_numpy(folded_weights(network)["common.block1_conv1.weight"]).double()
    wanted = torch.nn.functional.conv2d(x.expand(-1, 3, -1, -1), layer.weight.double(), layer.bias.double())
    found = torch.nn.functional.conv2d(x, folded, layer.bias.double())
    torch.testing.assert_close(found, wanted, rtol=0, atol=2**-24 * 9 * folded.abs().max().item())  # one rounding each


def test_all_other_tensors_are_kept_to_the_bit(network):
    state, folded = network.state_dict(), folded_weights(network)
    assert folded.keys() == state.keys()
    for key, value in folded.items():
        if not key.endswith("block1_conv1.weight"):
            np.testing.assert_array_equal(value, state[key].numpy())


def test_unfolding_undoes_folding(network):
    folded = folded_weights(network)
    again = folded_weights(unfolded_network(folded))
    assert all((again[key] == folded[key]).all() for key in folded)


def test_a_loaded_network_computes_what_the_exported_one_does(network, exported):
    loaded = load_network(exported)
    with torch.no_grad():
        for found, wanted in zip(loaded(luma(0), luma(1)), network(luma(0), luma(1)), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=FLOAT_TOLERANCE * wanted.abs().max().item())


def test_a_folder_is_complete_small_and_readable_by_all(exported):
    assert sorted(path.name for path in exported.iterdir()) == NAMES
    assert sum(path.stat().st_size for path in exported.iterdir()) < 5e6
    assert [path.name for path in exported.parent.iterdir()] == ["small"]  # no scratch folder is left
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in exported.iterdir())


def test_model_json_tells_facts_and_hashes(exported):
    info = load_model(exported)
    assert (info.name, info.multiple, info.margin, info.maps) == ("small", 2, 8, 128)
    assert info.activity_ratio == ACTIVITY_RATIO == 0.6
    assert (info.training, info.metrics) == ({"data": "none"}, {"SSIM": 0.5})
    assert sorted([*info.files, "model.json"]) == NAMES
    assert all(sha256(exported / name) == digest for name, digest in info.files.items())


def test_export_returns_what_load_model_reads(network, exported, tmp_path):
    info = export(network, tmp_path / "again", name="small", training={"data": "none"}, metrics={"SSIM": 0.5})
    assert info == load_model(tmp_path / "again")
    assert content(tmp_path / "again") == content(exported)  # the same network gives the same bytes


def test_export_leaves_the_callers_network_alone(tmp_path):
    torch.manual_seed(3)
    network = JCAE().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    export(network, tmp_path / "model", name="x", training={}, metrics={})
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("private_ir.block1_conv1.weight", "encoder_ir.onnx"),
        ("private_ir.block2_conv1.bias", "encoder_ir.onnx"),
        ("private_vis.block1_conv2.weight", "encoder_vis.onnx"),
        ("common.block1_conv1.bias", "encoder_common.onnx"),
        ("common.block2_conv1.weight", "encoder_common.onnx"),
        ("decoder.conv1.weight", "decoder.onnx"),
        ("decoder.conv3.bias", "decoder.onnx"),
    ],
)
def test_an_altered_weight_is_refused_and_its_file_named(network, exported, tmp_path, key, file):
    folder = shutil.copytree(exported, tmp_path / "altered")
    check(network, folder)
    weights = load_file(folder / WEIGHTS)
    weights[key] = weights[key] + np.float32(0.01)
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(ExportError, match=rf"^{file}: off by .* of the largest value; 2e-05 is allowed"):
        check(network, folder)


def test_a_fuser_that_mistakes_the_rules_is_refused(network, exported, tmp_path):
    """Encoders and decoder are right here; the fuser takes the weaker of two maps instead of the stronger."""
    folder = shutil.copytree(exported, tmp_path / "altered")
    model = onnx.load(folder / "fuser.onnx", load_external_data=False)
    for node in model.graph.node:
        if node.op_type == "Max" and node.output[0] == "stronger":
            node.op_type = "Min"
    (folder / "fuser.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=r"^fuser\.onnx: \d+ levels off"):
        check(network, folder)


def tampered(weights):
    return {**weights, "decoder.conv2.bias": weights["decoder.conv2.bias"] + np.float32(0.01)}


def test_a_refused_export_leaves_nothing(network, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "folded_weights", lambda n: tampered(folded_weights(n)))
    with pytest.raises(ExportError):
        export(network, tmp_path / "model", name="x", training={}, metrics={})
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_leaves_the_old_model(network, exported, tmp_path, monkeypatch):
    folder = shutil.copytree(exported, tmp_path / "model")
    monkeypatch.setattr(module, "folded_weights", lambda n: tampered(folded_weights(n)))
    with pytest.raises(ExportError):
        export(network, folder, name="x", training={}, metrics={})
    assert content(folder) == content(exported)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_of_no_numbers_is_refused(tmp_path, value):
    torch.manual_seed(0)
    network = JCAE()
    with torch.no_grad():
        network.decoder.conv3.weight[0, 0, 0, 0] = value
    with pytest.raises(ExportError, match=r"decoder\.onnx: off by nan"):
        export(network, tmp_path / "model", name="x", training={}, metrics={})
    assert list(tmp_path.iterdir()) == []


def test_an_older_model_is_replaced_whole(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "model")
    facts = json.loads((folder / "model.json").read_text())
    (folder / "extra.onnx").write_bytes(b"of an older layout")
    facts["files"]["extra.onnx"] = sha256(folder / "extra.onnx")
    (folder / "model.json").write_text(json.dumps(facts))
    torch.manual_seed(5)
    network = JCAE()
    export(network, folder, name="newer", training={}, metrics={})
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert load_model(folder).name == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_empty_folder_may_be_exported_to(network, tmp_path):
    (tmp_path / "model").mkdir()
    export(network, tmp_path / "model", name="x", training={}, metrics={})
    assert load_model(tmp_path / "model").name == "x"


def test_files_that_are_not_of_a_model_are_never_deleted(network, exported, tmp_path):
    """Found: an export to the folder of a training run, or to one's home, removed all that was in it."""
    run, model = tmp_path / "run", shutil.copytree(exported, tmp_path / "model")
    run.mkdir()
    (run / "checkpoint.pt").write_bytes(b"weeks of work")
    (model / "notes.txt").write_text("mine")
    for folder, name in ((run, "checkpoint.pt"), (model, "notes.txt")):
        before = content(folder)
        with pytest.raises(
            TargetError, match=rf"holds {name}, which is not of a model; give a new folder or remove it"
        ):
            export(network, folder, name="x", training={}, metrics={})
        assert content(folder) == before


def test_a_move_that_fails_brings_the_old_model_back(network, exported, tmp_path, monkeypatch):
    folder = shutil.copytree(exported, tmp_path / "model")
    move, moves = os.replace, []

    def fail_second(source, target):
        moves.append(source)
        if len(moves) == 2:
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr(os, "replace", fail_second)
    with pytest.raises(OSError, match="No space left"):
        export(network, folder, name="x", training={}, metrics={})
    assert content(folder) == content(exported)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_weights_of_another_network_are_a_model_error(tmp_path):
    with pytest.raises(ModelError, match=r"weights\.safetensors: cannot be read"):
        load_network(tmp_path)
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=r"weights\.safetensors: its tensors are not this network's") as caught:
        load_network(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    save_checkpoint(path, network, optimizer, {"steps": 9, "crop": 16}, 7, [Point(7, 1.0, 0.5, 0.5, 2.0)])
    return path


def test_the_command_writes_a_model_from_a_checkpoint(checkpoint, exported, tmp_path, capsys):
    (tmp_path / "metrics.json").write_text('{"SSIM": 0.72, "jcae": {"SCD": 1.8, "lost": null}}')
    out = tmp_path / "jcae"
    main([str(x) for x in (checkpoint, "-o", out, "--data", "RoadScene", "--metrics", tmp_path / "metrics.json")])
    line = capsys.readouterr().out
    assert line.startswith(f"{out}: 6 files, 1.8")
    assert line.count("\n") == 1
    info = load_model(out)
    assert info.name == "jcae"
    assert info.training == {"data": "RoadScene", "taken_steps": 7, "steps": 9, "crop": 16}
    assert info.metrics == {"SSIM": 0.72, "jcae SCD": 1.8}
    assert (out / WEIGHTS).read_bytes() == (exported / WEIGHTS).read_bytes()


def failure(capsys, *options):
    with pytest.raises(SystemExit) as caught:
        main([str(option) for option in options])
    error = capsys.readouterr().err
    assert error.startswith("python -m training.export: ")
    assert error.count("\n") == 1, error
    return caught.value.code, error.removeprefix("python -m training.export: ").rstrip()


def test_what_cannot_be_exported_is_one_line(checkpoint, tmp_path, capsys):
    (tmp_path / "bad.pt").write_bytes(b"bad")
    (tmp_path / "bad.json").write_text("[1]")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    (tmp_path / "file").write_text("")
    for options, message in (
        ((tmp_path / "none.pt", "-o", tmp_path / "m"), "No such file or directory"),
        ((tmp_path / "bad.pt", "-o", tmp_path / "m"), "no checkpoint of this trainer"),
        ((checkpoint, "-o", tmp_path / "full"), "holds mine.txt"),
        ((checkpoint, "-o", tmp_path / "file"), "a file; give a folder for the model"),
        ((checkpoint, "-o", tmp_path / "file" / "m"), "File exists"),
        ((checkpoint, "-o", tmp_path / "m", "--metrics", tmp_path / "none.json"), "No such file or directory"),
        ((checkpoint, "-o", tmp_path / "m", "--metrics", tmp_path / "bad.json"), "content is [1]; give numbers"),
        ((checkpoint,), "the following arguments are required: -o/--output"),
    ):
        code, line = failure(capsys, *options)
        assert code == 2
        assert message in line
    assert not (tmp_path / "m").exists()


def test_a_refused_export_is_one_line_and_exit_code_1(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "folded_weights", lambda n: tampered(folded_weights(n)))
    code, line = failure(capsys, checkpoint, "-o", tmp_path / "m")
    assert code == 1
    assert line.startswith("not written: decoder.onnx: off by")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('"x"', "content is 'x'"),
        ('{"a": "b"}', "a is 'b'"),
        ('{"a": NaN}', "a is nan"),
        ("\xff", "not"),
    ],
)
def test_metrics_that_are_no_numbers_are_named(tmp_path, text, message):
    (tmp_path / "m.json").write_text(text, encoding="latin-1")
    with pytest.raises(TargetError, match=message) as caught:
        read_metrics(tmp_path / "m.json")
    assert "\n" not in str(caught.value)
