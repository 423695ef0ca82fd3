"""What every request passes on its way in and every answer on its way out: the guard's rules, the guard's headers."""

from __future__ import annotations

import logging
import traceback

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.live.login import redact
from pipeline.preview.guard import HEADERS, Guard

log = logging.getLogger(__name__)


class Door:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Only HTTP is let in."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._app
        refusal = self._guard.refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is not None:
            status, reason = refusal
            bearer = {"www-authenticate": "Bearer"} if status == 401 else {}
            answer = PlainTextResponse(f"{reason}\n", status, {"connection": "close", **bearer})
        try:
            await answer(scope, receive, send_with_headers)
        except Exception:  # starlette has answered 500
            where, what = f"{scope['method']} {scope['path']!r}", redact(traceback.format_exc())
            log.error("preview: %s failed: %s", where, what)  # no query and no header: they hold secrets
