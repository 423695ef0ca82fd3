"""Which IR frame belongs to which VIS frame, for recorded streams: by time, nothing dropped without a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from pipeline.frames import Frame, InputError, Pair, StreamInfo

Gap = Literal["drop", "hold"]

SEEK_MARGIN = 1.0
"""s of IR read before and after the wanted range, so that its first and last frames find their partners."""
ROUNDING = 1e-6
"""s added to every tolerance: times are floats, and frames exactly half a period apart belong together."""
UNKNOWN_RATE_TOLERANCE = 0.05
"""s, where neither stream says its rate: half a period at 10 frames/s."""
BEFORE = "before the first ir frame"
AFTER = "after the last ir frame"
WITHIN = "no ir frame near enough"


@dataclass(frozen=True, slots=True)
class SyncPolicy:
    """How frames are paired. VIS leads: each VIS frame gives one pair or none."""

    offset: float = 0.0
    """s added to IR times: positive if the IR clock is behind."""
    tolerance: float | None = None
    """Largest distance of a pair, s; None: half a period of the slower stream."""
    gap: Gap = "drop"
    """What a VIS frame without an IR frame near enough gets: nothing, or the last IR frame again."""
    rate: float = 0.0
    """ppm by which the IR clock is slow: so much more is added as time goes on."""
    origin: float = 0.0
    """s on the IR clock, at which `offset` alone is added; of the first IR frame, see `anchored`."""

    def on_vis_clock(self, ir_time: float) -> float:
        """s on the VIS clock, of a time on the IR clock."""
        return ir_time + self.offset + 1e-6 * self.rate * (ir_time - self.origin)


@dataclass(slots=True)
class SyncReport:
    """What became of the frames. Times are s on the VIS clock."""

    pairs: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """VIS frames without a partner, by reason."""
    held: Counter[str] = field(default_factory=Counter)
    """VIS frames fused with an older IR frame, by reason."""
    unused: int = 0
    """IR frames that no VIS frame took."""
    largest_skew: float = 0.0
    """Of the pairs within tolerance, s."""
    nearest: float = float("inf")
    """Smallest distance seen, s."""
    ir_span: tuple[float, float] | None = None
    """First and last IR frame seen."""
    vis_span: tuple[float, float] | None = None

    def why_no_pair(self) -> str:
        """One line for a run that ended without a pair: by how much the streams miss each other."""
        if self.ir_span is None or self.vis_span is None:
            return f"no frame in the {'ir' if self.ir_span is None else 'vis'} stream; give a longer range"
        (ir_first, ir_last), (vis_first, vis_last) = self.ir_span, self.vis_span
        spans = f"ir covers {ir_first:.3f} to {ir_last:.3f} s, vis {vis_first:.3f} to {vis_last:.3f} s"
        miss = max(ir_first - vis_last, vis_first - ir_last)
        if miss > 0:
            return f"{spans}: they miss each other by {miss:.3f} s; shift ir by --offset {vis_first - ir_first:+.3f}"
        return f"{spans}: no pair within the tolerance, the nearest are {self.nearest:.3f} s apart; raise --tolerance"


def default_tolerance(ir: StreamInfo, vis: StreamInfo) -> float:
    """Half a frame period of the slower stream, s."""
    rates = [info.rate for info in (ir, vis) if info.rate]
    return float(Fraction(1, 2) / min(rates)) if rates else UNKNOWN_RATE_TOLERANCE


def anchored(policy: SyncPolicy, ir: StreamInfo) -> SyncPolicy:
    """The policy for an IR recording: its clock goes right at its first frame."""
    return replace(policy, origin=float(ir.start_pts * ir.time_base))


def ir_range(
    policy: SyncPolicy, start: float | None, end: float | None, ir_start: float, vis_start: float
) -> tuple[float | None, float | None]:
    """The part of IR that can be a partner of a part of VIS, s from the first IR frame.

    start, end: s from the first VIS frame, None if not given. ir_start, vis_start: s, the first frames' own times.
    """
    margin = SEEK_MARGIN + (policy.tolerance or 0) + 1e-6 * abs(policy.rate) * max(start or 0, end or 0)
    shift = vis_start - policy.offset - ir_start
    first = None if start is None else start + shift - margin
    last = None if end is None else end + shift + margin
    if last is not None and last <= 0:
        raise InputError(f"--end {end}: vis ends there {-last:.3f} s before ir begins; check --offset")
    return (first if first and first > 0 else None), last


def pair_frames(
    ir: Iterator[Frame], vis: Iterator[Frame], policy: SyncPolicy, tolerance: float, report: SyncReport
) -> Iterator[Pair]:
    """For each VIS frame the nearest IR frame within `tolerance` s (the earlier of two equally near).

    Both streams must come in time order. Both are read to their ends, so that `report` counts every frame. Raises
    InputError if there was no pair at all.
    """
    line = _IrLine(ir, policy, report)
    for frame in vis:
        report.vis_span = (report.vis_span[0] if report.vis_span else frame.time, frame.time)
        partner, reason = line.nearest(frame.time)
        distance = float("inf") if partner is None else line.skew(partner, frame)
        report.nearest = min(report.nearest, abs(distance))
        if partner is not None and abs(distance) <= tolerance + ROUNDING:
            report.largest_skew = max(report.largest_skew, abs(distance))
        else:
            partner = line.passed if policy.gap == "hold" else None
            (report.dropped if partner is None else report.held)[reason] += 1
        if partner is not None:
            report.pairs += 1
            yield Pair(line.take(partner), frame, line.skew(partner, frame))
    line.finish()
    if not report.pairs:
        raise InputError(report.why_no_pair())


class _IrLine:
    """The IR stream walked alongside VIS: the frame passed last, the one ahead, and which were taken."""

    def __init__(self, frames: Iterator[Frame], policy: SyncPolicy, report: SyncReport) -> None:
        self._frames, self._policy, self._report = frames, policy, report
        self._taken = True
        self.passed: Frame | None = None
        self.ahead: Frame | None = next(frames, None)
        self._note()

    def nearest(self, time: float) -> tuple[Frame | None, str]:
        """The IR frame nearest to a VIS time, and the reason to give if it is not near enough."""
        while self.ahead is not None and self._time(self.ahead) <= time:
            self._advance()
        if self.passed is None:
            return self.ahead, BEFORE
        if self.ahead is None:
            return self.passed, AFTER
        is_earlier = time - self._time(self.passed) <= self._time(self.ahead) - time
        return (self.passed if is_earlier else self.ahead), WITHIN

    def take(self, frame: Frame) -> Frame:
        """Mark a frame as used and return it."""
        if frame is self.passed:
            self._taken = True
        else:
            self._ahead_taken = True
        return frame

    def skew(self, ir: Frame, vis: Frame) -> float:
        """ir time + offset - vis time, s."""
        return self._time(ir) - vis.time

    def finish(self) -> None:
        """Read what is left, so that it is counted."""
        while self.ahead is not None:
            self._advance()
        self._report.unused += not self._taken

    def _advance(self) -> None:
        self._report.unused += self.passed is not None and not self._taken
        self.passed, self._taken = self.ahead, self._ahead_taken
        self.ahead = next(self._frames, None)
        self._note()

    def _note(self) -> None:
        self._ahead_taken = False
        if self.ahead is not None:
            time, span = self._time(self.ahead), self._report.ir_span
            self._report.ir_span = (span[0] if span else time, time)

    def _time(self, frame: Frame) -> float:
        return self._policy.on_vis_clock(frame.time)


def match_names(ir: Sequence[str], vis: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs of file names of two image folders, and a line for each file without a partner.

    By equal name, then by equal name without suffix. Folders that share no name are paired in order if they hold
    equally many files, which the lines say. Raises InputError if that cannot be done either.
    """
    stems = {name.rsplit(".", 1)[0]: name for name in ir}
    known = set(ir)
    pairs = [
        (name if name in known else stems[name.rsplit(".", 1)[0]], name)
        for name in vis
        if name in known or name.rsplit(".", 1)[0] in stems
    ]
    if pairs:
        used_ir, used_vis = ({pair[side] for pair in pairs} for side in (0, 1))
        lines = [f"{name}: no partner in vis" for name in ir if name not in used_ir]
        return pairs, lines + [f"{name}: no partner in ir" for name in vis if name not in used_vis]
    if len(ir) != len(vis):
        raise InputError(
            f"no file name in common ({ir[0]}, .. and {vis[0]}, ..) and {len(ir)} against {len(vis)} files; "
            "give both pictures of a pair one name"
        )
    lines = [] if len(ir) == 1 else [f"no file name in common: {len(ir)} pairs taken in order, {ir[0]} with {vis[0]}"]
    return list(zip(ir, vis, strict=True)), lines
