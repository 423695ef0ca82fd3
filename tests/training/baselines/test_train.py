"""The command line of the baselines: from pairs to a model that fuses; resumed, interrupted, one line for errors."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engines.base import open_fuser
from engines.model import load_model
from tests.training.material import textured, write_pairs
from training.baselines.run import Run
from training.baselines.train import BASELINES, main

ROOT = Path(__file__).parents[3]
SMALL = "--steps", "2", "--batch", "2", "--crop", "16", "--device", "cpu", "--validation", "0.25", "--every", "1"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), 4)


def call(*options):
    main([str(option) for option in options])


def failure(capfd, *options):
    """Exit code and the one line of stderr."""
    with pytest.raises(SystemExit) as caught:
        call(*options)
    error = capfd.readouterr().err
    assert error.startswith("python -m training.baselines.train: ")
    assert error.count("\n") == 1, error
    return caught.value.code, error.removeprefix("python -m training.baselines.train: ").rstrip()


def test_pairs_become_a_model_that_fuses(pairs, tmp_path):
    model = tmp_path / "mine"
    done = subprocess.run(
        [sys.executable, "-m", "training.baselines.train", "densefuse", "--pairs", pairs, "-o", model, *SMALL],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "3 pairs to train on, 1 held back; step 0 on cpu"
    assert lines[1].startswith("step 1 loss ")
    assert lines[2].startswith("step 2 loss ")
    assert lines[3] == f"{model}: 2 files, 0.30 MB, the graph agrees with torch"
    assert sorted(path.name for path in (tmp_path / "mine.run").iterdir()) == ["checkpoint.pt", "loss.csv"]
    info = load_model(model)
    assert info.training["network"] == "DenseFuse"
    assert (info.training["pairs"], info.training["taken_steps"], info.training["crop"]) == (3, 2, 16)
    fuser = open_fuser(model, backend="cpu", threads=1)
    assert fuser.fuse(textured(20, 30), textured(20, 30, 1)).shape == (20, 30)
    fuser.close()


def test_a_finished_run_is_exported_again_with_its_numbers_and_another_rule(pairs, tmp_path):
    (tmp_path / "numbers.json").write_text('{"SSIM": 0.7}')
    run = "--run", tmp_path / "run", "--pairs", pairs, *SMALL
    call("densefuse", "-o", tmp_path / "one", *run)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    call("densefuse-l1", "-o", tmp_path / "other", *run, "--metrics", tmp_path / "numbers.json", "--data", "four pairs")
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    one, other = load_model(tmp_path / "one"), load_model(tmp_path / "other")
    assert one.files["weights.safetensors"] == other.files["weights.safetensors"]
    assert one.files["fuser.onnx"] != other.files["fuser.onnx"]
    assert (other.metrics, other.training["data"], other.margin) == ({"SSIM": 0.7}, "four pairs", 9)
    assert other.training["held_out_loss"] > 0


def test_ctrl_c_leaves_a_checkpoint_and_no_model(pairs, tmp_path, monkeypatch, capfd):
    loss = Run.loss

    def interrupted(self, batch):
        if self.step == 0:
            signal.raise_signal(signal.SIGINT)
        return loss(self, batch)

    assert threading.current_thread() is threading.main_thread()
    monkeypatch.setattr(Run, "loss", interrupted)
    with pytest.raises(SystemExit) as caught:
        call("ifcnn", "--pairs", pairs, "-o", tmp_path / "model", *SMALL)
    assert caught.value.code == 130
    assert "stopped after step 1, kept in" in capfd.readouterr().out
    assert not (tmp_path / "model").exists()
    call("ifcnn", "--pairs", pairs, "-o", tmp_path / "model", *SMALL)
    assert load_model(tmp_path / "model").training["taken_steps"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("resnet",), "invalid choice: 'resnet'"),
        (("deepfuse", "--steps", "0"), "steps 0: must be 1 or more"),
        (("deepfuse", "--every", "0"), "every 0: must be 1 or more"),
        (("deepfuse", "--vgg", "v.h5"), "--vgg v.h5: deepfuse starts at random, only ifcnn takes it; leave it out"),
        (("ifcnn", "--vgg", "v.h5"), "v.h5: no such file; give VGG19 weights as .h5, .pth or .safetensors"),
        (("mfcnn", "--crop", "64"), "no usable pair"),  # 64 + 2 x 38 px of context
        (("deepfuse", "--validation", "0.99"), "all 4 pairs are held back"),
        (("deepfuse", "--metrics", "none.json"), "none.json: No such file or directory; give a JSON file of numbers"),
    ],
)
def test_what_cannot_be_is_one_line(pairs, tmp_path, capfd, options, message):
    name, *others = options
    code, line = failure(capfd, name, "--pairs", pairs, "-o", tmp_path / "model", *SMALL, *others)
    assert code == 2
    assert message in line


def test_a_place_that_is_taken_is_told_before_the_first_step(pairs, tmp_path, capfd):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").write_text("")
    code, line = failure(capfd, "deepfuse", "--pairs", pairs, "-o", tmp_path / "model", *SMALL)
    assert (code, "thesis.tex" in line) == (2, True)
    assert not (tmp_path / "model.run").exists()


def test_a_damaged_checkpoint_is_one_line(pairs, tmp_path, capfd):
    (tmp_path / "model.run").mkdir()
    (tmp_path / "model.run" / "checkpoint.pt").write_bytes(b"no")
    code, line = failure(capfd, "deepfuse", "--pairs", pairs, "-o", tmp_path / "model", *SMALL)
    assert (code, "delete it to start anew" in line) == (2, True)


def test_every_shipped_baseline_says_what_it_learned_from():
    from engines.model import shipped_models

    for name in set(shipped_models()) & BASELINES.keys():
        info = load_model(name)
        assert info.kind == "graph"
        assert sum((info.folder / file).stat().st_size for file in info.files) < 1e6
        assert info.training["taken_steps"] == info.training["steps"]
        assert info.training["data"]
        assert json.dumps(info.metrics)
