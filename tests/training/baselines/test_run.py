"""The training of a baseline: it learns, and a run that was stopped ends where an unbroken one does, to the bit."""

import csv
import math

import pytest
import torch

from tests.training.material import write_pairs
from training.baselines.densefuse import DenseFuse, DenseFuseL1
from training.baselines.fusiongan import FusionGAN
from training.baselines.ifcnn import IFCNN
from training.baselines.run import Run
from training.checkpoint import CheckpointError
from training.data import find_pairs
from training.run import DivergedError, Settings

SMALL = Settings(steps=4, batch=2, crop=32, rate=1e-3, validation=0.0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return find_pairs([write_pairs(tmp_path_factory.mktemp("pairs"), 4)]).pairs


def trained(folder, kind, pairs, settings=SMALL, *, steps=None, every=2):
    folder.mkdir(exist_ok=True)
    run = Run(folder, kind, settings, CPU, None)
    run.train(pairs[:3], pairs[3:], every=every, stop=lambda: run.step == steps)
    return run


@pytest.mark.parametrize("kind", [IFCNN, FusionGAN])  # of those that draw at random, with and without an opponent
def test_a_stopped_run_ends_as_an_unbroken_one(kind, pairs, tmp_path):
    unbroken = trained(tmp_path / "unbroken", kind, pairs)
    stopped = trained(tmp_path / "stopped", kind, pairs, steps=1)
    assert stopped.step == 1
    resumed = trained(tmp_path / "stopped", kind, pairs)
    assert resumed.step == 4
    ours, theirs = resumed.network.state_dict(), unbroken.network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert [point.loss for point in resumed.curve] == [point.loss for point in unbroken.curve]


def test_it_learns_and_keeps_the_curve_of_what_is_held_back(pairs, tmp_path):
    settings = Settings(steps=30, batch=2, crop=16, rate=2e-3, validation=0.0)
    run = trained(tmp_path / "run", DenseFuse, pairs, settings, every=10)
    with (tmp_path / "run" / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["10", "20", "30"]
    losses = [float(row["loss"]) for row in rows]
    assert losses[2] < 0.75 * losses[0]
    assert run.network.training


def test_a_look_changes_nothing(pairs, tmp_path):
    (tmp_path / "run").mkdir()
    run = Run(tmp_path / "run", FusionGAN, SMALL, CPU, None)
    before = {key: value.clone() for key, value in run.network.state_dict().items()}
    assert run.look(pairs) == run.look(pairs)
    assert all(torch.equal(before[key], value) for key, value in run.network.state_dict().items())


def test_networks_that_differ_in_a_rule_share_a_run(pairs, tmp_path):
    plain = trained(tmp_path / "run", DenseFuse, pairs)
    shared = Run(tmp_path / "run", DenseFuseL1, SMALL, CPU, None)
    assert shared.step == 4
    assert torch.equal(shared.network.first.conv.weight, plain.network.first.conv.weight)


def test_other_options_are_refused_on_resuming(pairs, tmp_path):
    trained(tmp_path / "run", DenseFuse, pairs, steps=1)
    with pytest.raises(CheckpointError, match="resume with the same options or give another folder"):
        Run(tmp_path / "run", IFCNN, SMALL, CPU, None)
    with pytest.raises(CheckpointError, match="resume with the same options"):
        Run(tmp_path / "run", DenseFuse, Settings(steps=5, batch=2, crop=32), CPU, None)


def test_a_loss_that_is_no_number_ends_the_run(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(DenseFuse, "loss", lambda self, ir, vis, dice: math.nan * self.first(ir).sum())
    with pytest.raises(DivergedError, match="step 1: the loss is nan; the last checkpoint stays, lower --rate"):
        trained(tmp_path / "run", DenseFuse, pairs)


def test_pictures_are_decoded_once(pairs, tmp_path, monkeypatch):
    asked = []
    original = __import__("training.data", fromlist=["read_luma"]).read_luma
    monkeypatch.setattr("training.baselines.run.read_luma", lambda path: asked.append(path) or original(path))
    trained(tmp_path / "run", DenseFuse, pairs)
    assert len(asked) == len(set(asked))
    assert 2 < len(asked) <= 8


def test_every_step_throws_its_own_dice_and_seeds_do_not_share_them(pairs, tmp_path, monkeypatch):
    thrown = []

    def loss(self, ir, vis, dice):
        thrown.append(float(torch.rand(1, generator=dice)))
        return self.first(ir).square().mean()

    monkeypatch.setattr(DenseFuse, "loss", loss)
    for seed in (0, 1):
        (tmp_path / f"{seed}").mkdir()
        settings = Settings(steps=4, batch=2, crop=32, seed=seed, validation=0.0)
        Run(tmp_path / f"{seed}", DenseFuse, settings, CPU, None).train(pairs, [], every=9)
    assert len(thrown) == len(set(thrown)) == 8
