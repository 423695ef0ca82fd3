"""The differentiable rules are the rules that run later."""

import numpy as np
import torch

from engines import rules
from training.fusion.through import Through, fused_common
from training.network import JCAE


def features(seed):
    """Common features of two sources (1, 6, 10, 12): busy maps, sparse maps, and places where both are zero."""
    rng = np.random.default_rng(seed)
    maps = [np.maximum(rng.normal(rng.uniform(-0.8, 1.5, (1, 6, 1, 1)), 1, (1, 6, 10, 12)), 0) for _ in range(2)]
    for x in maps:
        x[..., 0, 0] = 0
    return [x.astype(np.float32) for x in maps]


def test_common_maps_are_those_of_the_reference_rules():
    kinds = set()
    for seed in range(8):
        ir, vis = features(seed)
        averaged = rules.averaged_maps(rules.activity(ir, vis), rules.next_threshold(None, maps=6))
        wanted = rules.fuse_common(ir, vis, averaged)
        found = fused_common(torch.from_numpy(ir), torch.from_numpy(vis)).numpy()
        assert np.abs(found - wanted).max() < 1e-5
        kinds |= set(np.ravel(averaged).tolist())
    assert kinds == {True, False}  # both rules were seen


def test_a_pass_gives_what_the_parts_give_and_rebuilds_only_when_asked():
    torch.manual_seed(0)
    network = JCAE()
    ir, vis = torch.rand(2, 1, 40, 44), torch.rand(2, 1, 40, 44)
    with torch.no_grad():
        short, whole = Through(network)(ir, vis), Through(network)(ir, vis, rebuild=True)
        f = network.encode(ir, vis)
        wanted = network.decode(fused_common(f.common_ir, f.common_vis), torch.maximum(f.private_ir, f.private_vis))
        rebuilt = network(ir, vis)
    assert short.rebuilt_ir is None
    assert short.rebuilt_vis is None
    for found, expected in ((short.picture, wanted), (whole.picture, wanted), (whole[1], rebuilt[0])):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole[2], rebuilt[1], rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_every_weight_through_the_fused_picture_alone():
    torch.manual_seed(0)
    network = JCAE()
    Through(network)(torch.rand(1, 1, 40, 40), torch.rand(1, 1, 40, 40)).picture.square().mean().backward()
    idle = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not idle
