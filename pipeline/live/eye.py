"""A camera with somebody who looks at its pictures: what the health of a picture tells is said and in the status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from pipeline.live.health import PictureHealth
from pipeline.live.status import CameraStatus, LiveFrame

MAX_NOTES = 8
"""Of the picture's health, the newest of them kept."""


class LiveCamera(Protocol):
    """What the line needs of a camera, see `camera.Camera`."""

    def start(self) -> None:
        """Begin to connect; returns at once."""
        ...

    def take(self, timeout: float) -> LiveFrame | None:
        """The next frame, or None after `timeout` s or when there will be none any more."""
        ...

    def status(self) -> CameraStatus:
        """How it stands; any thread."""
        ...

    def close(self) -> None: ...


class Eye:
    """A camera as `LiveCamera`, its pictures looked at as they are taken."""

    def __init__(self, camera: LiveCamera, name: str, say: Callable[[str], None]) -> None:
        self._camera, self._name, self._say = camera, name, say
        is_recording = camera.status().label.startswith("file:")
        self._health = PictureHealth(has_shutter=name == "ir", is_recording=is_recording)
        self._notes: tuple[str, ...] = ()
        self.start, self.close = camera.start, camera.close

    def take(self, timeout: float) -> LiveFrame | None:
        """See `LiveCamera`."""
        frame = self._camera.take(timeout)
        if frame is not None:
            for note in self._health.look(frame.frame.luma, frame.captured):
                self._notes = (*self._notes, note)[-MAX_NOTES:]
                self._say(f"{self._name}: {note}")
        return frame

    def status(self) -> CameraStatus:
        """See `LiveCamera`; with the notes of the picture's health."""
        status = self._camera.status()
        return replace(status, notes=status.notes + self._notes) if self._notes else status
