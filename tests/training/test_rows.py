"""A row of numbers: every metric where it belongs, and means over the pictures where they are defined."""

import math

import numpy as np
import pytest

from tests.training.material import noise, textured
from training.metrics.average_gradient import average_gradient
from training.metrics.correlation import scd
from training.metrics.ms_ssim import ms_ssim
from training.metrics.nabf import nabf
from training.metrics.qabf import qabf
from training.metrics.qcv import qcv
from training.metrics.ssim import fusion_ssim, ssim
from training.metrics.vif import vif
from training.rows import COLUMNS, LOWER_IS_BETTER, averages, fusion_row, shown


def warm(height=64, width=72):
    """IR with one warm target."""
    picture = textured(height, width, 3) // 4 + 20
    picture[30:40, 20:30] = 230
    return picture


def row(value, **others):
    return {**dict.fromkeys(COLUMNS, value), **others}


def test_a_row_holds_every_metric_of_one_picture():
    ir, vis = warm(), textured(64, 72, 1)
    fused = np.maximum(ir, vis)
    found = fusion_row(ir, vis, fused)
    assert tuple(found) == COLUMNS
    assert found["SSIM"] == fusion_ssim(ir, vis, fused) == pytest.approx((ssim(fused, ir) + ssim(fused, vis)) / 2)
    assert found["SCD"] == scd(ir, vis, fused)
    assert found["MS-SSIM"] == ms_ssim(ir, vis, fused)
    assert (found["Qcv"], found["Qabf"]) == (qcv(ir, vis, fused), qabf(ir, vis, fused))
    assert (found["VIF"], found["Nabf"]) == (vif(ir, vis, fused), nabf(ir, vis, fused))
    assert (found["SD"], found["AG"]) == (pytest.approx(fused.std()), average_gradient(fused))


def test_lost_is_the_share_of_the_pictures_targets():
    ir, vis = warm(), textured(64, 72, 1)
    assert (fusion_row(ir, vis, ir)["retention"], fusion_row(ir, vis, ir)["lost"]) == (1.0, 0.0)
    assert fusion_row(ir, vis, vis)["lost"] == 1.0
    two = ir.copy()
    two[30:40, 55:65] = 230
    assert fusion_row(two, vis, ir)["lost"] == 0.5


def test_a_picture_without_targets_has_no_retention():
    found = fusion_row(textured(64, 72) // 4, textured(64, 72, 1), textured(64, 72, 2))
    assert found["retention"] is None
    assert found["lost"] is None


@pytest.mark.parametrize("level", [0, 9, 255])
@pytest.mark.parametrize("flat", ["ir", "vis", "fused", "sources", "all"])
def test_constant_pictures_give_numbers_or_none_and_never_nan(level, flat):
    constant = np.full((64, 72), level, np.uint8)
    ir, vis, fused = warm(), noise(64, 72), textured(64, 72, 2)
    ir = constant if flat in ("ir", "sources", "all") else ir
    vis = constant if flat in ("vis", "sources", "all") else vis
    fused = constant if flat in ("fused", "all") else fused
    with np.errstate(all="raise", under="ignore"):
        found = fusion_row(ir, vis, fused)
    assert all(value is None or math.isfinite(value) for value in found.values()), found
    assert (found["VIF"] is None) == (flat in ("ir", "vis", "sources", "all"))


def test_the_smallest_pictures_have_a_row():
    found = fusion_row(noise(32, 32), noise(32, 32, 1), noise(32, 32, 2))
    assert [name for name, value in found.items() if value is None] == ["MS-SSIM", "VIF", "retention", "lost"]


def test_averages_by_hand():
    rows = [row(1.0, retention=0.5, lost=0.25), row(2.0, retention=None, lost=None), row(6.0, retention=0.1, lost=1.0)]
    found = averages(rows)
    assert found["SSIM"] == found["Qcv"] == found["AG"] == 3.0
    assert found["retention"] == pytest.approx(0.3)  # of the two pictures that have targets
    assert found["lost"] == pytest.approx(0.625)


def test_what_is_nowhere_defined_has_no_mean():
    found = averages([row(1.0, VIF=None), row(3.0, VIF=None)])
    assert found["SSIM"] == 2
    assert found["VIF"] is None
    assert "VIF undefined" in shown(found)
    assert "SSIM 2.0000  SCD 2.0000" in shown(found)
    assert averages([]) == row(None)


def test_distances_are_better_when_lower():
    assert {"Qcv", "Nabf", "lost"} == LOWER_IS_BETTER
    assert set(COLUMNS) >= LOWER_IS_BETTER
