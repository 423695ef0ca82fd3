"""When a lost source is tried again, and how often that is worth a line."""

from __future__ import annotations

import random

FIRST = 0.5
"""s before the second try; doubled each time."""
LONGEST = 30.0
"""s between tries at most."""
JITTER = 0.1
"""Share of a wait by which it is longer or shorter: cameras behind one switch must not all come at once."""
SETTLED = 10.0
"""s that a connection must have given pictures to count as whole again: one that flaps is not tried ever faster."""
LOUD = 3
"""Failures told one by one; of what goes on failing, one line a minute."""
MINUTE = 60.0


class Retry:
    """Counts failures in a row. One thread."""

    def __init__(self, chance: random.Random | None = None) -> None:
        """chance: of the jitter."""
        self._chance = chance or random.Random()
        self.failures = 0
        """In a row; a connection that settled ends the row."""
        self._since = 0.0
        self._told = 0.0

    def failed(self, now: float, lasted: float) -> float:
        """s to wait after a failure at `now` s of a connection that had given pictures for `lasted` s."""
        if lasted >= SETTLED:
            self.failures = 0
        if not self.failures:
            self._since = now
        self.failures += 1
        wait = min(FIRST * 2.0 ** min(self.failures - 1, 16), LONGEST)
        return wait * self._chance.uniform(1 - JITTER, 1 + JITTER)

    def line(self, now: float, reason: str, wait: float) -> str | None:
        """What to tell of the failure just counted; None if enough was told."""
        if self.failures <= LOUD:
            self._told = now
            return f"{reason}; next try in {wait:.1f} s"
        if now - self._told < MINUTE:
            return None
        self._told = now
        return f"still failing since {_span(now - self._since)} ago, {self.failures} tries: {reason}"


def _span(seconds: float) -> str:
    """A length of time to one or two digits."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
