"""Models on disk: hashes hold, and what cannot be used is named in one line."""

import json
import shutil

import pytest

from engines.model import ModelError, load_model, sha256, shipped_models


@pytest.fixture
def copy(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "copy")


def edit(folder, **changes):
    file = folder / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_an_exported_model_loads_with_its_facts(model_folder):
    info = load_model(model_folder)
    assert (info.name, info.multiple, info.margin, info.maps, info.activity_ratio) == ("small", 2, 8, 128, 0.6)
    assert info.path("fuser.onnx").is_file()
    assert all(sha256(info.folder / name) == digest for name, digest in info.files.items())


def test_every_shipped_model_is_whole_and_small():
    assert "jcae" in shipped_models()
    for name in shipped_models():
        info = load_model(name)
        assert sum((info.folder / file).stat().st_size for file in info.files) < 5e6


@pytest.mark.parametrize("name", ["weights.safetensors", "fuser.onnx"])
def test_a_changed_byte_names_the_file(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ModelError, match=rf"{name}: sha256 .* damaged"):
        load_model(copy)


def test_a_missing_file_is_named(copy):
    (copy / "fuser.onnx").unlink()
    with pytest.raises(ModelError, match=r"fuser\.onnx: No such file"):
        load_model(copy)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".ckpt"])
def test_pickles_are_refused_with_the_reason(tmp_path, suffix):
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelError, match="can run code when read and are refused"):
        load_model(file)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match=r"no such model; give auto, (.*, )?jcae"):
        load_model("jacket")


def test_a_folder_without_model_json_is_told_what_a_model_is(tmp_path):
    with pytest.raises(ModelError, match=r"model\.json: No such file.*a model is a folder with model\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"margin": -1}, "margin"),
        ({"format": 2}, "format"),
        ({"activity_ratio": 0}, "activity_ratio"),
        ({"files": {"../evil.onnx": "0" * 64}}, "files"),
        ({"files": {"fuser.onnx": "short"}}, "files.fuser.onnx"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_field_is_named(copy, changes, where):
    edit(copy, **changes)
    with pytest.raises(ModelError, match=where):
        load_model(copy)


def test_broken_json_is_one_line(copy):
    (copy / "model.json").write_text("{")
    with pytest.raises(ModelError, match=r"Invalid JSON") as caught:
        load_model(copy)
    assert "\n" not in str(caught.value)
