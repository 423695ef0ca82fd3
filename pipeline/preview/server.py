"""The preview server: one thread, started when a page is wanted, gone within a second when it is not."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING, Self

from pipeline.frames import InputError
from pipeline.preview.bind import Bind, address_of, listen, parse_bind
from pipeline.preview.guard import Guard, make_guard
from pipeline.preview.hub import Hub

if TYPE_CHECKING:
    from pipeline.preview.connection import WebServer

log = logging.getLogger(__name__)

VIEWERS = 16
"""Streams at once: at 40 KB a picture and 25 a second they are 16 MB/s."""
START = 10.0
"""s the server gets to start; loading the libraries is done before."""
END = 2.0
"""s after which a server that does not end is left to itself: its thread does not keep the process."""


class Preview:
    """A running server. Any thread may close it."""

    def __init__(self, hub: Hub, guard: Guard, listener: socket.socket, server: WebServer, name: str) -> None:
        """name: of the host, as it was given. See `open_preview`."""
        self.guard = guard
        self.hub = hub
        host, self.port = address_of(listener)
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else name
        bare = f"http://{Bind(shown, self.port)}/"
        self.url = bare if guard.is_open else f"{bare}#token={guard.token}"
        """Where the page is. Holds the token where one is needed: behind `#`, so that no server or log sees it."""
        self._server = server
        self._thread = threading.Thread(target=self._run, args=(listener,), name="preview server", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all streams, the hub and the server; may be called twice."""
        self.hub.close()
        self._server.should_exit = True
        self._thread.join(END)
        if self._thread.is_alive():
            log.warning("preview: the server does not end; left to itself")

    def _run(self, listener: socket.socket) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[listener]))
        except Exception:
            log.exception("preview: the page is gone; the run goes on")
        finally:
            listener.close()


def open_preview(
    address: str | Bind, hub: Hub, *, token: str | None = None, viewers: int = VIEWERS, hosts: tuple[str, ...] = ()
) -> Preview:
    """Serve the page of a hub at HOST:PORT; it listens when this returns.

    token: needed to see anything if given; made anew if the address is not a loopback one. hosts: further names
    under which the page may be asked for (behind a proxy). Raises InputError: the libraries are not installed, the
    address is not free or not ours, the token is too short.
    """
    bind = parse_bind(address) if isinstance(address, str) else address
    if bind is None:
        raise InputError(f"preview {address!r}: there is nothing to open")
    try:
        from pipeline.preview.app import make_app
        from pipeline.preview.connection import WebServer
    except ImportError as error:
        fix = "pip install 'crotalus[live]', or pass --preview off"
        raise InputError(f"preview: the page needs {error.name}, which is not installed; {fix}") from error
    listener = listen(bind)
    try:
        guard = make_guard(*address_of(listener), token, (bind.host, *hosts))
    except InputError:
        listener.close()
        raise
    started = threading.Event()
    preview = Preview(hub, guard, listener, WebServer(make_app(hub, guard, viewers=viewers), started.set), bind.host)
    if not started.wait(START):
        preview.close()
        raise InputError(f"preview {bind}: the server has not started within {START:g} s; try again, or pass off")
    return preview
