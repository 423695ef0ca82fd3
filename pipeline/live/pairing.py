"""Which IR and VIS frame belong together while both still come in: a machine without a clock or a thread of its own.

Rates need never be equal. Each frame of the pace side gives one match or is dropped with its reason; it is decided
as soon as no frame still to come can be nearer, which the other side's rhythm tells.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field

from pipeline.live.match import Kind, Match, Side, other
from pipeline.live.rhythm import Rhythm
from pipeline.live.status import LiveFrame
from pipeline.sync import ROUNDING, UNKNOWN_RATE_TOLERANCE

JITTER = 0.01
"""s by which the times of a live camera waver; added to the tolerance that is not given."""
AGE_LIMIT = 0.5
"""s, the least age up to which a frame is held for a partner that does not come."""
MOST_WAITING = 128
"""Frames of a side in memory, whatever the offset."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """How live frames are paired."""

    offset: float = 0.0
    """s added to IR times: positive if the IR clock is behind."""
    tolerance: float | None = None
    """Largest distance of a pair, s; None: half a period of the slower camera as measured, and its jitter."""
    master: Side = "vis"
    """Whose frames pace the output."""
    age_limit: float | None = None
    """s a frame is held at most; None: two periods of the slower camera, at least `AGE_LIMIT`."""


@dataclass(slots=True)
class _Waiting:
    frame: LiveFrame
    time: float
    seen: float
    used: bool = False


@dataclass(slots=True)
class Tally:
    """What became of the frames offered, exactly: each one is used, dropped, or still waiting."""

    matches: Counter[Kind] = field(default_factory=Counter)
    """Handed out, by kind."""
    drops: Counter[str] = field(default_factory=Counter)
    """`vis no partner`, `vis too old`, `vis superseded`, `vis not monotonic`, `ir not needed`, ..."""


class Pairer:
    """Frames of both cameras in by `offer`, matches out by `poll`. One thread at a time; `now` never goes back."""

    def __init__(self, policy: Pairing) -> None:
        self.policy = policy
        self.tally = Tally()
        self.lost: frozenset[Side] = frozenset()
        """Cameras that send nothing: set from outside. Nobody waits for them; a lost master does not pace."""
        self.wake: float | None = None
        """s monotonic, after `poll`: when to ask again though no frame has come; None: only then."""
        self.paired = -math.inf
        """s monotonic, when the last pair within tolerance was decided, whether it is handed out or not."""
        self.rhythms: dict[Side, Rhythm] = {"ir": Rhythm(), "vis": Rhythm()}
        self._queues: dict[Side, deque[_Waiting]] = {"ir": deque(), "vis": deque()}
        self._passed: dict[Side, _Waiting | None] = {"ir": None, "vis": None}
        self._ready: deque[Match] = deque()
        self._apart: dict[Side, float] = {"ir": math.inf, "vis": math.inf}
        self._last = -math.inf

    @property
    def pace(self) -> Side:
        """Whose frames pace the output: the master's, unless it is lost and the other is not."""
        master = self.policy.master
        return other(master) if master in self.lost and other(master) not in self.lost else master

    @property
    def tolerance(self) -> float:
        """s, as given or as measured."""
        if self.policy.tolerance is not None:
            return self.policy.tolerance + ROUNDING
        periods = [rhythm.period for rhythm in self.rhythms.values()]
        half = [UNKNOWN_RATE_TOLERANCE if period is None else period / 2 for period in periods]
        return max(half) + JITTER + ROUNDING

    @property
    def age_limit(self) -> float:
        """s a frame is held at most: from then on its camera counts as lost."""
        if self.policy.age_limit is not None:
            return self.policy.age_limit
        return max(AGE_LIMIT, 2 * (self._slower() or 0.0))

    @property
    def nearest(self) -> float:
        """s between the newest frames of both cameras that are nearest to each other, near enough or not."""
        return min(map(abs, self._apart.values()))

    def offer(self, side: Side, frame: LiveFrame, now: float) -> None:
        """Take a frame of one camera."""
        # A time in the future (a clock estimate gone wrong) would outlaw every frame after it.
        time = min(frame.captured, now) + (self.policy.offset if side == "ir" else 0.0)
        rhythm, queue = self.rhythms[side], self._queues[side]
        if time <= rhythm.last:
            self._drop(side, "not monotonic")
            return
        rhythm.note(time, now)
        self._apart[side] = time - self.rhythms[other(side)].last
        queue.append(_Waiting(frame, time, now))
        self._decide(now)
        while queue and (time - queue[0].time > self._horizon() or len(queue) > MOST_WAITING):
            self._forget(side, queue.popleft(), "superseded" if side == self.pace else "not needed")
        self._supersede(now)

    def poll(self, now: float) -> Match | None:
        """The next match, if one is decided. One that waited a frame's time gives way to a newer one."""
        self._decide(now)
        self._supersede(now)
        if not self._ready:
            return None
        match = self._ready.popleft()
        self.tally.matches[match.kind] += 1
        return match

    def waiting(self, side: Side) -> int:
        """Frames of one camera neither used nor dropped yet."""
        passed = self._passed[side]
        kept = int(passed is not None and not passed.used)
        return len(self._queues[side]) + kept + sum(match.pace == side for match in self._ready)

    def _decide(self, now: float) -> None:
        """Settle frames of the pace side in order, up to the first that a partner to come may still be nearer to."""
        pace = self.pace
        partner, queue, self.wake = other(pace), self._queues[pace], None
        while queue:
            head = queue[0]
            if head.time <= self._last:
                self._forget(pace, queue.popleft(), "not monotonic")
                continue
            self._pass(partner, head.time)
            before = self._passed[partner]
            after = self._queues[partner][0] if self._queues[partner] else None
            if after is None and partner not in self.lost:
                until = self._worth_waiting(partner, head.time, before)
                if now < until:
                    self.wake = until
                    return
            # Frames that pace because the master is lost were kept as partners: of those, the newest will do.
            ready = now if pace == self.policy.master else head.seen
            self._settle(pace, queue.popleft(), before, after, ready)

    def _worth_waiting(self, partner: Side, time: float, before: _Waiting | None) -> float:
        """s monotonic until which a partner nearer to `time` than `before` may still arrive; -inf if none can."""
        reach = min(self.tolerance, time - before.time if before else math.inf)
        rhythm = self.rhythms[partner]
        if rhythm.last + rhythm.shortest >= time + reach:
            return -math.inf
        lag = math.inf if rhythm.lag is None else rhythm.lag
        return time + min(reach + lag, self.age_limit + abs(self.policy.offset))

    def _settle(
        self, pace: Side, head: _Waiting, before: _Waiting | None, after: _Waiting | None, ready: float
    ) -> None:
        """Give a frame of the pace side its partner, or drop it."""
        partner, kind = before, None
        if after is not None and (before is None or after.time - head.time < head.time - before.time):
            partner = after
        if partner is not None and abs(partner.time - head.time) <= self.tolerance:
            kind, self.paired = "paired", ready
        elif before is not None and head.time - before.time <= self.age_limit:
            kind, partner = "held", before
        elif other(pace) in self.lost:
            kind, partner = "alone", before
        self._pass_one(pace, head)
        self._last = head.time
        if kind is None:
            self._forget(pace, head, "no partner" if before is None else "too old")
            return
        head.used = True
        if partner is not None:
            partner.used = True
        frames: dict[Side, _Waiting | None] = {pace: head, other(pace): partner}
        ir, vis = frames["ir"], frames["vis"]
        skew = ir.time - vis.time if ir and vis else math.nan
        self._ready.append(
            Match(pace, kind, ir and ir.frame, vis and vis.frame, head.time, skew, ready)  # type: ignore[arg-type]
        )

    def _pass(self, side: Side, time: float) -> None:
        """Leave the partners up to `time` behind, but for the last of them."""
        queue = self._queues[side]
        while queue and queue[0].time <= time:
            self._pass_one(side, queue.popleft())

    def _pass_one(self, side: Side, frame: _Waiting) -> None:
        before, self._passed[side] = self._passed[side], frame
        if before is not None:
            self._forget(side, before)

    def _forget(self, side: Side, frame: _Waiting, reason: str = "not needed") -> None:
        """Count a frame that nothing was made of."""
        if not frame.used:
            frame.used = True
            self._drop(side, reason)

    def _drop(self, side: Side, reason: str) -> None:
        self.tally.drops[f"{side} {reason}"] += 1

    def _supersede(self, now: float) -> None:
        """Drop what has been ready for long while something newer is.

        Partners that come seldom decide several frames at once, which is no backlog: half their period is not long.
        """
        pace = self.pace
        patience = max(self.rhythms[pace].period or 0.0, (self.rhythms[other(pace)].period or 0.0) / 2)
        while len(self._ready) > 1 and now - self._ready[0].ready >= patience:
            self._drop(self._ready.popleft().pace, "superseded")

    def _horizon(self) -> float:
        """s between the oldest and the newest frame kept of a camera: what the other one may be behind it."""
        return self.age_limit + abs(self.policy.offset) + max(r.lag or 0.0 for r in self.rhythms.values())

    def _slower(self) -> float | None:
        """s, the longer period of the two, as far as they are known."""
        return max((period for r in self.rhythms.values() if (period := r.period) is not None), default=None)
