"""The picture sizes that an engine takes: one, or a range with the size that it is tuned for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.base import CrotalusError
from engines.model import ModelInfo

Size = tuple[int, int]
"""Width and height, px."""
LIMIT = 32768
"""Largest side, px; what a mistyped size meets before it meets the GPU's memory."""
FORM = re.compile(r"(\d{1,6})[xX](\d{1,6})")


class ProfileError(CrotalusError, ValueError):
    """A size or range of sizes that cannot be."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Profile:
    """Sizes of the pictures before the fuser pads them. Raises ProfileError unless smallest <= typical <= largest."""

    smallest: Size
    typical: Size
    """The size that the engine is tuned for."""
    largest: Size
    """Decides the scratch memory, whatever size is run."""

    def __post_init__(self) -> None:
        for low, middle, high in zip(self.smallest, self.typical, self.largest, strict=True):
            if not 1 <= low <= middle <= high <= LIMIT:
                raise ProfileError(
                    f"sizes {self}: each side goes up from smallest to typical to largest, from 1 to {LIMIT} px; "
                    "give them in this order"
                )

    @classmethod
    def fixed(cls, width: int, height: int) -> Profile:
        """One size, px: the smallest and fastest engine."""
        return cls((width, height), (width, height), (width, height))

    def __str__(self) -> str:
        """`640x480`, or smallest, typical and largest as `320x240-640x480-1920x1080`."""
        if self.smallest == self.largest:
            return _text(self.typical)
        return "-".join(_text(size) for size in (self.smallest, self.typical, self.largest))


def parse_profile(text: str) -> Profile:
    """`640x480`, or `320x240/640x480/1920x1080`, smallest, typical and largest. Raises ProfileError."""
    found = [FORM.fullmatch(part) for part in text.split("/")]
    sizes = [(int(match[1]), int(match[2])) for match in found if match]
    if len(sizes) != len(found) or len(sizes) not in (1, 3):
        raise ProfileError(
            f"--size {text}: give width and height in px like 640x480, or smallest/typical/largest like "
            "320x240/640x480/1920x1080"
        )
    return Profile.fixed(*sizes[0]) if len(sizes) == 1 else Profile(*sizes)


def stored_profile(text: str) -> Profile:
    """A profile as it writes itself. Raises ProfileError."""
    return parse_profile(text.replace("-", "/"))


def padded(size: Size, info: ModelInfo) -> Size:
    """Width and height of what the encoders see: the model's margin all around, and up to its multiple."""
    width, height = (side + 2 * info.margin for side in size)
    return width + -width % info.multiple, height + -height % info.multiple


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
