"""What the page's server answers: fixed routes, no path of a client's ever opened."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pipeline.live.status import VIEWS, LiveStatus
from pipeline.preview.door import Door
from pipeline.preview.guard import MAX_BODY, Guard
from pipeline.preview.hub import Hub
from pipeline.preview.metrics import CONTENT_TYPE, Metrics
from pipeline.preview.press import PressError
from pipeline.preview.stream import Stream

FRESH = 2.0
"""s: a source whose last frame is older is not ready."""
BODY_PATIENCE = 5.0
"""s that the body of a request may take."""
ASSETS = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/stream.js": ("stream.js", "text/javascript"),
    "/charts.js": ("charts.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The page's files, read once at the start."""


class Page:
    """The routes, over one hub."""

    def __init__(self, hub: Hub, guard: Guard, viewers: int) -> None:
        self._hub, self._guard, self._limit = hub, guard, viewers
        self._metrics = Metrics(hub)
        self._snapshots = asyncio.Semaphore(1)  # a PNG of 4K takes half a second of a core
        folder = files("pipeline.preview") / "page"
        self._assets = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in ASSETS.items()}

    def routes(self) -> list[Route]:
        """All there is; any other path is 404."""
        return [
            *(Route(path, self.asset) for path in ASSETS),
            Route("/stream", self.stream),
            Route("/stats.json", self.stats),
            Route("/metrics", self.metrics),
            Route("/healthz", self.alive),
            Route("/readyz", self.ready),
            Route("/session", self.session, methods=["POST"]),
            Route("/controls", self.controls, methods=["POST"]),
            Route("/snapshot", self.snapshot, methods=["POST"]),
        ]

    async def asset(self, request: Request) -> Response:
        """A file of the page. Where looking is free, the page gets the token with which it may change things."""
        data, kind = self._assets[request.url.path]
        cookie = {"set-cookie": self._guard.set_cookie()} if self._guard.is_open and kind == "text/html" else {}
        return Response(data, media_type=kind, headers=cookie)

    async def stream(self, request: Request) -> Any:
        """The pictures, as MJPEG, for at most so many viewers."""
        if self._hub.viewers >= self._limit:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"{self._limit} viewers are watching, which is all")
        return Stream(self._hub)

    async def stats(self, request: Request) -> Response:
        """The run and its controls, for the page and for scripts."""
        status = self._hub.status()
        return JSONResponse({
            "now": self._hub.clock(),
            "status": status.to_json(),
            "controls": asdict(self._hub.panel.controls),
            "choices": {"view": VIEWS, "palette": self._hub.panel.palettes},
            "published": self._hub.published,
            "viewers": self._hub.viewers,
            "viewer_limit": self._limit,
            "missing": _missing(status, self._hub.clock()),
        })  # fmt: skip

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def alive(self, request: Request) -> Response:
        """200 as long as there is a run."""
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """200 while both sources give frames, else 503 with the names of those that do not."""
        missing = _missing(self._hub.status(), self._hub.clock())
        if missing:
            return PlainTextResponse(f"no fresh frame: {', '.join(missing)}\n", HTTPStatus.SERVICE_UNAVAILABLE)
        return PlainTextResponse("ready\n")

    async def session(self, request: Request) -> Response:
        """Takes the token from the page's address and gives it back as a cookie."""
        token = (await _json(request)).get("token")
        if not isinstance(token, str) or not self._guard.knows(token):
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "this is not the token")
        return Response(status_code=204, headers={"set-cookie": self._guard.set_cookie()})

    async def controls(self, request: Request) -> Response:
        """Changes some controls; answers with all of them, or with 400 and what is wrong."""
        changes = await _json(request)
        try:
            return JSONResponse(asdict(self._hub.panel.change(**changes)))
        except ValueError as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from error

    async def snapshot(self, request: Request) -> Response:
        """The newest picture as a PNG to download; nothing is stored here."""
        async with self._snapshots:
            try:
                data = await asyncio.to_thread(self._hub.snapshot)
            except PressError as error:
                raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        if data is None:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "there is no picture yet")
        name = f"crotalus-{datetime.now():%Y%m%d-%H%M%S-%f}.png"
        return Response(data, 200, {"content-disposition": f'attachment; filename="{name}"'}, "image/png")


def make_app(hub: Hub, guard: Guard, *, viewers: int) -> ASGIApp:
    """The whole server but the socket. viewers: how many may have the stream open."""
    app = Starlette(routes=Page(hub, guard, viewers).routes())
    app.router.redirect_slashes = False
    return Door(app, guard)


def _missing(status: LiveStatus, now: float) -> list[str]:
    """Names of the sources that give no frames, or no fresh ones."""

    def is_fresh(name: str) -> bool:
        camera = status.cameras.get(name)
        is_running = camera is not None and camera.state == "running" and camera.last_frame is not None
        return is_running and now - camera.last_frame <= FRESH  # type: ignore[union-attr, operator]

    return [name for name in ("ir", "vis") if not is_fresh(name)]


async def _json(request: Request) -> dict[str, Any]:
    """The object in a request's body; an error of the client's is 400, 408 or 413."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            async for chunk in request.stream():
                data += chunk
                if len(data) > MAX_BODY:  # a chunked body states no length beforehand
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY} bytes")
        value = json.loads(data)
    except TimeoutError as error:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the body did not come") from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
    return value
