"""Is a difference between two methods more than chance: the paired t-test, and Wilcoxon's signed ranks beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of one metric, theirs against ours, over the pairs where both have a value."""

    pairs: int
    difference: float | None
    """Mean of ours minus theirs; None without a pair."""
    t_test: float | None
    """Two-sided p of the paired t-test; None below two pairs, or if all differences are equal."""
    wilcoxon: float | None
    """Two-sided p of the signed-rank test, which needs no normal differences; None if no pair differs."""


def compare(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Comparison:
    """The comparison of two methods' values of the same pairs, in the same order; None: undefined there."""
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if not both:
        return Comparison(0, None, None, None)
    from scipy import stats  # takes a second to load

    a, b = np.array(both).T
    away = a - b
    varies = len(both) > 1 and float(np.ptp(away)) > 1e-12
    differs = bool((away != 0).any())
    return Comparison(
        pairs=len(both),
        difference=float(away.mean()),
        t_test=float(stats.ttest_rel(a, b).pvalue) if varies else None,
        wilcoxon=float(stats.wilcoxon(a, b).pvalue) if differs else None,
    )
