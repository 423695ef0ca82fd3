"""Half blurred pictures: each place is sharp in one of the two, and the blur is one."""

import pytest
import torch

from training.baselines.focus import blurred, half_blurred


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=3, side=48):
    return torch.rand(count, 1, side, side, generator=dice(9))


def test_each_place_is_sharp_in_the_picture_that_the_mask_names():
    sharp = pictures()
    first, second, mask = half_blurred(sharp, dice())
    assert torch.equal(first[mask], sharp[mask])
    assert torch.equal(second[~mask], sharp[~mask])
    assert (first[~mask] != sharp[~mask]).float().mean() > 0.99
    assert (second[mask] != sharp[mask]).float().mean() > 0.99


def test_masks_differ_from_picture_to_picture_and_hold_both_kinds():
    masks = torch.cat([half_blurred(pictures(), dice(seed))[2] for seed in range(8)])
    shares = masks.float().mean((1, 2, 3))
    assert 0.3 < shares.mean() < 0.7
    assert len(set(shares.tolist())) > 12


def test_the_blur_keeps_the_mean_and_a_flat_picture():
    flat = torch.full((1, 1, 20, 20), 0.3)
    assert torch.allclose(blurred(flat, dice()), flat, atol=1e-6)
    sharp = pictures()
    soft = blurred(sharp, dice())
    assert soft.mean() == pytest.approx(float(sharp.mean()), abs=5e-3)
    assert soft.std() < 0.5 * sharp.std()


def test_the_same_dice_give_the_same_pictures():
    assert all(torch.equal(a, b) for a, b in zip(*(half_blurred(pictures(), dice(4)) for _ in range(2)), strict=True))
    assert not torch.equal(blurred(pictures(), dice(4)), blurred(pictures(), dice(5)))
