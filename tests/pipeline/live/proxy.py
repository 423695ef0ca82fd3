"""A TCP proxy for tests that does to a connection what networks do: stall, reset, drop, delay, on command."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import deque
from typing import Literal

Fault = Literal["none", "stall", "refuse"]

CHUNK = 65536
TICK = 0.02
"""s between looks at the commands."""


class Proxy:
    """Listens on 127.0.0.1 and passes bytes on to a target. A context manager; commands may come from any thread.

    `fault` acts on what is open and what comes: `none` passes, `stall` takes bytes and passes none on (a pulled
    cable, a frozen camera), `refuse` resets new connections at once. `delay` is s by which each byte comes later.
    """

    def __init__(self, target: int, *, port: int = 0) -> None:
        """target: port on 127.0.0.1. port: to listen on, 0 for a free one."""
        self.target = target
        """May be changed while running: new connections go there."""
        self.fault: Fault = "none"
        self.delay = 0.0
        self.connections = 0
        """Accepted so far."""
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self._listener.settimeout(TICK)
        self.port: int = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, str] = {}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Proxy:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in list(self._threads):
            thread.join(5)
        self._listener.close()

    def drop(self) -> None:
        """End every open connection in order (FIN), as a server that is shut down."""
        self._end("drop")

    def reset(self) -> None:
        """Break every open connection (RST), as a router that forgot it."""
        self._end("reset")

    @property
    def open_count(self) -> int:
        """Connections open now."""
        with self._lock:
            return len(self._open)

    def _end(self, how: str) -> None:
        with self._lock:
            self._open = dict.fromkeys(self._open, how)

    def _spawn(self, target, *arguments) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=target, args=arguments, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            if self.fault == "refuse":
                _close(client, is_reset=True)
                continue
            with self._lock:
                self._open[client] = ""
            self._spawn(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        """Both ways of one connection until a side ends or a command ends it."""
        server = None
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            self._pass_on(client, server)
        except OSError:
            pass
        finally:
            with self._lock:
                how = self._open.pop(client, "")
            for side in (client, server):
                if side is not None:
                    _close(side, is_reset=how == "reset")

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        waiting: deque[tuple[float, socket.socket, bytes]] = deque()  # due, to whom, what; b"" ends that side
        while not (self._over.is_set() or self._open[client]):
            readable, _, _ = select.select(list(other), [], [], TICK / 4 if waiting else TICK)
            for side in readable:
                data = side.recv(CHUNK)
                waiting.append((time.monotonic() + self.delay, other[side], data))
                if not data:
                    del other[side]
            while waiting and self.fault != "stall" and waiting[0][0] <= time.monotonic():
                _, side, data = waiting.popleft()
                if not data:
                    return
                side.sendall(data)
            if self.fault == "stall" and len(waiting) > 1000:
                waiting.clear()  # nobody minds: what stalled this long ends by a time-out


def _close(side: socket.socket, *, is_reset: bool) -> None:
    if is_reset:
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.close()
