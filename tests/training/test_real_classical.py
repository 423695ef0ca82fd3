"""Published results of GFF and GTF on TNO: against the plain mean, metrics of ours move the same way."""

import numpy as np
import pytest

from engines.classical import open_classical
from training.data import find_pairs, read_luma
from training.metrics.correlation import fusion_cc, scd
from training.metrics.deviation import deviation
from training.metrics.ms_ssim import ms_ssim
from training.metrics.mutual_information import fusion_mi
from training.metrics.qabf import qabf
from training.metrics.ssim import fusion_ssim

PUBLISHED = {
    "mean": {"MI": 2.06, "CC": 0.489, "SCD": 1.671, "SSIM": 0.739, "SD": 23.6, "Qabf": 0.336, "MS-SSIM": 0.871},
    "gff": {"MI": 3.66, "CC": 0.331, "SCD": 1.365, "SSIM": 0.685, "SD": 35.7, "Qabf": 0.572, "MS-SSIM": 0.815},
    "gtf": {"MI": 2.47, "CC": 0.293, "SCD": 1.060, "SSIM": 0.637, "SD": 42.5, "Qabf": 0.411, "MS-SSIM": 0.794},
}
"""Of the authors' programs, on 21 pairs of another copy of TNO; all but Qcv, EN, VIF and Nabf, for time."""
METRICS = {"MI": fusion_mi, "CC": fusion_cc, "SCD": scd, "SSIM": fusion_ssim, "Qabf": qabf, "MS-SSIM": ms_ssim}
SMALL = 100_000
"""px at most, of the pairs taken: five of the forty."""


def row(method, pairs):
    """Mean of each metric."""
    fused = [(ir, vis, open_classical(method).fuse(ir, vis)) for ir, vis in pairs]
    found = {name: np.mean([metric(*each) for each in fused]) for name, metric in METRICS.items()}
    return {**found, "SD": np.mean([deviation(each[2]) for each in fused])}


@pytest.fixture(scope="module")
def pairs(real_data):
    listed = [pair for pair in find_pairs([real_data / "tno"]).pairs if pair.width * pair.height <= SMALL]
    return [(read_luma(pair.ir), read_luma(pair.vis)) for pair in listed]


@pytest.fixture(scope="module")
def mean_row(pairs):
    return row("mean", pairs)


@pytest.mark.parametrize("method", ["gff", "gtf"])
def test_six_of_seven_metrics_lie_on_the_published_side_of_the_mean(method, pairs, mean_row):
    """All seven over ten pairs; over five small ones MI of GTF does not."""
    assert len(pairs) == 5
    found = row(method, pairs)
    there = PUBLISHED["mean"]
    agree = [
        name for name, value in PUBLISHED[method].items() if (found[name] > mean_row[name]) == (value > there[name])
    ]
    assert len(agree) >= 6, (agree, found, mean_row)
