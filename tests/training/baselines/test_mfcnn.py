"""MFCNN: scores lie where their patches are, the vote removes specks, and the map takes pixels from its source."""

import cv2
import numpy as np
import pytest
import torch

from engines.base import open_fuser
from engines.model import shipped_models
from tests.training.baselines.conftest import made
from tests.training.material import noise, textured
from training.baselines.mfcnn import MFCNN, _box


def decided(monkeypatch, network, scores):
    """The network with logits that are given: +-20 of (h, w)."""
    logits = torch.where(scores, 20.0, -20.0)[None, None]
    monkeypatch.setattr(network, "logits", lambda first, second: logits)
    return network


def pictures(side, seed=0):
    size = side + 2 * MFCNN.margin
    return torch.rand(2, 1, 1, size, size, generator=torch.Generator().manual_seed(seed))


def test_a_score_is_of_a_patch_of_16_px_at_every_second_pixel():
    network = made("mfcnn")
    first, second = torch.rand(2, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert network.logits(first, second).shape == (1, 1, 1, 1)
    wide = torch.zeros(2, 1, 1, 20, 24)
    wide[..., 2:18, 6:22] = torch.stack([first, second])
    assert network.logits(*wide).shape == (1, 1, 3, 5)
    assert torch.allclose(network.logits(*wide)[0, 0, 1, 3], network.logits(first, second).flatten(), atol=1e-5)


def test_the_border_of_the_decisions_lies_where_the_scores_change(monkeypatch):
    ir, vis = pictures(24)  # 100 px across, 43 scores
    left = torch.arange(43)[None].expand(43, -1) < 20  # patches that begin left of px 40 have their middle left of 48
    network = decided(monkeypatch, made("mfcnn"), left)
    taken = network.decisions(ir, vis)[0, 0]  # begins at px 22
    assert taken.shape == (56, 56)
    border = [int(row.sum()) + 22 for row in taken]
    assert len(set(border)) == 1
    assert abs(border[0] - 47) <= 2


def test_specks_are_voted_away_and_pixels_then_come_from_one_source(monkeypatch):
    ir, vis = pictures(24)
    scores = torch.ones(43, 43, dtype=torch.bool)
    scores[20:24, 20:24] = False
    network = decided(monkeypatch, made("mfcnn"), scores)
    assert torch.allclose(network(ir, vis), ir[..., 38:-38, 38:-38], atol=1e-5)
    network = decided(monkeypatch, network, ~scores)
    assert torch.allclose(network(ir, vis), vis[..., 38:-38, 38:-38], atol=1e-5)


def test_the_guided_filter_is_that_of_its_paper(monkeypatch):
    ir, vis = pictures(20, seed=3)
    network = decided(monkeypatch, made("mfcnn"), torch.arange(41)[None].expand(41, -1) < 17)
    taken = network.decisions(ir, vis)[0, 0].numpy()
    ir, vis = (x[0, 0, 22:-22, 22:-22].numpy() for x in (ir, vis))
    guide = np.where(taken > 0.5, ir, vis)

    def box(x):
        return cv2.blur(x.astype(np.float64), (17, 17), borderType=cv2.BORDER_REFLECT)

    a = (box(guide * taken) - box(guide) * box(taken)) / (box(guide * guide) - box(guide) ** 2 + 0.1)
    share = (box(a) * guide + box(box(taken) - a * box(guide))).clip(0, 1)
    expected = share * ir + (1 - share) * vis
    found = network(*pictures(20, seed=3))[0, 0].numpy()
    np.testing.assert_allclose(found, expected[16:-16, 16:-16], atol=1e-5)
    assert 0.1 < share[16:-16, 16:-16].mean() < 0.9


def test_a_box_is_the_mean_over_17_px():
    x = torch.rand(1, 1, 17, 17, generator=torch.Generator().manual_seed(0))
    assert _box(x).item() == pytest.approx(float(x.mean()), abs=1e-6)


def test_flat_patches_teach_nothing():
    network = MFCNN()
    flat = torch.full((2, 1, 40, 40), 0.4)
    loss = network.loss(flat, flat, torch.Generator().manual_seed(0))
    loss.backward()
    assert loss == 0
    assert all(p.grad.abs().max() == 0 for p in network.parameters())


def test_a_network_that_knows_has_no_loss(monkeypatch):
    network, dice = MFCNN(), torch.Generator().manual_seed(0)
    ir, vis = torch.rand(2, 3, 1, 40, 40, generator=dice)

    def logits(first, second):
        detail = [x.diff(dim=3).abs().mean((1, 2, 3), keepdim=True) for x in (first, second)]
        return (100.0 * torch.sign(detail[0] - detail[1])).expand(-1, 1, 13, 13)

    monkeypatch.setattr(network, "logits", logits)
    assert network.loss(ir, vis, dice) < 1e-6
    monkeypatch.setattr(network, "logits", lambda first, second: -logits(first, second))
    assert network.loss(ir, vis, dice) > 10


@pytest.mark.parametrize("scene", [textured, noise])
def test_the_shipped_one_takes_the_sharp_half_of_each(scene):
    if "mfcnn" not in shipped_models():
        pytest.skip("mfcnn is not shipped")
    sharp = scene(96, 160, seed=5)
    soft = cv2.GaussianBlur(sharp, (0, 0), 2)
    is_left = np.arange(160) < 80
    fuser = open_fuser("mfcnn", backend="cpu", threads=1)
    for mask in (is_left, ~is_left):
        fused = fuser.fuse(np.where(mask, sharp, soft), np.where(mask, soft, sharp)).astype(int)
        differs = np.abs(sharp.astype(int) - soft) > 4
        is_sharp = np.abs(fused - sharp) < np.abs(fused - soft)
        assert is_sharp[differs].mean() > 0.9
    fuser.close()
