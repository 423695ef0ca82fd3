"""A checkpoint is old or new, never half; what is damaged is named in one line; the curve holds every step."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from training.checkpoint import (
    CheckpointError,
    Point,
    SaveError,
    load_checkpoint,
    restore,
    save_checkpoint,
    write_curve,
)
from training.network import JCAE

ROOT = Path(__file__).parents[2]
CURVE = [Point(1, 80.5, 0.1, 0.2, 1.5), Point(2, 40.25, 0.5, 0.625, 3.0), Point(3, 1e-3, 1.0, -0.1, 4.5)]
SETTINGS = {"steps": 9, "rate": 3e-4}


@pytest.fixture(scope="module")
def trained():
    """A network and an optimizer after one step."""
    torch.manual_seed(0)
    network = JCAE()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    picture = torch.rand(1, 1, 20, 20)
    sum(x.square().mean() for x in network(picture, picture)).backward()
    optimizer.step()
    return network, optimizer


def save(path, trained, step=3, curve=CURVE):
    save_checkpoint(path, *trained, SETTINGS, step, curve)
    return path


def message_of(path):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def test_what_was_saved_comes_back(tmp_path, trained):
    state = load_checkpoint(save(tmp_path / "checkpoint.pt", trained))
    assert (state["step"], state["settings"], state["curve"]) == (3, SETTINGS, CURVE)
    network = JCAE()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    restore(tmp_path / "checkpoint.pt", state, network, optimizer)
    for key, value in trained[0].state_dict().items():
        assert torch.equal(network.state_dict()[key], value)
    for old, new in zip(
        trained[1].state_dict()["state"].values(), optimizer.state_dict()["state"].values(), strict=True
    ):
        assert all(torch.equal(old[key], new[key]) for key in ("step", "exp_avg", "exp_avg_sq"))


def test_a_saved_file_leaves_no_other(tmp_path, trained):
    save(tmp_path / "checkpoint.pt", trained)
    save(tmp_path / "checkpoint.pt", trained, step=4)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 4


def test_whoever_reads_while_it_is_saved_has_the_old_file_whole(tmp_path, trained):
    path = save(tmp_path / "checkpoint.pt", trained)
    before = path.read_bytes()
    with path.open("rb") as reader:
        start = reader.read(1000)
        save(path, trained, step=4)
        assert start + reader.read() == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full to write to")
def test_a_full_disk_leaves_the_old_file(tmp_path, trained):
    path = save(tmp_path / "checkpoint.pt", trained)
    before = path.read_bytes()
    (tmp_path / "checkpoint.part").symlink_to("/dev/full")  # every write to it fails with ENOSPC
    with pytest.raises(SaveError, match=r"checkpoint\.pt: not written \(No space left on device\); what was there"):
        save(path, trained, step=4)
    assert path.read_bytes() == before
    assert not (tmp_path / "checkpoint.part").is_symlink()


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path, trained):
    path = save(tmp_path / "checkpoint.pt", trained)
    before = path.read_bytes()
    script = f"""
import os, pathlib, signal, torch
from training.checkpoint import save_checkpoint
class Last:
    def state_dict(self):
        return {{}}
def half(state, file):
    file.write(b"half of a")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
save_checkpoint(pathlib.Path({str(path)!r}), Last(), Last(), {{}}, 4, [])
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == -signal.SIGKILL
    assert (tmp_path / "checkpoint.part").read_bytes() == b"half of a"
    assert path.read_bytes() == before
    assert load_checkpoint(path)["step"] == 3
    save(path, trained, step=5)  # what is left of the crash is in nobody's way
    assert load_checkpoint(path)["step"] == 5
    assert not (tmp_path / "checkpoint.part").exists()


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.98])
def test_a_file_that_is_cut_off_is_one_clear_line(tmp_path, trained, share):
    path = save(tmp_path / "checkpoint.pt", trained)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert message_of(path) == "damaged, or no checkpoint of this trainer; delete it to start anew"


@pytest.mark.parametrize("content", [[1, 2], {"network": {}}, {"state_dict": {"a": torch.zeros(1)}}])
def test_somebody_elses_file_is_one_clear_line(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    assert "no checkpoint of this trainer" in message_of(tmp_path / "other.pt")


@pytest.mark.parametrize("key", ["network", "optimizer", "settings", "step", "curve"])
def test_a_file_without_one_of_its_parts_is_one_clear_line(tmp_path, trained, key):
    state = torch.load(save(tmp_path / "checkpoint.pt", trained), weights_only=True)
    del state[key]
    torch.save(state, tmp_path / "checkpoint.pt")
    assert "no checkpoint of this trainer" in message_of(tmp_path / "checkpoint.pt")


class Surprise:
    """Code that runs when a pickle is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_not_run(tmp_path, trained):
    state = torch.load(save(tmp_path / "checkpoint.pt", trained), weights_only=True)
    torch.save({**state, "settings": Surprise(tmp_path / "harm")}, tmp_path / "checkpoint.pt")
    assert "no checkpoint of this trainer" in message_of(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "harm").exists()


def test_a_missing_file_is_not_called_damaged(tmp_path):
    assert message_of(tmp_path / "none.pt") == "No such file or directory; give checkpoint.pt of a training run"


def test_tensors_of_another_network_are_one_clear_line(tmp_path, trained):
    state = load_checkpoint(save(tmp_path / "checkpoint.pt", trained))
    other = torch.optim.Adam([torch.zeros(2, requires_grad=True)])
    for network, changes, optimizer in (
        (JCAE(), {"network": {"a": torch.zeros(1)}}, None),
        (JCAE(), {"network": 3}, None),
        (JCAE(), {"network": {**state["network"], "decoder.conv3.bias": torch.zeros(2)}}, None),
        (trained[0], {}, other),
        (trained[0], {"optimizer": []}, other),
    ):
        with pytest.raises(CheckpointError, match=r"its tensors are not this network's") as caught:
            restore(tmp_path / "checkpoint.pt", {**state, **changes}, network, optimizer)
        assert "\n" not in str(caught.value)


def test_the_curve_holds_every_step_and_is_drawn(tmp_path):
    write_curve(tmp_path, CURVE)
    with (tmp_path / "loss.csv").open() as file:
        rows = [Point(int(r.pop("step")), **{k: float(v) for k, v in r.items()}) for r in csv.DictReader(file)]
    assert rows == CURVE
    picture = cv2.imread(str(tmp_path / "loss.png"))
    assert picture.shape == (440, 1100, 3)
    assert picture.std() > 5  # not a blank page


def test_a_curve_of_one_step_can_be_drawn(tmp_path):
    write_curve(tmp_path, CURVE[:1])
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_drawing_leaves_the_plotting_of_the_caller_alone(tmp_path):
    import matplotlib

    before = matplotlib.get_backend(auto_select=False)
    write_curve(tmp_path, CURVE)
    assert matplotlib.get_backend(auto_select=False) == before


def test_a_folder_that_is_gone_is_a_save_error(tmp_path):
    with pytest.raises(SaveError, match=r"gone: loss curve not written \(No such file or directory\)"):
        write_curve(tmp_path / "gone", CURVE)
