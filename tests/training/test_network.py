"""The network's shapes, what it shares, and what one output pixel depends on."""

import pytest
import torch

from training.network import JCAE, MAPS, MARGIN, channels_last


def luma(count, height, width, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, height, width, generator=generator, dtype=dtype)


@pytest.mark.parametrize(("height", "width"), [(18, 18), (20, 34), (34, 20)])
def test_output_is_a_margin_smaller_on_every_side(network, height, width):
    ir, vis = network(luma(3, height, width), luma(3, height, width, 1))
    assert ir.shape == vis.shape == (3, 1, height - 2 * MARGIN, width - 2 * MARGIN)
    assert MARGIN == 8


def test_features_have_half_the_size_less_four(network):
    for features in network.encode(luma(2, 20, 30), luma(2, 20, 30, 1)):
        assert features.shape == (2, MAPS, 6, 11)


def test_number_of_weights_is_that_of_the_layers():
    branch = (3 * 64 * 9 + 64) + (64 * 64 * 9 + 64) + (64 * 128 * 9 + 128)
    decoder = (128 * 64 * 9 + 64) + (64 * 64 * 9 + 64) + (64 * 9 + 1)
    assert sum(p.numel() for p in JCAE().parameters()) == 3 * branch + decoder == 449_025


def test_features_are_never_negative_and_some_are_positive(network):
    for features in network.encode(luma(1, 40, 40), luma(1, 40, 40, 1)):
        assert features.min() == 0  # ReLU cuts somewhere
        assert features.max() > 0


def test_reconstruction_is_the_sum_of_two_decodes(network):
    ir, vis = luma(1, 24, 26), luma(1, 24, 26, 1)
    rebuilt = network(ir, vis)
    for picture, private, found in zip((ir, vis), (network.private_ir, network.private_vis), rebuilt, strict=True):
        wanted = network.decoder(network.common(picture)) + network.decoder(private(picture))
        torch.testing.assert_close(found, wanted)
    # not the decode of the sum, which the paper's Eq. 4 could be mistaken for
    together = network.decoder(network.common(ir) + network.private_ir(ir))
    assert (rebuilt[0] - together).abs().max() > 1e-3


def test_common_branch_is_one_for_both_pictures(network):
    ir, vis = luma(1, 24, 24), luma(1, 24, 24, 1)
    features, swapped = network.encode(ir, vis), network.encode(vis, ir)
    torch.testing.assert_close(features.common_ir, swapped.common_vis)
    torch.testing.assert_close(features.common_vis, swapped.common_ir)
    assert (features.private_ir - swapped.private_vis).abs().max() > 1e-3  # private branches are two


def test_luma_reaches_all_three_channels_of_vgg_alike():
    torch.manual_seed(0)
    branch, picture = JCAE().common, luma(1, 12, 12)
    with torch.no_grad():
        wanted = branch(picture)
        kernels = branch.block1_conv1.weight.clone()
        for channel in range(3):  # all of a kernel's weight on one channel computes the same
            branch.block1_conv1.weight.zero_()
            branch.block1_conv1.weight[:, channel] = kernels.sum(1)
            torch.testing.assert_close(branch(picture), wanted)


def test_a_picture_is_rebuilt_from_itself_alone(network):
    ir, vis = luma(1, 24, 24), luma(1, 24, 24, 1)
    rebuilt_ir, rebuilt_vis = network(ir, vis)
    torch.testing.assert_close(network(ir, 1 - vis)[0], rebuilt_ir)
    torch.testing.assert_close(network(1 - ir, vis)[1], rebuilt_vis)


def test_decoder_learns_from_every_branch():
    torch.manual_seed(1)
    network = JCAE()
    ir, vis = luma(1, 24, 24), luma(1, 24, 24, 1)
    weights = list(network.decoder.parameters())
    whole = torch.autograd.grad(sum(x.sum() for x in network(ir, vis)), weights)
    parts = [torch.autograd.grad(network.decoder(f).sum(), weights) for f in network.encode(ir, vis)]
    for total, *each in zip(whole, *parts, strict=True):
        assert all(gradient.abs().max() > 0 for gradient in each)
        torch.testing.assert_close(total, sum(each), rtol=1e-4, atol=1e-3)  # float32 sums over 4 x 8 x 8 positions


def test_every_weight_gets_a_gradient():
    torch.manual_seed(1)
    network = JCAE()
    sum(x.sum() for x in network(luma(1, 24, 24), luma(1, 24, 24, 1))).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


@pytest.mark.parametrize(("row", "column"), [(0, 0), (5, 6), (7, 11)])
def test_an_output_pixel_sees_exactly_18_by_18_input_pixels(row, column):
    """Two 3x3 convolutions at full size after 14 px (7 cells of the pool): 18 px, that begin at an even one."""
    torch.manual_seed(2)
    network = JCAE()
    for name, p in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.constant_(p, 5)  # so that no ReLU is closed
    ir = luma(1, 24, 28).requires_grad_()
    network(ir, ir.detach())[0][0, 0, row, column].backward()
    wanted = torch.zeros(24, 28, dtype=torch.bool)
    top, left = row // 2 * 2, column // 2 * 2
    wanted[top : top + 18, left : left + 18] = True
    gradient = ir.grad[0, 0].abs()
    assert gradient[wanted].min() > 1e-6 * gradient.max()
    assert gradient[~wanted].max() < 1e-9 * gradient.max()  # not just 0: a convolution by tiles rounds


def test_a_flat_picture_is_rebuilt_flat_up_to_its_border(network):
    """A padded convolution would draw a frame along it."""
    for picture in network(torch.full((1, 1, 30, 30), 0.4), torch.full((1, 1, 30, 30), 0.7)):
        assert picture.max() - picture.min() < 1e-5  # float32 sums in another order


def test_pictures_of_a_batch_are_independent(network):
    ir, vis = luma(3, 24, 24), luma(3, 24, 24, 1)
    ir[1] *= 0.01  # a dark neighbour
    together = network(ir, vis)
    for k in range(3):
        for found, wanted in zip(together, network(ir[k : k + 1], vis[k : k + 1]), strict=True):
            torch.testing.assert_close(found[k : k + 1], wanted, rtol=1e-5, atol=1e-5)


def test_layout_changes_speed_and_nothing_else(network):
    torch.manual_seed(0)
    other = JCAE()
    other.load_state_dict(network.state_dict())
    ir, vis = luma(2, 24, 24), luma(2, 24, 24, 1)
    for found, wanted in zip(channels_last(other)(ir, vis), network(ir, vis), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert other.common.block1_conv2.weight.is_contiguous(memory_format=torch.channels_last)
