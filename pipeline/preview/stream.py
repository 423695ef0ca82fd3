"""The stream of one viewer: MJPEG over HTTP, the newest picture whenever the viewer has taken the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from pipeline.preview.hub import Hub, Picture

BOUNDARY = b"picture"
PATIENCE = 10.0
"""s that a viewer may take over one picture before it is let go."""


class Stream:
    """An ASGI response that lasts until the viewer leaves, the run ends, or the viewer takes nothing any more."""

    patience = PATIENCE

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. A viewer that is too slow is cut off: closing politely would wait for it to read."""
        kind = b"multipart/x-mixed-replace; boundary=" + BOUNDARY
        try:
            await self._say(send, {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
            if scope["method"] != "HEAD":
                await self._show(receive, send)
            await self._say(send, {"type": "http.response.body", "body": b""})
        except TimeoutError:
            scope.get("state", {}).get("abort", _nothing)()

    async def _show(self, receive: Receive, send: Send) -> None:
        news, loop = asyncio.Event(), asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(news.set)

        gone = asyncio.create_task(_leaving(receive))
        gone.add_done_callback(lambda _: news.set())
        seat = self._hub.watch(wake)
        shown = 0
        try:
            await self._say(send, _body(b"--" + BOUNDARY + b"\r\n"))
            news.set()  # there may be a picture already
            while True:
                await news.wait()
                news.clear()
                if gone.done() or self._hub.is_closed:
                    return
                picture = self._hub.picture
                if picture is not None and picture.number != shown:
                    shown = picture.number
                    await self._say(send, _body(part(picture)))
        finally:
            self._hub.leave(seat)
            gone.cancel()
            await asyncio.wait([gone])

    async def _say(self, send: Send, message: Message) -> None:
        async with asyncio.timeout(self.patience):
            await send(message)


def part(picture: Picture) -> bytes:
    """One part of the multipart stream, and the boundary after it: browsers show a part once they see its end."""
    head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture.jpeg)
    return head + picture.jpeg + b"\r\n--" + BOUNDARY + b"\r\n"


async def _leaving(receive: Receive) -> None:
    """Returns once the viewer has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}


_nothing: Callable[[], None] = lambda: None  # noqa: E731
