"""The output picture of a match: gain control, alignment, network, view; and what stands in for a lost camera."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from calibration.rig import RigError
from engines.base import Flight, Fuser, Luma
from engines.steady import Steady
from pipeline.align import Aligned, Geometry, align, scale
from pipeline.frames import Colour, Frame, Pair, StreamInfo
from pipeline.live.loss import OnLoss, Shown, shown
from pipeline.live.match import Match, Side
from pipeline.live.status import Controls, LiveFrame
from pipeline.palettes import palette
from pipeline.picture import NEUTRAL
from pipeline.rigging import chroma_laid_over, laid_over
from pipeline.thermal import Agc, Region, parse_gain
from pipeline.views import needs_network, render

log = logging.getLogger(__name__)

DEPTH = 2
"""Pairs under way in the network at most: more of them would be a queue, and latency is bounded by dropping."""
TIME_BASE = Fraction(1, 1_000_000)
"""s per unit of an output frame's pts."""
_PLAIN = Agc()
"""For frames whose gain has been set already."""


@dataclass(frozen=True, slots=True)
class Made:
    """An output picture and what it was made of."""

    frame: Frame
    """pts in `TIME_BASE`, strictly increasing."""
    match: Match
    shown: Shown
    sides: tuple[Frame, Frame] | None
    """The IR and VIS views, while a divider is set."""
    stages_ms: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _UnderWay:
    match: Match
    shown: Shown
    controls: Controls
    aligned: Aligned | None
    frame: Frame | None
    """The picture, where it needs no network and no view."""
    stages_ms: dict[str, float]


class _Gain:
    """One camera's gain control; a frame held for several pictures passes it once."""

    def __init__(self, text: str = "percentile", region: Region | None = None) -> None:
        self.text, self._region = text, region
        # Picked by hand, a gain is meant for whatever the camera sends; percentiles leave its own 8 bits alone.
        self._agc = Agc(parse_gain(text, region, is_for_8bit=text != "percentile"))
        self._last: tuple[LiveFrame, Frame] | None = None

    def changed(self, text: str) -> _Gain:
        """This one, or another where the text is another."""
        return self if text == self.text else _Gain(text, self._region)

    def apply(self, frame: LiveFrame) -> Frame:
        if self._last is None or self._last[0] is not frame:
            self._last = frame, self._agc.apply(frame.frame)
        return self._last[1]


class Composer:
    """Makes pictures of one size from matches: `put` starts one, `get` waits for the oldest. One thread."""

    def __init__(
        self,
        fuser: Fuser,
        geometry: Geometry,
        *,
        on_loss: OnLoss = "hold",
        region: Region | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_aligned: Callable[[Aligned, tuple[float, float]], None] = lambda aligned, nudge: None,
        steady: bool = False,
    ) -> None:
        """region: of the IR picture, that sets its gain. on_aligned: told each pair of frames of one time as it is laid
        together, and the viewer's nudge; must not wait. steady: see `engines.steady`.
        """
        self._flight: Flight = fuser.start(follows=True)
        self.depth = min(self._flight.depth, DEPTH)
        """Pictures that may be under way at once."""
        self.info: StreamInfo | None = None
        """Of the output; None before the first picture, constant from then on."""
        self._geometry, self._on_loss, self._clock, self._on_aligned = geometry, on_loss, clock, on_aligned
        self._ir_gain, self._vis_gain = _Gain(region=region), _Gain()
        self._steady = Steady() if steady else None
        self._under_way: deque[_UnderWay] = deque()
        self._last_pts: int | None = None
        self._misfit = ""
        self._index = 0

    @property
    def is_steady(self) -> bool:
        """Gain steps and grain are held back."""
        return self._steady is not None

    @property
    def under_way(self) -> int:
        """Pictures put and not yet got."""
        return len(self._under_way)

    def put(self, match: Match, controls: Controls) -> None:
        """Start on a picture."""
        began = self._clock()
        what = shown(match, self._on_loss)
        self._ir_gain = self._ir_gain.changed(controls.agc)
        ir = None if match.ir is None else self._ir_gain.apply(match.ir)
        vis = None if match.vis is None else self._vis_gain.apply(match.vis)
        self._settle(ir, vis, match)
        work = _UnderWay(match, what, controls, None, None, {})
        if what == "both":
            assert ir is not None
            assert vis is not None
            x, y = self._geometry.shift
            geometry = replace(
                self._geometry, shift=(x + controls.nudge[0], y + controls.nudge[1]),
                work_height=self._geometry.work_height if needs_network(controls) else None,
            )  # fmt: skip
            try:
                work.aligned = align(Pair(ir, vis, match.skew), geometry, _PLAIN, _PLAIN)
            except RigError as error:
                self._note_misfit(error)
                work.shown = geometry.reference
            if work.aligned is not None and match.kind == "paired":
                self._on_aligned(work.aligned, controls.nudge)
        if work.aligned is None:
            alone = {"ir": ir, "vis": vis}.get(work.shown)
            work.frame = self._blank() if alone is None else self._alone(alone, work.shown)
        work.stages_ms["align"] = 1000 * (self._clock() - began)
        if work.aligned is not None and needs_network(controls):
            began = self._clock()
            self._flight.put(self._steadied(work.aligned), work.aligned.vis)
            work.stages_ms["fuse"] = 1000 * (self._clock() - began)
        elif self._steady is not None:
            self._steady.forget()
        self._under_way.append(work)

    def get(self) -> Made:
        """The oldest picture put."""
        work = self._under_way.popleft()
        began = self._clock()
        fused = None
        if "fuse" in work.stages_ms:
            fused = self._flight.get() if self._steady is None else self._steady.get(self._flight.get())
            work.stages_ms["fuse"] += 1000 * (self._clock() - began)
            began = self._clock()
        frame, sides = self._viewed(work, fused)
        work.stages_ms["compose"] = 1000 * (self._clock() - began)
        return Made(frame, work.match, work.shown, sides, work.stages_ms)

    def _viewed(self, work: _UnderWay, fused: np.ndarray | None) -> tuple[Frame, tuple[Frame, Frame] | None]:
        assert self.info is not None
        sides = None
        if work.frame is not None:
            frame = work.frame
        else:
            assert work.aligned is not None
            look, colours = replace(work.controls, divider=None), palette(work.controls.palette)
            frame = render(fused, work.aligned, look, colours, self.info)
            if work.controls.divider is not None:  # laid beside it on the page, never recorded
                sides = self._side("ir", work, self.info), self._side("vis", work, self.info)
        pts = round(work.match.time / TIME_BASE)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
        frame = replace(frame, pts=pts, time=float(pts * TIME_BASE), index=self._index)
        self._last_pts, self._index = pts, self._index + 1
        return frame, sides

    def _steadied(self, aligned: Aligned) -> Luma:
        """The IR picture to be fused."""
        if self._steady is None:
            return aligned.ir
        return self._steady.put(aligned.ir, aligned.vis, aligned.seen if aligned.reference == "vis" else None)

    def _alone(self, frame: Frame, side: str) -> Frame:
        """One camera's picture where it lies on the output's grid."""
        geometry = self._geometry
        if geometry.rigging is None or side == geometry.reference:
            return scale(frame, self._size)
        try:
            laid, warp = geometry.rigging.lay(frame, self._size, geometry.reference, geometry.shift)
        except RigError as error:
            self._note_misfit(error)
            return scale(frame, self._size)
        luma = np.asarray(laid.luma, np.uint8)
        chroma = chroma_laid_over(laid.chroma, None, warp.weight, NEUTRAL)
        return replace(laid, luma=laid_over(luma, np.zeros_like(luma), warp.weight), chroma=chroma)

    def _note_misfit(self, error: RigError) -> None:
        """A camera that comes to send what the rig does not know must not end the run; one that begins so does."""
        if self._last_pts is None:
            raise error
        if str(error) != self._misfit:
            self._misfit = str(error)
            log.warning("%s; showing %s alone", error, self._geometry.reference)

    def _side(self, side: Side, work: _UnderWay, info: StreamInfo) -> Frame:
        assert work.aligned is not None
        look = replace(work.controls, view=side, divider=None)
        return render(None, work.aligned, look, palette(look.palette), info)

    def _settle(self, ir: Frame | None, vis: Frame | None, match: Match) -> None:
        """Fix the output's size and colours by the first picture: a camera that changes its own is scaled to it."""
        if self.info is not None:
            return
        wanted, spare = (vis, ir) if self._geometry.reference == "vis" else (ir, vis)
        leader = wanted if wanted is not None else spare
        assert leader is not None
        width, height = self._geometry.size or (leader.luma.shape[1], leader.luma.shape[0])
        self._geometry = replace(self._geometry, size=(width, height))
        colour = Colour() if match.vis is None else match.vis.colour
        self.info = StreamInfo("live", width, height, TIME_BASE, colour=colour)

    @property
    def _size(self) -> tuple[int, int]:
        assert self.info is not None
        return self.info.width, self.info.height

    def _blank(self) -> Frame:
        width, height = self._size
        neutral = np.full(((height + 1) // 2, (width + 1) // 2), NEUTRAL, np.uint8)
        return Frame(np.zeros((height, width), np.uint8), (neutral, neutral), 0, 0.0, 0)
