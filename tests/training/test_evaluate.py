"""What is measured of a model: each row by hand or from its parts, and the command that prints and keeps it."""

import json
import math
import re

import numpy as np
import pytest
import torch

from engines.base import open_fuser
from engines.model import ModelError
from tests.training.material import noise, textured, write_pair
from training.data import DataError
from training.evaluate import averages, evaluate, fusion_row, main, reconstruct, to_json
from training.export import load_network, read_metrics
from training.metrics.correlation import scd
from training.metrics.ssim import fusion_ssim, ssim


def warm(height=64, width=72):
    """IR with one warm target."""
    picture = textured(height, width, 3) // 4 + 20
    picture[30:40, 20:30] = 230
    return picture


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two pairs of odd sizes, one with a target, and a small one that is skipped."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pair(folder, "a", warm(65, 71), textured(65, 71, 1))
    write_pair(folder, "b", textured(40, 33, 4) // 4, textured(40, 33, 5))
    write_pair(folder, "tiny", noise(31, 40), noise(31, 40))
    return folder


def row(value, *, targets=0, lost=0, retention=math.nan):
    numbers = dict.fromkeys(("SSIM", "SCD", "MI", "CC"), value)
    return {**numbers, "retention": retention, "targets": targets, "lost": lost}


def test_averages_by_hand():
    rows = [row(1.0, targets=3, lost=1, retention=0.5), row(2.0), row(6.0, targets=1, lost=1, retention=0.1)]
    found = averages(rows)
    assert [found[name] for name in ("SSIM", "SCD", "MI", "CC")] == [3.0] * 4
    assert found["retention"] == pytest.approx(0.3)  # of the two pictures that have targets
    assert found["lost"] == 0.5  # two of four targets


def test_without_targets_retention_and_lost_are_not_numbers():
    found = averages([row(1.0), row(3.0)])
    assert found["SSIM"] == 2
    assert math.isnan(found["retention"])
    assert math.isnan(found["lost"])


def test_a_row_holds_every_metric_of_one_picture():
    ir, vis = warm(), textured(64, 72, 1)
    found = fusion_row(ir, vis, ir)
    assert found["SSIM"] == fusion_ssim(ir, vis, ir) == pytest.approx((1 + ssim(ir, vis)) / 2)
    assert found["SCD"] == scd(ir, vis, ir)
    assert (found["targets"], found["lost"], found["retention"]) == (1, 0, 1.0)
    assert fusion_row(ir, vis, vis)["lost"] == 1
    assert found.keys() == {"SSIM", "SCD", "MI", "CC", "retention", "targets", "lost"}


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (32, 33), (45, 64)])
def test_reconstructions_have_the_size_of_their_pictures(network, size):
    for rebuilt in reconstruct(network, noise(*size), noise(*size, 1)):
        assert rebuilt.shape == size
        assert rebuilt.dtype == np.uint8


def test_reconstruction_is_the_networks_inside_the_margin(network):
    """Away from the border no reflected pixel is seen, so that padding by hand does not matter."""
    ir, vis = textured(50, 60), textured(50, 60, 1)
    with torch.no_grad():
        wanted = network(*(torch.from_numpy(x)[None, None].float() / 255 for x in (ir, vis)))
    for found, luma in zip(reconstruct(network, ir, vis), wanted, strict=True):
        inside = found[8:-8, 8:-8].astype(int)
        off = np.abs(inside - np.rint(255 * luma[0, 0].numpy()).clip(0, 255))
        assert off.max() <= 1, f"max {off.max()} mean {off.mean()}"
        assert (off > 0).mean() < 0.01  # rounding at x.5


def test_rows_are_those_of_plain_means_and_of_the_model(exported, pairs):
    found = evaluate(exported, [pairs])
    assert list(found) == ["reconstruction", "plain mean", "plain max", "small"]
    from training.data import read_luma

    read = [[read_luma(pairs / kind / f"{name}.png") for kind in ("ir", "vis")] for name in "ab"]
    half = [((ir.astype(int) + vis + 1) // 2).astype(np.uint8) for ir, vis in read]  # half up
    assert found["plain mean"] == pytest.approx(
        averages([fusion_row(*pair, mean) for pair, mean in zip(read, half, strict=True)]), nan_ok=True
    )
    assert found["plain max"]["SSIM"] == pytest.approx(np.mean([fusion_ssim(a, b, np.maximum(a, b)) for a, b in read]))
    fuser = open_fuser(exported, backend="cpu")
    fused = [fuser.fuse(ir, vis) for ir, vis in read]
    fuser.close()
    assert found["small"]["SCD"] == pytest.approx(np.mean([scd(*pair, f) for pair, f in zip(read, fused, strict=True)]))
    network = load_network(exported)
    rebuilt = [ssim(reconstruct(network, ir, vis)[0], ir) for ir, vis in read]
    assert found["reconstruction"]["ir"] == pytest.approx(np.mean(rebuilt))
    assert found["plain max"]["retention"] > found["plain mean"]["retention"] > 0.2


def test_what_is_undefined_is_null_in_json():
    text = to_json({"a": {"x": 0.5, "lost": math.nan}})
    assert json.loads(text) == {"a": {"x": 0.5, "lost": None}}
    assert "NaN" not in text


def test_the_command_prints_a_line_a_row_and_writes_what_export_reads(exported, pairs, tmp_path, capsys):
    main([str(exported), "--pairs", str(pairs), "--json", str(tmp_path / "numbers.json")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"skipped {pairs}/ir/tiny.png: 40x31, a side below the 32 px needed"
    assert [line.split(":")[0] for line in lines[1:]] == ["reconstruction", "plain mean", "plain max", "small"]
    number = r"-?\d+\.\d{4}"
    names = ("SSIM", "SCD", "MI", "CC", "retention", "lost")
    assert re.fullmatch(f"reconstruction: ir {number}  vis {number}", lines[1])
    assert re.fullmatch("small: " + "  ".join(f"{name} {number}" for name in names), lines[4])
    written = json.loads((tmp_path / "numbers.json").read_text())
    assert written == evaluate(exported, [pairs])
    assert f"SSIM {written['small']['SSIM']:.4f}" in lines[4]
    kept = read_metrics(tmp_path / "numbers.json")
    assert kept["small SSIM"] == written["small"]["SSIM"]
    assert len(kept) == 2 + 3 * 6


def test_what_cannot_be_measured_is_one_line_and_exit_code_2(exported, pairs, tmp_path, capsys):
    for options, message in (
        (["none", "--pairs", pairs], "none: no such model"),
        ([exported, "--pairs", tmp_path], "ir: no such folder; a folder of pairs holds ir/ and vis/"),
        ([exported, "--pairs", pairs, "--json", tmp_path / "none" / "x.json"], "No such file or directory"),
        ([exported], "the following arguments are required: --pairs"),
    ):
        with pytest.raises(SystemExit) as caught:
            main([str(option) for option in options])
        error = capsys.readouterr().err
        assert caught.value.code == 2
        assert error.startswith("python -m training.evaluate: ")
        assert message in error
        assert error.count("\n") == 1, error


def test_errors_reach_the_caller(exported, tmp_path):
    with pytest.raises(ModelError):
        evaluate(tmp_path / "none", [tmp_path])
    with pytest.raises(DataError):
        evaluate(exported, [tmp_path])
