"""Pairs of a light network fused side by side on the CPU, with the pictures of one after the other."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.rules import averaged_maps

if TYPE_CHECKING:
    from engines.base import Luma, Picture
    from engines.onnx_cpu import Buffers, OnnxFuser

Rules = NDArray[np.bool_]
"""(M,) True where a map was averaged."""


@dataclass(slots=True)
class _Pair:
    """One pair on its way."""

    shape: tuple[int, ...]
    padded: Buffers | None
    """None once it is done, and of one that was fused alone."""
    fused: Luma | None = None
    activity: NDArray[np.float32] | None = None
    """(M,) of its maps; no threshold has a part in it."""
    taken: Rules | None = None
    """By the thresholds that were known when it began."""
    wanted: Rules | None = None
    """By its true thresholds, which follow from the pair before it."""
    before: Rules | None = None
    """What is wanted of that one; None at the start of a stream."""
    done: Future[None] = field(default_factory=Future)


class OnnxFlight:
    """See `Flight`. Each pair under way has a thread of its own; one more waits for the first of them to be free.

    In a stream the thresholds of a pair follow from the rules of the pair before it, which is not done yet. They seldom
    change: a pair takes those of the newest pair known. When its true ones are known and would have led to other rules,
    it is fused again, so that every picture is that of one pair after the other, to the bit.
    """

    def __init__(self, fuser: OnnxFuser, pairs: int, *, follows: bool) -> None:
        """pairs: side by side. follows: see `Fuser.start`."""
        self.depth = pairs + 1
        self.again = 0
        """Pairs so far that were fused a second time."""
        self._fuser, self._pairs, self._follows = fuser, pairs, follows
        self._threads = ThreadPoolExecutor(pairs, "fuse")
        self._waiting: deque[_Pair] = deque()
        self._free: list[Buffers] = []
        self._room: tuple[tuple[int, ...], int] = (), 0
        self._lock = threading.Lock()  # of what follows
        self._undecided: deque[_Pair] = deque()
        self._known: Rules | None = None
        self._is_over = False

    def put(self, ir: Picture, vis: Picture) -> None:
        """See `Flight`. Raises ValueError; what memory does not hold even alone is told by `get`, in its turn."""
        from engines.onnx_cpu import check_inputs

        check_inputs(ir, vis)
        self._check()
        if len(ir.shape) != 2:
            raise ValueError(f"a flight takes one pair at a time, (H, W); given {ir.shape}")
        if len(self._waiting) == self.depth:
            raise ValueError(f"{self.depth} pairs are under way and no more can be; get one first")
        assert isinstance(ir, np.ndarray), f"a {type(ir).__name__} for a fuser that takes arrays only"
        assert isinstance(vis, np.ndarray), f"a {type(vis).__name__} for a fuser that takes arrays only"
        if self._room[0] != ir.shape:
            self._free.clear()
            self._room = ir.shape, min(self._pairs, self._fuser._room(*ir.shape))
        room = self._room[1]
        if room < 2:
            self._put_alone(ir, vis)
            return
        self._settle(room - 1 if room < self._pairs else self.depth)
        padded = self._fuser._pad(ir, vis, self._free.pop() if self._free else None)
        pair = _Pair(ir.shape, padded)
        with self._lock:
            self._undecided.append(pair)
        self._waiting.append(pair)
        pair.done = self._threads.submit(self._fuse, pair)

    def get(self) -> Luma:
        """See `Flight`. Raises what went wrong with the pair; the flight is over then."""
        self._check()
        if not self._waiting:
            raise ValueError("no pair is under way; put one first")
        pair = self._waiting.popleft()
        try:
            pair.done.result()
            if pair.padded is not None:
                self._set_right(pair)
        except BaseException:
            self._is_over = True
            raise
        assert pair.fused is not None
        return pair.fused

    def close(self) -> None:
        """Wait for what has begun, and forget the rest. May be called twice."""
        self._is_over = True
        self._threads.shutdown(cancel_futures=True)
        self._waiting.clear()
        self._free.clear()

    def _put_alone(self, ir: Luma, vis: Luma) -> None:
        """A pair that leaves no memory for another beside it, fused on all threads when those before it are done."""
        self._settle(0)  # then all before it are decided
        pair = _Pair(ir.shape, None)
        self._waiting.append(pair)
        try:
            pair.fused, self._known = self._fuser._run(ir, vis, self._known if self._follows else None)
        except Exception as error:  # raised where the pair is fetched, so that those before it are not lost
            pair.done.set_exception(error)
        else:
            pair.done.set_result(None)

    def _fuse(self, pair: _Pair) -> None:
        """On a thread of its own."""
        with self._lock:
            known = self._known if self._follows else None
        assert pair.padded is not None
        threshold = self._fuser._threshold(known)
        pair.fused, activity = self._fuser._run_narrow(pair.padded, pair.shape, threshold)
        pair.taken = averaged_maps(activity, threshold)
        with self._lock:
            pair.activity = activity
            self._decide()

    def _decide(self) -> None:
        """Follow the rules from pair to pair as far as they can be known."""
        while self._undecided and (activity := self._undecided[0].activity) is not None:
            pair = self._undecided.popleft()
            pair.before = self._known if self._follows else None
            pair.wanted = self._known = averaged_maps(activity, self._fuser._threshold(pair.before))

    def _set_right(self, pair: _Pair) -> None:
        """Fuse a pair again if the rules that it took are not those wanted; its buffers are free then."""
        assert pair.padded is not None
        assert pair.taken is not None
        assert pair.wanted is not None, "all before it were fetched, so they are decided"
        if not np.array_equal(pair.taken, pair.wanted):
            self.again += 1
            threshold = self._fuser._threshold(pair.before)
            pair.fused, _ = self._fuser._run_narrow(pair.padded, pair.shape, threshold)
        self._free.append(pair.padded)
        pair.padded = None

    def _settle(self, most: int) -> None:
        """Wait until at most so many pairs are not done."""
        wait([pair.done for pair in list(self._waiting)[: max(0, len(self._waiting) - most)]])

    def _check(self) -> None:
        if self._is_over:
            raise ValueError("this flight is over: it failed, its fuser was closed, or another has begun; start one")
