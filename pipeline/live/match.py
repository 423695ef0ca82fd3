"""Two live frames that belong together, and how: what the pairing hands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.live.status import LiveFrame

Side = Literal["ir", "vis"]
Kind = Literal["paired", "held", "alone"]


def other(side: Side) -> Side:
    """The other camera."""
    return "vis" if side == "ir" else "ir"


@dataclass(frozen=True, slots=True)
class Match:
    """A frame of the pace side and what it is shown with."""

    pace: Side
    kind: Kind
    """paired: within tolerance; held: the last partner, not older than the age limit; alone: the other is lost."""
    ir: LiveFrame | None
    """For `alone`: the last frame of the lost camera, however old; None if it never sent one."""
    vis: LiveFrame | None
    time: float
    """s monotonic, when the pace frame was taken, offset included: strictly increasing over matches."""
    skew: float
    """s, ir + offset - vis; nan if one is None."""
    ready: float
    """s monotonic, when it was decided."""

    @property
    def leader(self) -> LiveFrame:
        """The frame of the pace side."""
        frame = self.ir if self.pace == "ir" else self.vis
        assert frame is not None
        return frame

    @property
    def has_both(self) -> bool:
        """False where the other camera never sent a frame."""
        return self.ir is not None and self.vis is not None
