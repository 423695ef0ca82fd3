"""What `batch` says: how far it is, and what has become of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.voice import Voice

if TYPE_CHECKING:
    from pipeline.batch.driver import Outcome

PERIOD = 5.0
"""s between lines that say how far it is."""


class Progress:
    """A line every `PERIOD` s."""

    def __init__(self, voice: Voice) -> None:
        self._voice, self._told = voice, 0.0

    def show(self, outcome: Outcome) -> None:
        """Tell how far it is, if the last line is old enough."""
        if outcome.seconds - self._told >= PERIOD:
            self._told = outcome.seconds
            self._voice.print(line_of(outcome))


def tell(outcome: Outcome, voice: Voice, complain: Voice) -> None:
    """Tell at the end what was put aside or is short, a line each, and the sum."""
    for label, line in outcome.notes:
        voice.print(f"note: {label}: {line}")
    for label, line in outcome.short:
        complain.print(f"error: {label}: {line}")
    for label, reason in outcome.aside:
        complain.print(f"error: put aside: {label}: {reason}")
    voice.print(line_of(outcome))


def line_of(outcome: Outcome) -> str:
    """How far a run has come, as one line."""
    before = f", {outcome.skipped} of them before" if outcome.skipped else ""
    files = counted(outcome.tasks, "file")
    counts = [
        f"{outcome.done} of {files} done{before}",
        f"{counted(outcome.pairs, 'frame')} in {counted(outcome.chunks, 'piece')}",
    ]
    if outcome.seconds and outcome.pairs:
        counts.append(f"{outcome.pairs / outcome.seconds:.2f} frames/s")
    if outcome.redone:
        counts.append(f"{outcome.redone} fused again")
    if outcome.retried:
        counts.append("1 try failed" if outcome.retried == 1 else f"{outcome.retried} tries failed")
    if outcome.aside:
        counts.append(f"{len(outcome.aside)} put aside")
    return ", ".join(counts)


def counted(count: int, noun: str) -> str:
    """`1 piece`, `2 pieces`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
