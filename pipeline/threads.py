"""The threads at the two ends of the line: one that reads ahead, one that writes behind, and what stops them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType

from pipeline.frames import Frame, Sink
from pipeline.stats import Stats

DEPTH = 4
"""Frames that may wait at each end; two or three 1080p frames more in memory, and a stall of a disk is hidden."""
POLL = 0.1
"""s between looks at the rest of the line while waiting on a queue."""
PATIENCE = 5.0
"""s that a reader gets to finish the frame at hand when the run ends."""


class Line:
    """What the ends share: whether to stop, and the first error of any thread."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.stop = stop or threading.Event()
        """Set from outside (Ctrl-C): finish what is under way and end well."""
        self.over = threading.Event()
        """Set when the line has ended, for whatever reason."""
        self.error: BaseException | None = None
        self.waited = 0.0
        """s that the middle of the line has waited for frames."""

    def fail(self, error: BaseException) -> None:
        """Note an error of a thread; the first one counts."""
        if self.error is None:
            self.error = error

    def check(self) -> None:
        """Raise the error that ended another part of the line."""
        if self.error is not None:
            raise self.error


class ReadAhead:
    """Frames of an iterator, made by a thread up to `DEPTH` frames ahead. An error there is raised here at once."""

    def __init__(self, frames: Iterator[Frame], stage: str, line: Line, stats: Stats) -> None:
        self._line = line
        self._queue: queue.Queue[Frame | None] = queue.Queue(DEPTH)
        self._frames = stats.timed_items(stage, frames)
        self._clock = stats.clock
        self._thread = threading.Thread(target=self._read, name=stage, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        began = self._clock()
        try:
            item = self._get()
        finally:
            self._line.waited += self._clock() - began
        if item is None:
            raise StopIteration
        return item

    def close(self) -> None:
        """Wait until the thread has let go of its source. The line must be over."""
        self._thread.join(PATIENCE)

    def _get(self) -> Frame | None:
        while True:
            self._line.check()
            if self._line.stop.is_set():
                return None
            try:
                return self._queue.get(timeout=POLL)
            except queue.Empty:
                continue

    def _read(self) -> None:
        try:
            for frame in self._frames:
                if not _put(self._queue, frame, self._line):
                    return
            _put(self._queue, None, self._line)
        except BaseException as error:  # crosses over to the thread that runs the line
            self._line.fail(error)


class WriteBehind:
    """A sink fed through a queue by a thread of its own. Leaving the context writes what waits and closes the file."""

    def __init__(self, sink: Sink, line: Line, stats: Stats) -> None:
        self._sink, self._line, self._stats = sink, line, stats
        self._queue: queue.Queue[Frame | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._write, name="write", daemon=True)

    def __enter__(self) -> WriteBehind:
        self._thread.start()
        return self

    def put(self, frame: Frame) -> None:
        """Hand a frame over, waiting while the queue is full. Raises the error of any failed thread."""
        while True:
            self._line.check()
            try:
                return self._queue.put(frame, timeout=POLL)
            except queue.Full:
                continue

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Finish the file. An error of the writer is raised unless another one is already on its way."""
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=POLL)
                break
            except queue.Full:
                continue
        self._thread.join()
        self._line.over.set()
        if error is None:
            self._line.check()

    def _write(self) -> None:
        try:
            while (frame := self._queue.get()) is not None:
                with self._stats.timed("write"):
                    self._sink.write(frame)
        except BaseException as error:  # crosses over to the thread that runs the line
            self._line.fail(error)
        finally:
            self._close()

    def _close(self) -> None:
        try:
            self._sink.close()
            self._stats.ended = self._stats.clock()
        except BaseException as error:  # crosses over to the thread that runs the line
            self._line.fail(error)


def _put(waiting: queue.Queue[Frame | None], item: Frame | None, line: Line) -> bool:
    """False if the line ended before there was room."""
    while not (line.over.is_set() or line.stop.is_set() or line.error is not None):
        try:
            waiting.put(item, timeout=POLL)
            return True
        except queue.Full:
            continue
    return False
