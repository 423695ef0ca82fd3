"""The recording of a live run, switched on and off while it goes: each time on is a file, or a row of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from engines.base import CrotalusError
from pipeline.frames import Frame, StreamInfo
from pipeline.live.recorder import Recorder, RecordSettings
from pipeline.live.retention import segment_path

log = logging.getLogger(__name__)

PATIENCE = 3.0
"""s that files under way may take to be finished."""


class Tape:
    """Records while it is told to. `put` and `close` from one thread, `status` from any."""

    def __init__(
        self,
        settings: RecordSettings | None,
        *,
        say: Callable[[str], None] = log.warning,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """settings: None for a run that cannot record. Raises InputError for settings that cannot be used."""
        self._settings, self._say, self._wall = settings, say, wall
        self._recorder: Recorder | None = None
        self._final: dict[str, Any] | None = None
        self._is_on = False
        self._files = 0
        self._finishing: list[threading.Thread] = []
        if settings is not None:  # now, not when the cameras are there; without a frame it writes nothing
            Recorder(StreamInfo("check", 64, 64, Fraction(1, 1_000_000)), settings).close()

    def put(self, frame: Frame, info: StreamInfo, *, is_on: bool) -> None:
        """Record the frame if the recording is to be on. Never waits and never raises."""
        if is_on != self._is_on:
            self._is_on = is_on
            self._end()
            if is_on:
                self._begin(info)
        if self._recorder is not None:
            self._recorder.put(frame)

    def status(self) -> dict[str, Any] | None:
        """See `Recorder.status`; None while nothing is recorded. After `close`, of the last recording."""
        recorder = self._recorder
        return self._final if recorder is None else recorder.status()

    def close(self) -> None:
        """Finish the files."""
        last = self._recorder
        self._end()
        until = time.monotonic() + PATIENCE
        for thread in self._finishing:
            thread.join(max(0.0, until - time.monotonic()))
        if last is not None:
            self._final = last.status()

    def _begin(self, info: StreamInfo) -> None:
        if self._settings is None:
            self._say("nothing is recorded: this run has no --record OUT")
            return
        settings = self._settings
        if self._files and settings.segment is None:  # a file of its own each time; segments have names of their own
            settings = replace(settings, path=segment_path(settings.path, self._wall()))
        try:
            self._recorder = Recorder(info, settings)
        except CrotalusError as error:
            self._say(f"nothing is recorded: {error}")
            return
        self._files += 1

    def _end(self) -> None:
        """Have the file finished by a thread: that may take the disk a while, and the line goes on."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            thread = threading.Thread(target=self._finish, args=(recorder,), name="finish recording", daemon=True)
            thread.start()
            self._finishing = [one for one in self._finishing if one.is_alive()] + [thread]

    def _finish(self, recorder: Recorder) -> None:
        recorder.close()
        status = recorder.status()
        lost = "".join(f", {count} frames lost ({reason})" for reason, count in status["drops"].items())
        self._say(f"recorded {status['seconds']:.1f} s, {status['bytes'] / 1e6:.1f} MB: {status['path']}{lost}")
