"""uvicorn with bounds of our own: how many connections, how long one may keep silent, how soon it all ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 128
"""Open at once, whatever they do: each is a file descriptor that a camera or a recording may need."""
SILENCE = 10.0
"""s within which an open connection must have sent a whole request, and again after each."""
GRACE = 0.4
"""s that answers under way get at the end."""


class Connection(H11Protocol):
    """One client. What keeps silent is cut off, as uvicorn waits for the first request for ever."""

    silence = SILENCE
    limit = MAX_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio. The application is given a way to cut the connection off: `scope["state"]["abort"]`."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        self._seen: Any = None
        self._look_again = self.loop.call_later(self.silence, self._look)
        if len(self.connections) > self.limit:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._look_again.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Cut off what has begun no request since the last look."""
        if self.cycle is self._seen and (self.cycle is None or self.cycle.response_complete):
            self.transport.abort()
            return
        self._seen = self.cycle
        self._look_again = self.loop.call_later(self.silence, self._look)


class WebServer(uvicorn.Server):
    """Serves an application from a listening socket until `should_exit`; leaves no task and no connection behind."""

    def __init__(self, app: ASGIApp, on_start: Callable[[], None]) -> None:
        super().__init__(uvicorn.Config(
            app, http=Connection, loop="asyncio", ws="none", lifespan="off", log_config=None, log_level="critical",
            access_log=False, server_header=False, proxy_headers=False, h11_max_incomplete_event_size=16 * 1024,
            timeout_graceful_shutdown=GRACE,  # type: ignore[arg-type]  # goes to asyncio.wait_for
        ))  # fmt: skip
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn. Then cut off whoever is left: a viewer that does not read would be waited for."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if tasks := list(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=GRACE)
