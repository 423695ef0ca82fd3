"""The training loop: it learns, it can be stopped and resumed to the bit, and it says when it cannot go on."""

import csv
import math
import os
from dataclasses import replace

import pytest
import torch

from tests.training.material import write_pairs
from training.checkpoint import CheckpointError, load_checkpoint
from training.data import DataError, find_pairs
from training.network import MARGIN
from training.processes import Processes
from training.run import (
    PREFETCH,
    DivergedError,
    Run,
    Settings,
    SettingsError,
    batches,
    learning_rate,
    loss_of,
    read_ahead,
    validate,
)

SMALL = Settings(steps=6, batch=2, crop=16, validation=0.0)
ALONE = Processes(torch.device("cpu"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return find_pairs([write_pairs(tmp_path_factory.mktemp("pairs"), 4)]).pairs


def trained(folder, pairs, settings=SMALL, *, steps=None, every=100):
    """A run in a folder after its steps, or after `steps` of them and a stop."""
    folder.mkdir(exist_ok=True)
    run = Run(folder, settings, ALONE, None)
    run.train(pairs, every=every, stop=lambda: run.step == steps)
    return run


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, pairs):
    """A run of all six steps without a stop."""
    return trained(tmp_path_factory.mktemp("unbroken"), pairs)


def equal(one, two):
    """Whether two nested values with tensors in them are the same to the bit."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(equal, one, two))
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


def test_the_rate_is_constant_then_falls_to_zero_by_hand():
    settings = Settings(steps=100, rate=1e-3, cooldown=0.25)
    assert [learning_rate(settings, step) for step in (0, 50, 75)] == [1e-3] * 3
    assert learning_rate(settings, 76) == pytest.approx(1e-3 * 24 / 25)
    assert learning_rate(settings, 99) == pytest.approx(1e-3 / 25)
    assert learning_rate(settings, 100) == 0


def test_without_cooldown_the_rate_is_the_papers():
    assert {learning_rate(Settings(steps=10, cooldown=0), step) for step in range(10)} == {3e-4}


def test_with_full_cooldown_the_rate_falls_from_the_start():
    settings = Settings(steps=4, rate=1.0, cooldown=1)
    assert [learning_rate(settings, step) for step in range(4)] == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 33}, "crop 33: must be even"),
        ({"crop": 10}, "crop 10: must be even, above the 11 px of the SSIM window"),
        ({"steps": 0}, "steps 0: must be 1 or more"),
        ({"batch": 0}, "batch 0"),
        ({"rate": 0.0}, "rate 0.0: must be above 0"),
        ({"rate": math.nan}, "rate nan"),
        ({"cooldown": 1.5}, "cooldown 1.5: must be 0 to 1"),
        ({"seed": -1}, "seed -1"),
        ({"validation": 1.0}, "validation 1.0: must be 0 to below 1"),
    ],
)
def test_a_setting_that_cannot_be_is_named(change, message):
    with pytest.raises(SettingsError, match=message):
        replace(SMALL, **change)


def test_smallest_crop_that_is_allowed_can_be_trained(tmp_path, pairs):
    assert trained(tmp_path, pairs, Settings(steps=1, batch=1, crop=12, validation=0)).step == 1


def test_loss_is_that_of_both_pictures_without_their_margin():
    class Flat(torch.nn.Module):
        def forward(self, ir, vis):
            shape = (*ir.shape[:2], *(side - 2 * MARGIN for side in ir.shape[2:]))
            return torch.full(shape, 0.5), torch.full(shape, 0.25)

    ir, vis = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    ir[..., 8:-8, 8:-8], vis[..., 8:-8, 8:-8] = 0.5, 0.75
    loss, ssim_ir, ssim_vis = loss_of(Flat(), ir, vis)
    luminance = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert (ssim_ir.item(), ssim_vis.item()) == pytest.approx((1, luminance), abs=1e-3)  # float32, beside C2 = 9e-4
    assert loss.item() == pytest.approx(255 * 0.5 + 100 * (1 - luminance), abs=0.2)


def test_loss_falls(unbroken):
    losses = [point.loss for point in unbroken.curve]
    assert losses[-1] < 0.7 * losses[0]
    assert unbroken.curve[-1].ssim_ir > unbroken.curve[0].ssim_ir


def test_curve_has_every_step_and_rising_seconds(unbroken):
    assert [point.step for point in unbroken.curve] == [1, 2, 3, 4, 5, 6]
    seconds = [point.seconds for point in unbroken.curve]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    with (unbroken.folder / "loss.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == list("123456")
    assert (unbroken.folder / "loss.png").stat().st_size > 1000


@pytest.mark.parametrize("stopped_after", [1, 4])
def test_a_resumed_run_is_the_unbroken_one_to_the_bit(tmp_path, pairs, unbroken, stopped_after):
    first = trained(tmp_path, pairs, steps=stopped_after)
    assert first.step == stopped_after
    torch.rand(3)  # whatever else draws random numbers in between
    second = trained(tmp_path, pairs)
    assert second.step == 6
    assert equal(second.network.state_dict(), unbroken.network.state_dict())
    assert equal(second.optimizer.state_dict(), unbroken.optimizer.state_dict())
    assert [(p.step, p.loss, p.ssim_ir, p.ssim_vis) for p in second.curve] == [
        (p.step, p.loss, p.ssim_ir, p.ssim_vis) for p in unbroken.curve
    ]
    assert [p.seconds for p in second.curve] == sorted(p.seconds for p in second.curve)


def test_a_run_lost_between_two_checkpoints_goes_on_from_the_last(tmp_path, pairs, unbroken):
    def fail(point):
        if point.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path, SMALL, ALONE, None).train(pairs, every=3, progress=fail)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 3
    assert equal(trained(tmp_path, pairs).network.state_dict(), unbroken.network.state_dict())


def test_a_finished_run_takes_no_more_steps(unbroken, pairs):
    before = unbroken.checkpoint.read_bytes()
    again = trained(unbroken.folder, pairs)
    assert again.step == 6
    assert again.checkpoint.read_bytes() == before


def test_the_same_seed_gives_the_same_run_and_another_another(tmp_path, pairs, unbroken):
    assert equal(trained(tmp_path / "same", pairs).network.state_dict(), unbroken.network.state_dict())
    other = trained(tmp_path / "other", pairs, replace(SMALL, seed=1, steps=1))
    assert other.curve[0].loss != unbroken.curve[0].loss


def test_other_settings_are_refused_on_resume_and_shown(tmp_path, pairs):
    trained(tmp_path, pairs, steps=1)
    with pytest.raises(CheckpointError, match=r"'crop': 16.*asked for.*'crop': 24.*same options") as caught:
        Run(tmp_path, replace(SMALL, crop=24), ALONE, None)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(tmp_path, pairs):
    settings = replace(SMALL, rate=1e30)
    with pytest.raises(DivergedError, match=r"step 2: the loss is (nan|inf); the last checkpoint stays, lower --rate"):
        trained(tmp_path, pairs, settings, every=1)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 1


def test_batches_are_luma_in_0_to_1_with_the_margin(pairs):
    drawn = list(batches(pairs, SMALL, ALONE, 2))
    assert len(drawn) == 4  # steps 2 to 5
    for ir, vis in drawn:
        assert ir.shape == vis.shape == (2, 1, 16 + 2 * MARGIN, 16 + 2 * MARGIN)
        assert 0 <= ir.min() < 0.5 < ir.max() <= 1
    assert equal(drawn[1], next(batches(pairs, SMALL, ALONE, 3)))


def test_reading_ahead_keeps_the_order_and_the_distance():
    made = []
    for step in read_ahead(lambda k: made.append(k) or k, range(3, 20)):
        assert made == sorted(made)
        assert made[-1] <= step + PREFETCH
    assert made == list(range(3, 20))


def test_an_error_while_reading_ahead_comes_out_at_its_step():
    def make(step):
        if step == 2:
            raise OSError("disk")
        return step

    steps = read_ahead(make, range(9))
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(OSError, match="disk"):
        next(steps)
    assert list(read_ahead(lambda k: k, range(0))) == []


def test_validation_can_be_repeated_and_depends_on_the_pairs(tmp_path, pairs):
    run = Run(tmp_path, SMALL, ALONE, None)
    whole = validate(run, pairs)
    assert whole == validate(run, pairs)
    assert whole != pytest.approx(validate(run, pairs[:1]), abs=1e-6)
    assert all(math.isnan(value) for value in validate(run, []))


def test_validation_reads_every_pair(tmp_path, pairs):
    for k, pair in enumerate(pairs):
        broken = [*pairs[:k], replace(pair, vis=pair.vis.with_name("gone.png")), *pairs[k + 1 :]]
        with pytest.raises(DataError, match=r"gone\.png"):
            validate(Run(tmp_path, SMALL, ALONE, None), broken)


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() and os.environ.get("REQUIRE_GPU") != "1", reason="torch sees no CUDA device"
)
def test_a_gpu_learns_the_same_and_resumes(tmp_path, pairs, unbroken):
    gpu = Processes(torch.device("cuda", 0))
    first = Run(tmp_path, SMALL, gpu, None)
    first.train(pairs, every=100, stop=lambda: first.step == 3)
    second = Run(tmp_path, SMALL, gpu, None)
    assert second.step == 3
    assert all(state["step"].device.type == "cpu" for state in second.optimizer.state.values())
    second.train(pairs, every=100)
    for found, wanted in zip(second.curve, unbroken.curve, strict=True):
        assert found.loss == pytest.approx(wanted.loss, rel=0.05)  # convolutions in bfloat16: 8 bits, over six steps


def test_vgg_weights_are_read_for_a_new_run_only(tmp_path, pairs):
    from safetensors.numpy import save_file

    from training.vgg import SHAPES

    rng = torch.Generator().manual_seed(0)
    arrays = {f"{layer}.weight": torch.randn(shape, generator=rng).numpy() / 100 for layer, shape in SHAPES.items()}
    arrays |= {f"{layer}.bias": torch.randn(shape[0], generator=rng).numpy() for layer, shape in SHAPES.items()}
    save_file(arrays, tmp_path / "vgg.safetensors")
    run = Run(tmp_path, SMALL, ALONE, tmp_path / "vgg.safetensors")
    assert (run.network.common.block1_conv2.bias.detach().numpy() == arrays["block1_conv2.bias"]).all()
    run.train(pairs, every=100, stop=lambda: True)
    (tmp_path / "vgg.safetensors").unlink()
    assert Run(tmp_path, SMALL, ALONE, tmp_path / "vgg.safetensors").step == 1
