"""Whether a camera's picture is alive: shutter pauses, a stuck, constant or black picture; each said once."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

STUCK_FRAMES = 50
"""Frames in a row, bit for bit alike, after which a picture is stuck: 2 s at 25 frames/s. No sensor is free of noise;
a shutter's pause (flat-field correction of a thermal camera) takes 0.2 to 1 s."""
PAUSE_FRAMES = 3
"""Frames in a row, alike, from which on it is a shutter's pause: two may come from a camera that doubles frames."""
FLAT_FRAMES = 10
"""Frames in a row without contrast, and then with it, that it takes to say so."""
FLAT_SECONDS = 2.0
"""s that they must last as well: some cameras show the closed shutter of a pause."""
FLAT_SPREAD = {8: 2, 16: 4}
"""Levels or counts, by bits, that 98 % of a flat picture lie within: what a codec or a sensor's last bit adds."""
BLACK_LEVEL = {8: 8, 16: 16}
"""Level or count, by bits, that 99 % of a black picture do not exceed."""
REPEAT_AFTER = 60.0
"""s before the same trouble is told again: a loose cable must not fill the log."""
SAMPLES = 4096
"""px looked at for contrast, spread over the picture."""

Trouble = Literal["stuck", "black", "constant"]
_WORDS: dict[Trouble, str] = {
    "stuck": "the same picture again and again, bit for bit: the camera or its encoder is stuck",
    "black": "the picture is black: lens covered, or no signal from the sensor",
    "constant": "the picture is one even level: shutter closed, or no signal from the sensor",
}


class PictureHealth:
    """Watches one camera's frames. One thread; fed with frames and times, it has no clock of its own."""

    def __init__(
        self,
        *,
        has_shutter: bool = True,
        is_recording: bool = False,
        stuck_frames: int = STUCK_FRAMES,
        flat_frames: int = FLAT_FRAMES,
    ) -> None:
        """has_shutter: a thermal camera, whose pauses are counted. is_recording: a file, where pictures that are bit
        for bit alike (a still, a codec that repeats them) say nothing of a camera.
        """
        self._has_shutter, self._is_recording = has_shutter and not is_recording, is_recording
        self._stuck_frames, self._flat_frames = stuck_frames, flat_frames
        self._last: NDArray[Any] | None = None
        self._alike, self._alike_since = 0, 0.0
        self._flat_run, self._flat_since, self._contrast_run = 0, 0.0, flat_frames
        self._began: dict[Trouble, float] = {}
        self._told: dict[Trouble, float] = {}
        self._silent: dict[Trouble, int] = {}
        self.pauses = 0
        """Shutter pauses seen."""
        self.longest_pause = 0.0
        """s."""

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What is wrong now, in the order it began."""
        return tuple(self._began)

    def look(self, luma: NDArray[Any], at: float) -> list[str]:
        """Lines to log about this frame (H, W) uint8 or uint16, taken `at` s of a steady clock; mostly none.

        The frame is kept until the next one.
        """
        notes: list[str] = []
        self._watch_motion(luma, at, notes)
        self._watch_contrast(luma, at, notes)
        self._last = luma
        return notes

    def _watch_motion(self, luma: NDArray[Any], at: float, notes: list[str]) -> None:
        if self._is_recording:
            return
        if _are_alike(self._last, luma):
            self._alike += 1
            if self._alike == self._stuck_frames and not self._flat_run:  # a black picture is alike as well
                self._begin("stuck", self._alike_since, at, notes)
            return
        if "stuck" in self._began:
            self._end("stuck", at, "moves again", notes)
        elif PAUSE_FRAMES <= self._alike < self._stuck_frames and not self._flat_run:
            self._count_pause(at - self._alike_since, notes)
        self._alike, self._alike_since = 0, at

    def _watch_contrast(self, luma: NDArray[Any], at: float, notes: list[str]) -> None:
        kind = _flatness(luma)
        if kind is None:
            if self._flat_run >= PAUSE_FRAMES and not self._began:
                self._count_pause(at - self._flat_since, notes)
            self._flat_run = 0
            self._contrast_run += 1
            if self._contrast_run >= self._flat_frames:
                for trouble in ("black", "constant"):
                    self._end(trouble, at, "shows a scene again", notes)
            return
        if not self._flat_run:
            self._flat_since = at
        self._contrast_run = 0
        self._flat_run += 1
        is_told = "black" in self._began or "constant" in self._began
        if not is_told and self._flat_run >= self._flat_frames and at - self._flat_since >= FLAT_SECONDS:
            self._begin(kind, self._flat_since, at, notes)

    def _count_pause(self, length: float, notes: list[str]) -> None:
        if not self._has_shutter:
            return
        self.longest_pause = max(self.longest_pause, length)
        self.pauses += 1
        if self.pauses == 1:
            notes.append(f"stood still for {length:.1f} s, as while a shutter corrects the sensor; now counted")

    def _begin(self, trouble: Trouble, since: float, at: float, notes: list[str]) -> None:
        self._began[trouble] = since
        if at - self._told.get(trouble, -REPEAT_AFTER) < REPEAT_AFTER:
            self._silent[trouble] = self._silent.get(trouble, 0) + 1
            return
        self._told[trouble] = at
        untold = self._silent.pop(trouble, 0)
        times = f" ({untold} more times since it was last said)" if untold else ""
        notes.append(_WORDS[trouble] + times)

    def _end(self, trouble: Trouble, at: float, words: str, notes: list[str]) -> None:
        began = self._began.pop(trouble, None)
        if began is not None and not self._silent.get(trouble):
            notes.append(f"{words} after {at - began:.1f} s")


def _are_alike(last: NDArray[Any] | None, luma: NDArray[Any]) -> bool:
    """Bit for bit; a few rows first, which tell nearly all frames apart at a sixteenth of the cost."""
    if last is None or last.shape != luma.shape or last.dtype != luma.dtype:
        return False
    return np.array_equal(last[::16], luma[::16]) and np.array_equal(last, luma)


def _flatness(luma: NDArray[Any]) -> Literal["black", "constant"] | None:
    """What a picture without contrast is; None for one with a scene in it. Dead pixels, up to 1 %, do not count."""
    bits = 8 * luma.dtype.itemsize
    step = max(1, int((luma.size / SAMPLES) ** 0.5))
    low, high = np.percentile(luma[::step, ::step], (1, 99))
    if high - low > FLAT_SPREAD[bits]:
        return None
    return "black" if high <= BLACK_LEVEL[bits] else "constant"
