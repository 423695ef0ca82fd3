"""What repeats say of a number: its median, how far they lie apart, and whether two numbers differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, variance

T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t of 95 %, two-sided, for 1 to 30 degrees of freedom."""
LEAST = 0.01
"""Least half width of an interval, as a share: so much two runs of one program differ for reasons that no repeat within
a run shows, as where its memory came to lie."""


@dataclass(frozen=True, slots=True)
class Change:
    """How one rate compares with another, as a ratio: above 1 is faster."""

    ratio: float
    low: float
    """End of the interval of 95 %; nan where there were no repeats to tell."""
    high: float

    @property
    def is_real(self) -> bool:
        """The interval leaves 1 out."""
        return self.low > 1 or self.high < 1

    def __str__(self) -> str:
        """E.g. `faster by 12 % (8..16)`, `no difference larger than noise (±6 %)`."""
        if math.isnan(self.low):
            word = "faster" if self.ratio >= 1 else "slower"
            return f"{word} by {100 * abs(self.ratio - 1):.0f} % in one repeat each: noise not known; pass --repeats 3"
        if not self.is_real:
            noise = self.high / self.ratio - 1
            return f"no difference larger than noise ({f'±{100 * noise:.0f} %' if noise < 1 else 'more than ±100 %'})"
        if self.ratio >= 1:
            return f"faster by {_percents(self.ratio - 1, self.low - 1, self.high - 1)}"
        return f"slower by {_percents(1 - self.ratio, 1 - self.high, 1 - self.low)}"


def spread(values: Sequence[float]) -> float | None:
    """Half of the range over the median; None below two values."""
    return (max(values) - min(values)) / 2 / median(values) if len(values) > 1 else None


def change(before: Sequence[float], after: Sequence[float]) -> Change:
    """How the rates `after` compare with those `before`, all above 0.

    Welch's interval of 95 % (B. L. Welch, Biometrika 34, 1947) for the difference of the logarithms, whose noise is
    the same share of a slow and of a fast rate. A single value borrows the noise of the other side.
    """
    a, b = ([math.log(value) for value in values] for values in (before, after))
    ratio = math.exp(fmean(b) - fmean(a))
    own = [variance(side) for side in (a, b) if len(side) > 1]
    if not own:
        return Change(ratio, math.nan, math.nan)
    shares = [(variance(side) if len(side) > 1 else own[0]) / len(side) for side in (a, b)]
    half = max(student_t(_freedom(shares, (len(a), len(b)))) * math.sqrt(sum(shares)), math.log(1 + LEAST))
    return Change(ratio, ratio * math.exp(-half), ratio * math.exp(half))


def student_t(freedom: float) -> float:
    """Student's t of 95 %, two-sided; degrees of freedom are rounded down, to 1 at least."""
    whole = max(1, math.floor(freedom + 1e-9))
    return T_95[whole - 1] if whole <= len(T_95) else 1.96 + 2.4 / whole  # within 0.002


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """k of the least squares fit cost = c size^k: 1 is linear. Two different sizes at least, all above 0."""
    x, y = ([math.log(value) for value in values] for values in (sizes, costs))
    middle_x, middle_y = fmean(x), fmean(y)
    across = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return across / sum((a - middle_x) ** 2 for a in x)


def _freedom(shares: Sequence[float], counts: tuple[int, int]) -> float:
    """Welch and Satterthwaite's; a side that borrowed its noise brings none of its own."""
    if min(counts) == 1 or not sum(shares):
        return sum(count - 1 for count in counts)
    return sum(shares) ** 2 / sum(share**2 / (count - 1) for share, count in zip(shares, counts, strict=True))


def _percents(middle: float, low: float, high: float) -> str:
    digits = 0 if middle >= 0.1 and high - low > 0.03 else 1
    return f"{100 * middle:.{digits}f} % ({100 * low:.{digits}f}..{100 * high:.{digits}f})"
