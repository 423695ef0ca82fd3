"""A look at the first pairs of a run that was told nothing of its cameras: do the pictures lie on each other at all?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from calibration.check import Plane
from calibration.unaligned import Fit, best_fit
from engines.base import Luma
from pipeline.align import Aligned, Geometry
from pipeline.device_frames import on_host
from pipeline.frames import StreamInfo

LOOKS = 3
"""Pairs looked at, at most: 20 ms for one that is aligned, 0.12 s for one that is not."""
APART = 8
"""Pairs from one look to the next: neighbours in a video show the same."""
ASPECT = 0.05
"""Relative difference of aspect ratios from which the cameras cannot see the same field of view."""
ADVICE = "make a rig with `calibrate scene` and pass --rig, or move infrared with --shift"
"""What a line about an unaligned pair ends with."""


class Glance:
    """Looks at pairs until it knows, and says one line if they are unaligned. One thread."""

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        samples: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1)),
        apart: int = APART,
    ) -> None:
        """say: told the line. samples: width of a sample of infrared and of visible over its height."""
        self._say, self._apart, self._stretch = say, apart, float(samples[0] / samples[1])
        self._pairs: list[tuple[Plane, Plane]] = []
        self._count = 0
        self.is_over = False
        """There will be no more looks."""

    def look(self, aligned: Aligned) -> None:
        """Take the next pair."""
        number, self._count = self._count, self._count + 1
        if self.is_over or number % self._apart:
            return
        ir, vis = _plane(aligned.ir, aligned), _plane(aligned.vis, aligned)
        if self._pairs and self._pairs[0][1].shape != vis.shape:
            self._pairs.clear()
        self._pairs.append((ir, vis))
        fit = best_fit(self._pairs)
        aspects = _other_aspects(aligned, self._stretch)
        self.is_over = fit.is_aligned or fit.is_unaligned or bool(aspects) or len(self._pairs) == LOOKS
        if fit.is_unaligned:
            self._say(f"the pair looks unaligned: {_measured(fit)}{aspects and f'; {aspects}'}; {ADVICE}")
        elif aspects and not fit.is_aligned:
            self._say(f"the pair looks unaligned: {aspects}; {ADVICE}")


def is_told(geometry: Geometry) -> bool:
    """Whether the user has said how the pictures lie on each other: nobody else is to know better."""
    return geometry.rigging is not None or geometry.shift != (0.0, 0.0)


def looker(
    geometry: Geometry, ir: StreamInfo, vis: StreamInfo, say: Callable[[str], None] | None
) -> Callable[[Aligned], None] | None:
    """What to hand each pair of a recording to; None if nobody listens, or there is nothing to find out."""
    if say is None or is_told(geometry):
        return None
    return Glance(say, samples=(ir.sample_aspect, vis.sample_aspect)).look


def _plane(luma: Luma, aligned: Aligned) -> Plane:
    """On the host, wherever it lies."""
    return np.asarray(on_host(replace(aligned.pair.vis, luma=luma, chroma=None)).luma, np.uint8)


def _measured(fit: Fit) -> str:
    return f"{fit}; as it is, things are {100 * fit.displacement:.0f} % of the width apart"


def _other_aspects(aligned: Aligned, stretch: float) -> str:
    """What is wrong with the shapes; empty if they go together."""
    (ir_height, ir_width), (vis_height, vis_width) = aligned.pair.ir.luma.shape, aligned.pair.vis.luma.shape
    if abs(ir_width * vis_height / (ir_height * vis_width) * stretch - 1) < ASPECT:
        return ""
    return (
        f"ir is {ir_width}x{ir_height} and vis {vis_width}x{vis_height}, another aspect ratio, "
        "so they do not show the same field of view"
    )
