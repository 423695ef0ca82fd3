"""The chunks of one task on their way: which can be fused next, from what state, and which are settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.batch.carry import State
from pipeline.batch.chunk import Spec
from pipeline.batch.plan import Chunk, Reach
from pipeline.batch.task import Task

ATTEMPTS = 3
"""Tries after which a chunk is put aside."""


@dataclass(slots=True)
class Piece:
    """A chunk and what is known of it."""

    chunk: Chunk
    before: State | None = None
    """State that it was begun in."""
    after: State | None = None
    """State that it ended in; None until it is fused."""
    given: State | None = None
    """State to begin in when it is fused next."""
    reach: Reach | None = None
    """From where to read then; None: as planned."""
    is_running: bool = False
    failures: int = 0
    redone: int = 0
    error: str = ""

    @property
    def is_open(self) -> bool:
        """To be fused, and not under way."""
        return self.after is None and not self.is_running and self.failures < ATTEMPTS


class Pieces:
    """All chunks of one task.

    A chunk begun in the state in which the one before it ended, at the same picture, is what a run in one piece makes
    of it: so all of them are, once every seam has been compared. Where a run-up led to another state, the chunk is
    fused again from the state that is now known. So the result never depends on how good the guess was.
    """

    def __init__(self, task: Task, folder: Path, plan: str, chunks: list[Chunk]) -> None:
        """plan: fingerprint."""
        self.task, self.folder, self.plan = task, folder, plan
        self.all = [Piece(chunk) for chunk in chunks]
        self.settled = 0
        """Chunks from the first on whose seams are right."""
        self._next: tuple[int, int | None] | None = None
        """`pairs_left` and `following`, until something changes: of a thousand files, one does at a time."""

    @property
    def is_whole(self) -> bool:
        """Nothing left but to join them."""
        return self.settled == len(self.all)

    @property
    def is_stuck(self) -> bool:
        """Some were put aside, and nothing can be done any more."""
        return not self.is_whole and not any(piece.is_open or piece.is_running for piece in self.all)

    @property
    def pairs_left(self) -> int:
        """To be fused."""
        return self._looked()[0]

    @property
    def why_stuck(self) -> str:
        """The chunks that were put aside, each with its reason."""
        aside = [(n, piece) for n, piece in enumerate(self.all) if piece.failures >= ATTEMPTS]
        return "; ".join(f"chunk {n} of {len(self.all)}: {piece.error}" for n, piece in aside)

    def following(self) -> int | None:
        """An open chunk whose state at its beginning is known, the largest; None if there is none."""
        return self._looked()[1]

    def middle(self) -> int | None:
        """An open chunk to begin from a run-up: halfway through the longest row of open ones, so that seams are few."""
        best, start = (0, 0), None
        for n, piece in enumerate([*self.all, None]):
            if piece is not None and piece.is_open:
                start = n if start is None else start
            elif start is not None:
                best, start = max(best, (n - start, -start)), None
        length, place = best[0], -best[1]
        return place + length // 2 if length else None

    def spec(self, number: int) -> Spec:
        """What to tell a worker of a chunk."""
        piece = self.all[number]
        chunk, given, reach = piece.chunk, piece.given, piece.reach
        if given is None and number and self.all[number - 1].after is not None:
            given = self.all[number - 1].after
        if reach is None:
            reach = chunk.guess if given is None else chunk.carry
        return Spec(self.task, self.plan, number, chunk.begin, chunk.end, chunk.ir_end,
                    chunk.handover, chunk.next_handover, reach, chunk.frames,
                    str(self.folder), given)  # fmt: skip

    def begin(self, number: int) -> None:
        """Note that a chunk is under way."""
        self.all[number].is_running, self._next = True, None

    def fused(self, number: int, result: Mapping[str, Any]) -> list[int]:
        """Note a result, and settle what can be; the numbers of chunks to be fused again."""
        piece = self.all[number]
        piece.is_running, piece.given, piece.reach = False, None, None
        piece.before, piece.after = State(**result["before"]), State(**result["after"])
        return self.settle()

    def settle(self) -> list[int]:
        """Compare seams from the first that is not settled on; the numbers of chunks to be fused again."""
        self._next = None
        while self.settled < len(self.all) and self.all[self.settled].after is not None:
            piece = self.all[self.settled]
            wanted = self.all[self.settled - 1].after if self.settled else State()
            assert wanted is not None
            if piece.before != wanted:
                return [self.settled] if self._redo(piece, wanted) else []
            self.settled += 1
        return []

    def failed(self, number: int, error: str) -> bool:
        """Note a failure; True if the chunk is put aside now."""
        piece, self._next = self.all[number], None
        piece.is_running, piece.error = False, error
        piece.failures += 1
        return piece.failures >= ATTEMPTS

    def _looked(self) -> tuple[int, int | None]:
        if self._next is None:
            fit = [
                n for n, piece in enumerate(self.all) if piece.is_open and (not n or self.all[n - 1].after is not None)
            ]
            following = max(fit, key=lambda n: self.all[n].chunk.pairs, default=None)
            self._next = sum(piece.chunk.pairs for piece in self.all if piece.is_open), following
        return self._next

    def _redo(self, piece: Piece, wanted: State) -> bool:
        """Have a chunk fused again, from the state it should begin in; False if that cannot help either."""
        is_only_picture = piece.before is not None and replace(piece.before, picture=wanted.picture) == wanted
        piece.given, piece.after = wanted, None
        piece.redone += 1
        if piece.redone > ATTEMPTS:
            piece.failures, piece.error = ATTEMPTS, "its files decode to other pictures each time; copy them again"
            return False
        if is_only_picture:  # other frames from another key frame: read all from the first on, as one run would
            piece.reach = Reach(None, None, piece.chunk.handover.rules)
        return True
