"""How long an archive takes on many workers, computed: measured times of single steps played through a whole cluster.

Every worker plans, fuses and joins, as `work.Worker` does. One driver keeps the ledger, one store holds the files; a
worker waits where those are busy. Nothing else is modelled: no machine fails, all workers are equally fast.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from pipeline.batch.costs import Costs, Outcome, Spent

CYCLE = 1 << 16
"""Chunk times drawn before they repeat."""


def archive(
    hours: float, *, median: float = 0.5, spread: float = 1.0, longest: float = 24.0, seed: int = 1
) -> list[float]:
    """Lengths of files, s, that make so many hours; log-normal about a median, none longer than `longest` h."""
    chance, lengths, left = np.random.default_rng(seed), list[float](), hours * 3600
    while left > 0:
        for length in np.minimum(chance.lognormal(np.log(median), spread, 1024), longest) * 3600:
            lengths.append(float(min(length, left)))
            left -= lengths[-1]
            if left <= 0:
                break
    return lengths


def simulate(
    lengths: Sequence[float], workers: int, costs: Costs, *, chunk: float = 60.0, at_once: int = 1, seed: int = 1
) -> Outcome:
    """Play an archive through.

    lengths: s of each file. chunk: s. at_once: chunks of a file played as one step, at the cost of so many: faster by
    as much, and the end of the archive coarser.

    A worker joins what is ready, stays with its file while that has chunks, then takes the longest one nobody has
    begun, then helps where most is left; it plans when there is nothing to fuse.
    """
    return _Play(lengths, workers, costs, chunk, at_once, seed).run()


class _Play:
    """One run of the model. Times are s since the start; files are known by their place among the longest first."""

    def __init__(
        self, lengths: Sequence[float], workers: int, costs: Costs, chunk: float, at_once: int, seed: int
    ) -> None:
        self._lengths = sorted((float(length) for length in lengths if length > 0), reverse=True)
        self._workers, self._costs = workers, costs
        self._counts = [max(1, int(length // (chunk * at_once))) for length in self._lengths]  # the last takes the rest
        self._chunk = chunk
        self._left = list(self._counts)
        self._over = [0.0] * len(self._lengths)
        self._under_way = [0] * len(self._lengths)
        self._owed = [-1] * workers
        """By worker: the file of the chunk that it has fused and not yet stored."""
        self._has_asked = [False] * workers
        """Whether the driver has answered, and the answer is not used yet."""
        self._spent = Spent()
        self._driver_free = self._store_free = self._end = 0.0
        self._unplanned = 0
        self._fresh: list[int] = []
        self._begun: list[tuple[int, int]] = []
        self._joins: list[int] = []
        self._coming: list[tuple[float, int, int]] = []
        """When, 0 for a plan or 1 for the last chunk, and the file."""
        drawn = np.random.default_rng(seed).normal(-(costs.spread**2) / 2, costs.spread, CYCLE)
        self._factors = np.exp(drawn).tolist() if costs.spread else [1.0] * CYCLE
        self._drawn = 0

    def run(self) -> Outcome:
        """The outcome."""
        rate = self._costs.starts
        free = [(number / rate + self._costs.start, number) for number in range(self._workers)]
        heapq.heapify(free)
        spent, last = self._spent, [-1] * self._workers
        ended = [time for time, _ in free]
        spent.start = sum(ended)
        while free:
            now, worker = free[0]
            while self._coming and self._coming[0][0] <= now:
                _, kind, file = heapq.heappop(self._coming)
                heapq.heappush(self._joins if kind else self._fresh, file)
            done = self._step(now, worker, last)
            if done is not None:
                ended[worker] = done
                heapq.heapreplace(free, (done, worker))
            elif self._coming:
                spent.idle += self._coming[0][0] - now
                heapq.heapreplace(free, (self._coming[0][0], worker))
                ended[worker] = self._coming[0][0]
            else:
                heapq.heappop(free)
        makespan = max(self._end, 0.0)
        for worker, time in enumerate(ended):  # a start, or a question to the driver, that ended after all was done
            late = max(0.0, time - makespan)
            spent.driver -= late if self._has_asked[worker] else 0.0
            spent.start -= 0.0 if self._has_asked[worker] else late
        spent.idle += sum(max(0.0, makespan - time) for time in ended)
        return Outcome(self._workers, makespan, spent)

    def _step(self, now: float, worker: int, last: list[int]) -> float | None:
        """When a worker is done with its next step: handing in, asking, working; None if there is nothing for it.

        Each step is played at its own time, because the driver and the store serve in order of time.
        """
        if self._owed[worker] >= 0:
            return self._hand_in(now, worker)
        if not self._has_asked[worker]:
            has_own = last[worker] >= 0 and self._left[last[worker]]
            if not (has_own or self._joins or self._fresh or self._begun or self._unplanned < len(self._lengths)):
                return None
            self._has_asked[worker] = True
            return self._ask(now)
        done = self._work(now, worker, last)
        self._has_asked[worker] = done is None
        return done

    def _hand_in(self, now: float, worker: int) -> float:
        """When the chunk that a worker has fused is stored."""
        file, self._owed[worker] = self._owed[worker], -1
        done = self._copy(now, self._costs.bytes_out * self._lengths[file] / self._counts[file])
        self._over[file] = max(self._over[file], done)
        self._under_way[file] -= 1
        if not (self._left[file] or self._under_way[file]):
            heapq.heappush(self._coming, (self._over[file], 1, file))
        self._end = max(self._end, done)
        return done

    def _work(self, now: float, worker: int, last: list[int]) -> float | None:
        """When a worker is done with what the driver gives it; None if others have taken all there was."""
        if self._joins:
            return self._join(now, heapq.heappop(self._joins))
        own = last[worker]
        file = own if own >= 0 and self._left[own] else self._chosen()
        if file is None:
            return self._plan(now, worker, last) if self._unplanned < len(self._lengths) else None
        self._owed[worker] = last[worker] = file
        return self._fuse(now, file, is_new=file != own)

    def _chosen(self) -> int | None:
        """The longest file that nobody has begun, or the one with most chunks left."""
        while self._fresh:
            file = heapq.heappop(self._fresh)
            if self._left[file]:  # whoever planned it has begun it, and may have ended it
                heapq.heappush(self._begun, (-self._left[file], file))
                return file
        while self._begun:
            left, file = self._begun[0]
            if self._left[file] == -left and left:
                return file
            heapq.heappop(self._begun)
            if self._left[file]:
                heapq.heappush(self._begun, (-self._left[file], file))
        return None

    def _fuse(self, now: float, file: int, *, is_new: bool) -> float:
        costs, spent = self._costs, self._spent
        length = self._lengths[file] / self._counts[file]
        chunks = max(1, int(length // self._chunk))
        self._driver_free = max(self._driver_free, now) + (chunks - 1) * costs.driver  # one question has been answered
        wanted = costs.bytes_in * (length if costs.reads == "part" else self._lengths[file] if is_new else 0.0)
        now = self._copy(now, wanted)
        work = costs.fuse * length * self._factors[self._drawn]
        self._drawn = (self._drawn + 1) % CYCLE
        spent.fusing += work
        spent.chunks += chunks * costs.each_chunk
        self._left[file] -= 1
        self._under_way[file] += 1
        return now + work + chunks * costs.each_chunk

    def _plan(self, now: float, worker: int, last: list[int]) -> float:
        file, self._unplanned = self._unplanned, self._unplanned + 1
        length = self._lengths[file]
        now = self._copy(now, self._costs.bytes_in * length) + self._costs.plan * length
        self._spent.planning += self._costs.plan * length
        heapq.heappush(self._coming, (now, 0, file))
        last[worker] = file
        return now

    def _join(self, now: float, file: int) -> float:
        length = self._lengths[file]
        now = self._copy(now, 2 * self._costs.bytes_out * length) + self._costs.join * length
        self._spent.joining += self._costs.join * length
        self._end = max(self._end, now)
        return now

    def _ask(self, now: float) -> float:
        """When the driver has taken the last result and handed out the next piece."""
        done = max(now, self._driver_free) + self._costs.driver
        self._driver_free = done
        self._spent.driver += done - now
        return done

    def _copy(self, now: float, size: float) -> float:
        """When so many bytes have come or gone: at the speed of the link, and after what the store had to do before."""
        if not size:
            return now
        alone = now + size / self._costs.link
        self._store_free = max(now, self._store_free) + size / self._costs.store
        done = max(alone, self._store_free)
        self._spent.copying += alone - now
        self._spent.store += done - alone
        return done
