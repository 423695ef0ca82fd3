"""Disturbances of training pictures."""

import numpy as np
import torch

from training.fusion.augment import disturbed, next_moment


def batch(level, count=60, size=24):
    return np.full((count, 1, size, size), level, np.uint8)


def test_some_pictures_are_darkened_smoked_or_negated_and_the_given_ones_stay():
    ir, vis = batch(50), batch(100)
    new_ir, new_vis = disturbed(ir, vis, np.random.default_rng(0))
    negative = (new_ir[:, 0, 0, 0] == 205).sum()
    smoked = sum(int(picture.std() > 1) for picture in new_vis)
    changed = sum(int((picture != 100).any()) for picture in new_vis)
    assert 1 <= negative <= 12
    assert 6 <= smoked <= 25
    assert smoked + 10 <= changed <= 50
    assert (ir == 50).all()
    assert (vis == 100).all()


def test_smoke_is_white_and_leaves_part_of_the_scene():
    _, vis = disturbed(batch(50), batch(60), np.random.default_rng(3))
    smoky = [picture for picture in vis if picture.std() > 10]
    assert smoky
    assert all(picture.max() > 120 and picture.min() >= 40 for picture in smoky)


def test_the_draw_depends_on_the_generator_alone():
    one, two = (disturbed(batch(50), batch(100), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one[1], two[1])


def test_the_next_moment_has_another_gain_in_infrared_and_the_same_visible_but_for_noise():
    ir, vis = torch.full((8, 1, 16, 16), 0.4), torch.full((8, 1, 16, 16), 0.6)
    later_ir, later_vis = next_moment(ir, vis, np.random.default_rng(1))
    assert later_ir.dtype == torch.float32
    assert float((later_ir.mean((1, 2, 3)) - 0.4).abs().max()) > 0.03
    assert float((later_vis.mean((1, 2, 3)) - 0.6).abs().max()) < 0.01
