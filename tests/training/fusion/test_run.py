"""Training through the fusion: it learns, it resumes to the bit, and it is exported like any other run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engines.model import load_model
from tests.training.material import write_pairs
from tests.training.test_run import ALONE, equal
from training import export, train
from training.checkpoint import CheckpointError, load_checkpoint
from training.data import find_pairs
from training.fusion.run import FusionRun, fusion_loss
from training.fusion.through import Through
from training.network import JCAE
from training.run import Run, Settings, SettingsError

SMALL = Settings(steps=5, batch=1, crop=48, validation=0.0, goal="fusion")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return find_pairs([write_pairs(tmp_path_factory.mktemp("pairs"), 3, 72, 76)]).pairs


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The checkpoint of a run that rebuilds, without a step."""
    folder = tmp_path_factory.mktemp("start")
    run = Run(folder, replace(SMALL, goal="reconstruction"), ALONE, None)
    run.save()
    return run.checkpoint


def trained(folder, pairs, start, *, steps=None):
    folder.mkdir(exist_ok=True)
    run = FusionRun(folder, SMALL, ALONE, start)
    run.train(pairs, every=100, stop=lambda: run.step == steps)
    return run


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, pairs, start):
    return trained(tmp_path_factory.mktemp("unbroken"), pairs, start)


def test_a_resumed_run_is_the_unbroken_one_to_the_bit_and_so_is_its_average(tmp_path, pairs, start, unbroken):
    trained(tmp_path, pairs, start, steps=2)
    again = trained(tmp_path, pairs, start)
    assert equal(again.network.state_dict(), unbroken.network.state_dict())
    assert equal(again.average, unbroken.average)
    assert not equal(again.average, again.network.state_dict())


def test_it_starts_from_the_given_network(tmp_path, start):
    run = FusionRun(tmp_path, SMALL, ALONE, start)
    assert equal(run.network.state_dict(), load_checkpoint(start)["network"])


def test_a_batch_that_is_trained_on_again_and_again_is_fused_better(start):
    torch.manual_seed(0)
    network = JCAE()
    network.load_state_dict(load_checkpoint(start)["network"])
    optimizer = torch.optim.Adam(network.parameters(), 3e-4)
    ir, vis = (torch.rand(1, 1, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3) for _ in range(2))
    losses = []
    for _ in range(8):
        loss = fusion_loss(Through(network), ir, vis, 1, np.random.default_rng(0))[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.9 * losses[0]


def test_steps_take_turns_to_rebuild_and_to_disturb():
    calls = []

    class Watched(Through):
        def forward(self, ir, vis, rebuild=False):
            calls.append(rebuild)
            return super().forward(ir, vis, rebuild)

    network, ir, vis = Watched(JCAE()), torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        for step in range(4):
            fusion_loss(network, ir, vis, step, np.random.default_rng(0))
    assert calls == [True, False, False, False, False]  # a second pass in step 2


def test_a_run_of_the_other_goal_is_not_resumed(start):
    with pytest.raises(CheckpointError, match="goal"):
        FusionRun(start.parent, SMALL, ALONE, start)


def test_the_command_trains_through_the_fusion_and_export_takes_the_average(tmp_path, pairs, start, unbroken, capsys):
    common = ["--pairs", str(pairs[0].ir.parents[1]), "--batch", "1", "--crop", "48", "--steps", "2"]
    train.main([*common, "-o", str(tmp_path / "run"), "--through-fusion", str(start), "--validation", "0.4"])
    assert "held-back SSIM of the fused picture" in capsys.readouterr().out
    state = load_checkpoint(tmp_path / "run/checkpoint.pt")
    export.main([str(tmp_path / "run/checkpoint.pt"), "-o", str(tmp_path / "model")])
    assert load_model(tmp_path / "model").training["goal"] == "fusion"
    shipped = export.load_network(tmp_path / "model").state_dict()
    assert torch.equal(shipped["decoder.conv3.weight"], state["average"]["decoder.conv3.weight"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--through-fusion", "nothing.pt"], "nothing.pt"),
        (["--through-fusion", "x.pt", "--vgg", "y.h5"], "one start"),
        (["--through-fusion", "x.pt", "--crop", "16"], "48 or more"),
    ],
)
def test_wrong_starts_are_one_line_and_exit_code_2(tmp_path, pairs, options, message, capsys):
    with pytest.raises(SystemExit) as exit_info:
        train.main(["--pairs", str(pairs[0].ir.parents[1]), "-o", str(tmp_path / "run"), "--crop", "48", *options])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unknown_goal_is_named():
    with pytest.raises(SettingsError, match="reconstruction or fusion"):
        Settings(goal="beauty")
