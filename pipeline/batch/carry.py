"""What one pair of a stream leaves for the next: taken over where a chunk begins, handed on where it ends."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import Fuser, Luma, Picture, StreamState
from pipeline.device_frames import on_host
from pipeline.frames import Frame, Pair
from pipeline.thermal import INERTIA, Agc, Gain

LAST = 2**63 - 1
"""A pts after all others."""
DIGEST_BYTES = 16
"""Of a SHA-256, which takes half the time of BLAKE2 where the processor knows it: 0.33 ms a VGA frame."""


@dataclass(frozen=True, slots=True)
class State:
    """All that a stream remembers where it is handed over: from equal states on two runs fuse the same."""

    averaged: str | None = None
    """Rule of each common map (Eq. 9), packed; None where the model has no rules, or at the start."""
    ir_gain: str | None = None
    """Of `Agc.state`, packed; None for 8 bits."""
    vis_gain: str | None = None
    picture: str = ""
    """Digest of the pair as decoded: equal if two ways through the files, from other key frames, gave one picture."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Where one chunk passes its state on to the next: before the first pairs at or after these VIS pts.

    That is where the next begins, unless its first frames depend on pairs before: then so many pairs are fused by both.
    """

    gains: int
    rules: int
    """Not before `gains`."""


class Carrier:
    """Leads a chunk through its run-up into its own pairs: the `stream.Carry` of a run, and its fuser.

    In the run-up the decoders, the gain control and the rules follow the stream, so that they are in the state which
    a run from the start of the files has; how far that came out is seen by comparing states, see `pieces`.
    """

    def __init__(
        self, fuser: Fuser | None, gain: Gain, *, begin: Handover, end: Handover | None, rules_from: int,
        given: State | None,
    ) -> None:  # fmt: skip
        """begin, end: None for after the last pair. rules_from: pts of VIS from which the network runs.

        given: the state to begin with, instead of what the run-up leads to.
        """
        self._fuser, self._rules_from, self._given = fuser, min(rules_from, begin.rules), given
        self.gains = Agc(gain, inertia=INERTIA), Agc(inertia=INERTIA)
        """See `stream.Carry`."""
        self.before = State()
        """State that was begun with."""
        self.after = State()
        """State that is passed on."""
        self.name, self.info = (fuser.name, fuser.info) if fuser else ("", None)
        last = Handover(LAST, LAST) if end is None else end
        self._marks = [
            (begin.gains, self._take_gains), (begin.rules, self._take_rules),
            (last.gains, self._pass_gains), (last.rules, self._pass_rules),
        ]  # fmt: skip
        self._rules: StreamState | None = None
        self._last: Pair | None = None
        self._network_runs = False
        self._done: list[Luma] = []

    def next(self, pair: Pair) -> None:
        """See `stream.Carry`."""
        self._reach(pair.vis.pts)
        self._network_runs = pair.vis.pts >= self._rules_from
        self._last = pair

    def finish(self) -> None:
        """After the last pair: what was to happen at a later one happens now."""
        self._reach(LAST)

    def _reach(self, pts: int) -> None:
        due = [act for at, act in self._marks if at <= pts]  # taking comes before passing on
        self._marks = [(at, act) for at, act in self._marks if at > pts]
        for act in due:
            act()

    def _take_gains(self) -> None:
        if self._given is not None:
            for gain, packed in zip(self.gains, (self._given.ir_gain, self._given.vis_gain), strict=True):
                gain.state = None if packed is None else _unpack(packed, np.float64)
        self.before = self._with_gains(self.before)

    def _take_rules(self) -> None:
        if self._given is not None:
            packed = self._given.averaged
            self._rules = None if packed is None else StreamState(_unpack(packed, np.uint8).astype(bool))
        self.before = self._with_rules(self.before)

    def _pass_gains(self) -> None:
        self.after = self._with_gains(self.after)

    def _pass_rules(self) -> None:
        self.after = self._with_rules(self.after)

    def _with_gains(self, state: State) -> State:
        ir, vis = (None if gain.state is None else _pack(gain.state) for gain in self.gains)
        return replace(state, ir_gain=ir, vis_gain=vis, picture="" if self._last is None else _digest(self._last))

    def _with_rules(self, state: State) -> State:
        rules = self._rules
        return replace(state, averaged=None if rules is None else _pack(rules.averaged.astype(np.uint8)))

    # The fuser's side: pair by pair through `fuse_next`, which alone tells the rules. A flight of depth 1.

    depth = 1

    def start(self, *, follows: bool) -> Carrier:
        """See `Fuser`: the one flight there is."""
        return self

    def put(self, ir: Picture, vis: Picture) -> None:
        """See `Flight`. Before the network is to run, the visible picture stands for the fused one."""
        assert isinstance(ir, np.ndarray)
        assert isinstance(vis, np.ndarray)
        fused = vis
        if self._network_runs and self._fuser is not None:
            fused, self._rules = self._fuser.fuse_next(ir, vis, self._rules)
        self._done.append(fused)

    def get(self) -> Luma:
        """See `Flight`."""
        return self._done.pop(0)

    def fuse(self, ir: Luma, vis: Luma) -> Luma:
        """See `Fuser`."""
        raise NotImplementedError("a carrier fuses streams, not single pairs")

    def fuse_next(self, ir: Luma, vis: Luma, state: StreamState | None) -> tuple[Luma, StreamState | None]:
        """See `Fuser`."""
        raise NotImplementedError("a carrier keeps the state itself; start a flight")

    def close(self) -> None:
        """Nothing: the fuser belongs to whoever opened it."""


def frame_digest(frame: Frame) -> bytes:
    """16 bytes for a frame's pts and planes, with their sizes: what is handed to the encoder, and when it shows."""
    hashed = sha256()
    hashed.update(frame.pts.to_bytes(8, "little", signed=True))
    frame = on_host(frame)
    for plane in (frame.luma, *(frame.chroma or ())):
        hashed.update(f"{plane.dtype} {plane.shape}".encode())
        hashed.update(np.ascontiguousarray(plane).data)
    return hashed.digest()[:DIGEST_BYTES]


def _digest(pair: Pair) -> str:
    return sha256(frame_digest(pair.ir) + frame_digest(pair.vis)).hexdigest()


def _pack(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 1)).decode()


def _unpack(text: str, kind: Any) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)
