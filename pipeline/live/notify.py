"""What a service manager is told: ready, alive, stopping. The protocol of sd_notify(3), which is one datagram each."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)


class Notifier:
    """Speaks to systemd where it listens, and to nobody elsewhere. Any thread; never waits, never raises."""

    def __init__(
        self, environment: Mapping[str, str] = os.environ, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """environment: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked for."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self.interval = _watchdog(environment) / 2
        """s after which `alive` speaks again: half of what systemd waits; 0 without a watchdog."""
        self._next = -float("inf")

    def ready(self) -> None:
        """The run has begun. What waits for the service (After=) may start."""
        self._send("READY=1")

    def alive(self) -> None:
        """The line turns. Call it as often as it does; systemd restarts the service when it stays away."""
        now = self._clock()
        if self.interval and now >= self._next:
            self._next = now + self.interval
            self._send("WATCHDOG=1")

    def status(self, line: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={' '.join(line.splitlines())}")

    def stopping(self) -> None:
        """The run ends by itself or by a signal."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address  # abstract namespace
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), address)
        except OSError as error:
            log.debug("systemd is not told %s: %s", text, error)


def _watchdog(environment: Mapping[str, str]) -> float:
    """s after which systemd takes this process for stuck; 0 if it does not watch it."""
    microseconds, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    is_for_us = not process or process == str(os.getpid())
    return int(microseconds) / 1e6 if microseconds.isdecimal() and is_for_us else 0.0
