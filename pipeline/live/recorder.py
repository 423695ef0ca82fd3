"""A live picture into files: in a thread of its own, never in the way of the line, playable whatever happens."""

from __future__ import annotations

import errno
import logging
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.frames import Frame, OutputError, StreamInfo
from pipeline.live.reel import RecordSettings, Reel

__all__ = ["RecordSettings", "Recorder"]

log = logging.getLogger(__name__)

DEPTH = 16
"""Frames that may wait for the encoder: half a second at 30 frames/s, which hides the change of a file."""
TICK = 1.0
"""s between looks at the disk."""
SWEEP = 10.0
"""s between looks at what is to be deleted."""
DRAIN = 1.5
"""s that waiting frames may take when the recording is closed."""
PATIENCE = 2.8
"""s until a thread that hangs in the disk is left behind: its file is whole up to its last fragment."""
RETURN = 1.1
"""Share of the floor which must be free again before recording goes on: at the floor itself it would flicker."""
RETURN_BYTES = 64 * 2**20
"""The same where the floor is low or 0."""


class Recorder:
    """Records what is put into it. `put` and `status` from any thread, `close` once or more.

    Too little room on the disk ends the file, which stays playable, and is said in the status; recording goes on, in
    a file of its own, as soon as there is room. Any other failure of the output ends the recording for good.
    """

    def __init__(
        self,
        info: StreamInfo,
        settings: RecordSettings,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """Parameters as in `Reel`; free: bytes left where a folder is. Raises InputError, nothing is written then."""
        self._reel = Reel(info, settings, wall=wall, clock=clock)
        self._folder, self._min_free = settings.path.parent, settings.min_free
        self._clock, self._free = clock, free
        self._queue: queue.Queue[Frame | None] = queue.Queue(DEPTH)
        self._closing = threading.Event()
        self._deadline = 0.0
        self._lock = threading.Lock()  # of what status() reads
        self._status: dict[str, Any] = {"path": "", "seconds": 0.0, "bytes": 0, "free_bytes": None, "error": "",
                                        "frames": 0, "files": 0}  # fmt: skip
        self._drops: Counter[str] = Counter()
        self._newest: int | None = None
        self._error = ""
        self._is_over = self._waits_for_room = False
        self._ticked = self._swept = -float("inf")
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Hand a frame over, later than the one before. Never waits, never raises; what cannot be kept is counted."""
        if self._closing.is_set():
            return self._drop("recording closed")
        try:
            self._queue.put_nowait(frame)
        except queue.Full:
            self._drop("encoder too slow")
        return None

    def status(self) -> dict[str, Any]:
        """path of the newest file; seconds, bytes, frames, files of the whole recording; free_bytes; error; drops.

        About a second old, so that whoever asks never waits for a disk. free_bytes is None where it cannot be told,
        error is empty if all is well, drops maps a reason to its count.
        """
        with self._lock:
            return {**self._status, "drops": dict(self._drops)}

    def close(self) -> None:
        """Write what waits, finish the file. Returns within 3 s, also if the disk hangs."""
        if not self._closing.is_set():
            self._deadline = self._clock() + DRAIN
            self._closing.set()
            with suppress(queue.Full):
                self._queue.put_nowait(None)  # wakes the thread
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            log.warning("%s: the disk does not answer; the file is whole up to its last second", self._reel.path)

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except Exception as error:  # whatever it is, it must not end the line
            log.exception("the recording has failed")
            self._stop(f"{type(error).__name__}: {error}")
        self._cut()
        self._tell()

    def _step(self) -> bool:
        """Take a frame, or look after the disk; False when all is done."""
        try:
            frame = self._queue.get(timeout=TICK)
        except queue.Empty:
            frame = None
        if self._clock() - self._ticked >= TICK:
            self._ticked = self._clock()
            self._look_after_disk()
        if frame is not None:
            if self._closing.is_set() and self._clock() > self._deadline:
                self._drop("recording closed")
            else:
                self._record(frame)
        return not (self._closing.is_set() and self._queue.empty())

    def _record(self, frame: Frame) -> None:
        if self._is_over or self._waits_for_room:
            return self._drop("no room on the disk" if self._waits_for_room else "recording failed")
        if self._newest is not None and frame.pts <= self._newest:
            return self._drop("not later than the frame before")
        self._newest = frame.pts
        try:
            self._reel.write(frame)
        except OutputError as error:
            self._drop("no room on the disk" if _is_full(error) else "recording failed")
            self._failed(error)
        return None

    def _failed(self, error: OutputError) -> None:
        """An output that cannot be written on: wait for room if it is that, else stop for good."""
        if _is_full(error):
            self._wait_for_room(str(error))
        else:
            self._stop(str(error))
        self._cut()

    def _cut(self) -> None:
        """Finish the open file; a second failure of the disk adds nothing to the first."""
        try:
            self._reel.cut()
        except OutputError as error:
            if not (self._is_over or self._waits_for_room):
                self._failed(error)

    def _wait_for_room(self, why: str) -> None:
        self._waits_for_room = True
        self._error = f"{why}; recording goes on when {_megabytes(self._room_wanted)} are free"
        log.warning("recording stopped: %s", self._error)
        self._tell()

    def _stop(self, why: str) -> None:
        self._is_over, self._waits_for_room, self._error = True, False, f"recording stopped: {why}"
        log.error("%s", self._error)
        self._tell()

    @property
    def _room_wanted(self) -> int:
        return max(round(self._min_free * RETURN), self._min_free + RETURN_BYTES)

    def _look_after_disk(self) -> None:
        """Keep the floor free, go on when there is room again, delete what is too old, and tell how things stand."""
        try:
            room: int | None = self._free(self._folder)
        except OSError:
            room = None
        if room is not None and self._waits_for_room and room >= self._room_wanted:
            self._waits_for_room, self._error = False, ""
            log.warning("recording goes on: %s are free again", _megabytes(room))
        elif room is not None and not (self._waits_for_room or self._is_over) and room < self._min_free:
            floor = _megabytes(self._min_free)
            self._wait_for_room(f"{self._folder}: {_megabytes(room)} free, less than the {floor} to be left")
            self._cut()
        if self._clock() - self._swept >= SWEEP:
            self._swept = self._clock()
            self._reel.sweep()
        self._tell(room)

    def _tell(self, room: int | None = None) -> None:
        """Bring the status up to date."""
        reel = self._reel
        told = {
            "path": "" if reel.path is None else str(reel.path), "seconds": round(reel.seconds, 3),
            "bytes": reel.size, "error": self._error, "frames": reel.frames, "files": reel.files,
        }  # fmt: skip
        with self._lock:
            self._status.update(told if room is None else {**told, "free_bytes": room})

    def _drop(self, reason: str) -> None:
        with self._lock:
            self._drops[reason] += 1


def _is_full(error: OutputError) -> bool:
    """True for a disk without room; a quota or a limit on a file's size is not seen in what is free."""
    return getattr(error.__cause__, "errno", None) == errno.ENOSPC


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
