"""One line of a manifest: which two files to fuse, into what, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """What a person asks for. Places are paths, or addresses that a storage knows; nothing is checked here."""

    ir: str
    """Infrared video."""
    vis: str
    """Visible video."""
    out: str
    """Fused video, below the output folder where it is not absolute."""
    rig: str | None = None
    """Calibrated cameras, a rig file; None: both pictures have one geometry already."""
    offset: float | None = None
    """s added to infrared times; None: the rig's, or 0."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of `fuse` without their dashes, e.g. {"crf": "23", "agc": "plateau"}: see `recipe.OPTIONS`."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"ir": self.ir, "vis": self.vis, "out": self.out, "rig": self.rig, "offset": self.offset,
                "options": dict(self.options)}  # fmt: skip

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Task:
        """Back from `to_json`. Raises TypeError for what is none."""
        return cls(**values)
