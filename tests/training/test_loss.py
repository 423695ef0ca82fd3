"""The paper's loss: by hand, against scikit-image, and what training needs of it."""

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from tests.training.material import noise, textured
from training.loss import LAMBDA, reconstruction_loss, rmse, ssim
from training.metrics.ssim import ssim as metric_ssim


def tensor(*pictures, dtype=torch.float64):
    """(H, W) uint8 pictures as (N, 1, H, W) in 0..1."""
    return torch.from_numpy(np.stack(pictures)[:, None]).to(dtype) / 255


def flat(value, dtype=torch.float64):
    return torch.full((1, 1, 16, 16), value, dtype=dtype)


def test_rmse_by_hand():
    x, y = torch.zeros(2, 1, 1, 2, dtype=torch.float64), torch.zeros(2, 1, 1, 2, dtype=torch.float64)
    y[0, 0, 0] = torch.tensor([0.2, 0.2])  # 0.2 of 255 is 51
    y[1, 0, 0] = torch.tensor([0.3, -0.4])  # sqrt((0.09 + 0.16) / 2) of 255
    wanted = torch.tensor([51.0, 255 * 0.125**0.5], dtype=torch.float64)
    torch.testing.assert_close(rmse(x, y), wanted, rtol=1e-6, atol=0)  # the root's offset of 1e-8


def test_errors_of_opposite_sign_do_not_cancel():
    """Eq. 6 as printed is a mean of signed differences, and would be 0 here."""
    x = flat(0.5)
    y = x.clone()
    y[..., ::2] += 0.1
    y[..., 1::2] -= 0.1
    assert rmse(y, x).item() == pytest.approx(25.5, rel=1e-5)


def test_ssim_of_flat_pictures_by_hand():
    # no variance: only the luminance term is left
    wanted = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(flat(0.2), flat(0.6)).item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("height", "width"), [(11, 11), (40, 33)])
def test_ssim_is_scikit_images_on_the_valid_area(seed, height, width):
    x = textured(height, width, seed)
    y = cv2.GaussianBlur(textured(height, width, seed), (0, 0), 1) // 2 + noise(height, width, seed) // 4
    _, full = structural_similarity(
        x, y, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    wanted = full[5:-5, 5:-5].mean()
    assert ssim(tensor(x), tensor(y)).item() == pytest.approx(wanted, abs=1e-9)
    # float32: E[x^2] - E[x]^2 of values up to 1 keeps about 1e-7, beside C2 = 9e-4
    assert ssim(tensor(x, dtype=torch.float32), tensor(y, dtype=torch.float32)).item() == pytest.approx(
        wanted, abs=1e-3
    )


def test_loss_and_metric_mean_the_same_ssim():
    x, y = textured(30, 40), noise(30, 40)
    assert ssim(tensor(x), tensor(y)).item() == pytest.approx(metric_ssim(x, y), abs=1e-9)


def test_ssim_is_symmetric_and_one_for_equal_pictures():
    x, y = tensor(textured(20, 20)), tensor(noise(20, 20))
    assert ssim(x, x).item() == pytest.approx(1, abs=1e-12)
    assert ssim(x, y).item() == pytest.approx(ssim(y, x).item(), abs=1e-12)
    assert ssim(x, y).item() < 0.5


def test_loss_is_the_sum_of_both_terms():
    # flat 0.2 against 0.6: 255 * 0.4 = 102
    luminance = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    found = reconstruction_loss(flat(0.2), flat(0.6)).item()
    assert found == pytest.approx(102 + 100 * (1 - luminance), rel=1e-6)


def test_loss_of_a_perfect_reconstruction_is_nearly_nothing():
    x = tensor(textured(32, 32), dtype=torch.float32)
    assert 0 <= reconstruction_loss(x, x).item() < 0.03  # 255 * sqrt(1e-8) = 0.0255


def test_gradient_is_finite_at_a_perfect_reconstruction():
    x = tensor(textured(32, 32), dtype=torch.float32)
    rebuilt = x.clone().requires_grad_()
    reconstruction_loss(rebuilt, x).backward()
    assert torch.isfinite(rebuilt.grad).all()


def test_gradient_points_to_the_original():
    x = tensor(textured(32, 32))
    rebuilt = (x + 0.1).requires_grad_()
    before = reconstruction_loss(rebuilt, x)
    before.backward()
    with torch.no_grad():
        assert reconstruction_loss(rebuilt - 0.01 * rebuilt.grad / rebuilt.grad.abs().max(), x) < before


def test_gradient_is_that_of_finite_differences():
    x = tensor(textured(12, 12))
    rebuilt = tensor(noise(12, 12)).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: reconstruction_loss(y, x), rebuilt, fast_mode=True)


def test_loss_of_a_batch_is_the_mean_of_its_pictures():
    """So that the mean over processes, each with its share of the batch, is the same."""
    x, y = tensor(*(textured(20, 20, k) for k in range(4))), tensor(*(noise(20, 20, k) for k in range(4)))
    alone = [reconstruction_loss(x[k : k + 1], y[k : k + 1]) for k in range(4)]
    torch.testing.assert_close(reconstruction_loss(x, y), torch.stack(alone).mean())
    halves = (reconstruction_loss(x[:2], y[:2]) + reconstruction_loss(x[2:], y[2:])) / 2
    torch.testing.assert_close(reconstruction_loss(x, y), halves)


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3])
def test_both_terms_are_of_one_order_of_magnitude(sigma):
    """Section 3.2 of the paper says so with lambda = 100, for what training meets: a blurred reconstruction."""
    picture = textured(64, 64)
    pair = tensor(cv2.GaussianBlur(picture, (0, 0), sigma)), tensor(picture)
    ratio = rmse(*pair).item() / (LAMBDA * (1 - ssim(*pair).item()))
    assert 0.1 < ratio < 10


def test_more_noise_is_more_loss():
    x = tensor(textured(40, 40))
    grain = tensor(noise(40, 40)) - 0.5
    losses = [reconstruction_loss(x + level * grain, x).item() for level in (0, 0.02, 0.05, 0.1, 0.3)]
    assert losses == sorted(losses)
    assert losses[-1] > 10 * losses[1] > 0
