"""A run of the light network: what it learns, that a resumed one is an unbroken one, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.material import textured
from training.checkpoint import CheckpointError
from training.data import ImagePair
from training.distil.export import export
from training.distil.loss import distil_loss, gradient_difference, psnr
from training.distil.network import LightNetwork, Shape
from training.distil.run import LARGEST_GRADIENT, DistilRun
from training.run import Settings

SHAPE = Shape(block=2, maps=8, stem=6, width=16, depth=0)
SIDE = 72


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two whose teacher takes a share of IR and more of VIS."""
    import cv2

    folder, found = tmp_path_factory.mktemp("drawn"), []
    for k in range(2):
        ir, vis = textured(SIDE, SIDE, 2 * k), textured(SIDE, SIDE, 2 * k + 1)
        fused = np.rint(0.2 * ir + 0.8 * vis).astype(np.uint8)
        cv2.imwrite(str(folder / f"{k}.png"), np.concatenate([ir, vis, fused]))
        found.append(ImagePair(folder / f"{k}.png", folder / f"{k}.png", SIDE, SIDE))
    return found


def settings(**changed):
    return Settings(**{"steps": 10, "batch": 1, "crop": 48, "rate": 3e-3, "cooldown": 0.5, **changed})


def open_run(folder, *, start=None, shape=SHAPE, teacher="t", borrow=0, **changed):
    folder.mkdir(exist_ok=True)
    how = {"teacher": teacher, "device": torch.device("cpu"), "start": start, "borrow": borrow}
    return DistilRun(folder, settings(**changed), shape, **how)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.values(), b.values(), strict=True))


def test_it_comes_nearer_to_the_teacher(pictures, tmp_path):
    run = open_run(tmp_path / "run", steps=40)
    before = run.look(pictures)[0]
    run.train(pictures, pictures, every=40)
    assert run.curve[-1].loss < before - 3  # -PSNR, dB
    assert run.step == 40


def test_a_resumed_run_has_the_weights_of_an_unbroken_one(pictures, tmp_path):
    whole = open_run(tmp_path / "whole")
    whole.train(pictures, [], every=100)
    asked = iter([False, False, False, True])
    open_run(tmp_path / "broken").train(pictures, [], every=100, stop=lambda: next(asked))
    again = open_run(tmp_path / "broken")
    assert again.step == 4
    again.train(pictures, [], every=100)
    assert same(again.network.state_dict(), whole.network.state_dict())
    assert same(again.average, whole.average)
    assert not same(whole.average, whole.network.state_dict())


@pytest.mark.parametrize("changed", [{"rate": 1e-3}, {"teacher": "another"}, {"shape": replace(SHAPE, depth=1)}])
def test_a_run_of_other_settings_is_not_resumed(pictures, tmp_path, changed):
    open_run(tmp_path / "run", steps=1).train(pictures, [], every=1)
    with pytest.raises(CheckpointError, match="resume with the same options or give another folder"):
        open_run(tmp_path / "run", **{"steps": 1, **changed})


def test_a_gradient_that_is_too_large_is_cut(pictures, tmp_path, monkeypatch):
    loss = DistilRun.loss
    monkeypatch.setattr(DistilRun, "loss", lambda self, batch: 1e6 * loss(self, batch))
    run = open_run(tmp_path / "run", steps=1)
    run.train(pictures, [], every=1)
    norm = torch.stack([x.grad.norm() for x in run.network.parameters()]).norm()
    assert float(norm) == pytest.approx(LARGEST_GRADIENT, rel=1e-3)


def test_crops_take_the_rules_of_their_whole_pictures(tmp_path):
    import cv2

    path = tmp_path / "flat.png"
    cv2.imwrite(str(path), np.repeat(np.array([10, 200, 100], np.uint8), SIDE)[:, None].repeat(SIDE, 1))
    run = open_run(tmp_path / "run")
    crops, windows = run.batch([ImagePair(path, path, SIDE, SIDE)], 0)
    assert [set(part.flatten().tolist()) for part in crops[0]] == [{10}, {200}, {100}]
    assert [set(part.flatten().tolist()) for part in windows[0]] == [{10}, {200}]
    run.borrow(torch.full((1, 6, 6), 0.1), torch.tensor([-0.1]))
    black = torch.zeros_like(windows)
    assert run.network.averaged(windows / 255)[0, 0]
    assert not run.network.averaged(black / 255)[0, 0]
    assert run.loss((crops, windows)) != run.loss((crops, black))


def test_a_run_that_is_cut_off_goes_on_from_its_last_checkpoint(pictures, tmp_path, monkeypatch):
    loss = DistilRun.loss

    def failing(self, batch):
        if self.step == 5:
            raise MemoryError
        return loss(self, batch)

    monkeypatch.setattr(DistilRun, "loss", failing)
    with pytest.raises(MemoryError):
        open_run(tmp_path / "run").train(pictures, [], every=2)
    assert open_run(tmp_path / "run").step == 4


def test_a_resumed_run_keeps_the_windows_it_has(pictures, tmp_path):
    first = open_run(tmp_path / "run", borrow=2)
    first.borrow(torch.full((2, 6, 6), 0.02), torch.full((2,), -0.3))
    first.train(pictures, [], every=1, stop=lambda: True)
    assert first.network.common.stem.weight[:2].unique().tolist() == pytest.approx([0.02])
    again = open_run(tmp_path / "run", borrow=2)
    again.borrow(torch.ones(2, 6, 6), torch.ones(2))
    assert same(again.network.state_dict(), first.network.state_dict())
    with pytest.raises(CheckpointError, match="same options"):
        open_run(tmp_path / "run", borrow=3)


def test_a_run_starts_from_another_light_model(tmp_path):
    torch.manual_seed(5)
    first = LightNetwork(SHAPE)
    export(first, tmp_path / "first", name="first", training={}, metrics={})
    run = open_run(tmp_path / "run", start=tmp_path / "first")
    assert same(run.network.state_dict(), first.state_dict())
    assert same(run.result().state_dict(), first.state_dict())
    with pytest.raises(CheckpointError, match="ask for the same"):
        open_run(tmp_path / "other", start=tmp_path / "first", shape=replace(SHAPE, depth=1))


def test_every_term_of_the_loss_moves_the_weights():
    torch.manual_seed(0)
    network, m = LightNetwork(SHAPE), SHAPE.margin
    ir, vis = (torch.rand(1, 1, 48 + 2 * m, 48 + 2 * m) for _ in range(2))
    wanted, found = torch.rand(1, 1, 48, 48), []
    for step in (0, 1, 2, 4):  # SSIM, none, unsteady, fusion
        loss, fused = distil_loss(network, (ir, vis), wanted, step, np.random.default_rng(0))
        found.append(loss.item())
        assert fused.shape == wanted.shape
        gradient = torch.autograd.grad(loss, list(network.parameters()))
        assert all(torch.isfinite(g).all() for g in gradient)
    assert min(found[0], found[2], found[3]) > found[1]


def test_the_teachers_own_picture_costs_nothing():
    wanted = torch.rand(2, 1, 20, 20)
    assert gradient_difference(wanted, wanted) == 0
    assert (psnr(wanted, wanted) > 79).all()
    assert psnr(wanted.clamp(0, 0.9) + 0.1, wanted.clamp(0, 0.9)).tolist() == pytest.approx([20, 20], abs=0.01)
    ramp = torch.arange(8).expand(1, 1, 8, 8) / 255
    assert float(gradient_difference(ramp, 0 * ramp)) == pytest.approx(1)
