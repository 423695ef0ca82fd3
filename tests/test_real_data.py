"""The shipped model and the whole pipeline on real pairs and sequences that it was not trained on."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.base import open_fuser
from engines.model import load_model
from pipeline.source import open_source
from training.data import find_pairs, read_luma
from training.export import load_network
from training.metrics.ssim import ssim
from training.network import channels_last
from training.reconstruction import reconstruct
from training.rows import averages, fusion_row

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tno(real_data):
    return find_pairs([real_data / "tno"]).pairs


@pytest.fixture(scope="module")
def fuser():
    opened = open_fuser("jcae", backend="cpu")
    yield opened
    opened.close()


@pytest.mark.timeout(600)  # 20 pairs, 3 s each on two quiet cores
def test_reconstruction_of_unseen_pairs_is_faithful(tno):
    """Every other pair; docs/measured.md has all 40."""
    network = channels_last(load_network(load_model("jcae").folder))
    values = []
    for pair in tno[::2]:
        ir, vis = read_luma(pair.ir), read_luma(pair.vis)
        again = reconstruct(network, ir, vis)
        values.append((ssim(again[0], ir), ssim(again[1], vis)))
    mean_ir, mean_vis = np.mean(values, axis=0)
    assert mean_ir >= 0.97, f"ir {mean_ir:.4f}, vis {mean_vis:.4f}"
    assert mean_vis >= 0.97, f"ir {mean_ir:.4f}, vis {mean_vis:.4f}"


def test_fusion_keeps_more_of_both_than_averaging_does(tno, fuser):
    """Every fourth pair, beside plain mean: more of each source added (SCD), warm targets kept, structure not lost."""
    rows, mean_rows = [], []
    for pair in tno[::4]:
        ir, vis = read_luma(pair.ir), read_luma(pair.vis)
        rows.append(fusion_row(ir, vis, fuser.fuse(ir, vis)))
        mean_rows.append(fusion_row(ir, vis, ((ir.astype(int) + vis) // 2).astype(np.uint8)))
    ours, mean = averages(rows), averages(mean_rows)
    assert ours["SCD"] > mean["SCD"], (ours, mean)
    assert ours["retention"] > mean["retention"] + 0.05, (ours, mean)
    assert ours["SSIM"] > 0.68, ours  # plain max has 0.71 and plain mean 0.77 on all 40


def test_no_line_forms_at_the_border(tno, fuser):
    """The outermost rows and columns are as near to the sources' range as the rows inside them."""
    for pair in tno[:12:3]:
        ir, vis = read_luma(pair.ir), read_luma(pair.vis)
        fused = fuser.fuse(ir, vis).astype(int)
        over = np.maximum(fused - np.maximum(ir, vis), 0) + np.maximum(np.minimum(ir, vis).astype(int) - fused, 0)
        edge = np.concatenate([over[:2].ravel(), over[-2:].ravel(), over[:, :2].ravel(), over[:, -2:].ravel()])
        assert edge.mean() < over[16:-16, 16:-16].mean() + 3, pair.ir.name


def test_no_grid_forms(tno, fuser):
    """Rows and columns of even and odd index are equally bright: the pool and its upsampling leave no pattern."""
    for pair in tno[:12:3]:
        fused = fuser.fuse(read_luma(pair.ir), read_luma(pair.vis)).astype(float)
        height, width = (side // 2 * 2 for side in fused.shape)
        fused = fused[:height, :width]
        assert abs(fused[::2].mean() - fused[1::2].mean()) < 0.5
        assert abs(fused[:, ::2].mean() - fused[:, 1::2].mean()) < 0.5


def fuse(*args):
    command = [sys.executable, str(ROOT / "run_stream.py"), "fuse", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250)


@pytest.mark.parametrize("clip", ["m3svd_0111_1716", "tno_duine"])
def test_a_real_sequence_is_fused_in_time_and_colour(real_data, tmp_path, clip):
    ir, vis = (real_data / "video" / clip / f"{name}.mp4" for name in ("ir", "vis"))
    out, stats = tmp_path / "fused.mp4", tmp_path / "stats.json"
    done = fuse(ir, vis, "-o", out, "--limit", 6, "--size", "320x240", "--stats", stats)
    assert done.returncode == 0, done.stderr
    with open_source(vis) as source, open_source(out) as fused:
        wanted, found = list(source.frames())[:6], list(fused.frames())
        assert fused.info.rate == source.info.rate
        assert [f.pts * fused.info.time_base for f in found] == [
            (f.pts - source.info.start_pts) * source.info.time_base for f in wanted
        ]
    assert json.loads(stats.read_text())["pairs"] == 6
    for before, after in zip(wanted, found, strict=True):
        plane = cv2.resize(before.chroma[0], (160, 120), interpolation=cv2.INTER_AREA).astype(float)
        assert np.abs(plane - after.chroma[0]).mean() < 2  # what x264 at crf 20 loses


def test_lossless_gray_sequence_keeps_its_rate(real_data, tmp_path):
    folder = real_data / "video" / "tno_duine_lossless"
    done = fuse(folder / "ir.mkv", folder / "vis.mkv", "-o", tmp_path / "out.mkv", "--codec", "ffv1", "--limit", 3)
    assert done.returncode == 0, done.stderr
    with open_source(tmp_path / "out.mkv") as source:
        assert source.info.rate == Fraction(10)
        assert source.info.colour.full_range


def test_raw_thermal_counts_are_fused(real_data, tmp_path):
    raw = next(path for path in sorted((real_data / "raw16").glob("*.png")) if cv2.imread(str(path), -1).shape[0] > 200)
    vis = sorted((real_data / "tno" / "vis").glob("*.png"))[0]
    done = fuse(raw, vis, "-o", tmp_path / "out.png")
    assert done.returncode == 0, done.stderr
    fused = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert fused.shape[:2] == read_luma(vis).shape
    assert fused.std() > 10
