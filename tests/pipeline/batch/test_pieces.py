"""Which chunk is next, as states become known and tries fail."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.batch.carry import Handover, State
from pipeline.batch.pieces import ATTEMPTS, Pieces
from pipeline.batch.plan import FROM_START, Chunk
from pipeline.batch.task import Task

STATES = [State(), State("a"), State("b"), State("c")]


def pieces_of(*pairs):
    chunks = [
        Chunk(n, n, n + 1, None, count, count, 1.0, Handover(n, n), None, FROM_START, FROM_START)
        for n, count in enumerate(pairs)
    ]
    return Pieces(Task("ir.mp4", "vis.mp4", "out.mp4"), None, "plan", chunks)


def result(before, after):
    return {"before": asdict(before), "after": asdict(after)}


def test_what_follows_is_known_from_one_change_to_the_next():
    pieces = pieces_of(10, 20, 30)
    seen = [(pieces.pairs_left, pieces.following())]

    def then(change, *args):
        change(*args)
        seen.append((pieces.pairs_left, pieces.following()))

    then(pieces.begin, 0)
    then(pieces.failed, 0, "lost")
    then(pieces.begin, 0)
    then(pieces.fused, 0, result(STATES[0], STATES[1]))
    then(pieces.begin, 1)
    then(pieces.fused, 1, result(STATES[3], STATES[3]))  # begun in a wrong state: to be fused again
    assert seen == [(60, 0), (50, None), (60, 0), (50, None), (50, 1), (30, None), (50, 1)]


def test_of_two_that_could_follow_the_larger_one_does_and_none_after_its_last_try():
    pieces = pieces_of(10, 20, 30, 40)
    for number in (0, 2):
        pieces.begin(number)
        pieces.fused(number, result(STATES[0], STATES[1]))
    assert pieces.following() == 3
    for _ in range(ATTEMPTS):
        pieces.begin(3)
        pieces.failed(3, "lost")
    assert (pieces.following(), pieces.pairs_left) == (1, 20)
    assert not pieces.is_stuck
