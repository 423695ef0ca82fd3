"""A store on loopback that fails as real ones do: passes requests on to another, spoils some of them."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = str | None
"""`500`: an answer of the store's own trouble; `cut`: half of the body, then the end; `silent`: no answer at all."""


class Spoiler:
    """Listens on 127.0.0.1, passes HTTP on to a port there. A context manager.

    fault: of a request, by its number from 1, its method and its path; None passes it on.
    """

    def __init__(self, target: int, fault: Callable[[int, str, str], Fault]) -> None:
        self.fault = fault
        self.requests = 0
        self.spoilt = 0
        self.over = threading.Event()
        self._lock = threading.Lock()
        spoiler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ValueError):
                    self.close_connection = True

            def _pass_on(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                with spoiler._lock:
                    spoiler.requests += 1
                    number = spoiler.requests
                fault = spoiler.fault(number, self.command, self.path)
                with spoiler._lock:
                    spoiler.spoilt += fault is not None
                if fault == "silent":
                    spoiler.over.wait(30)
                    self.close_connection = True
                elif fault == "500":
                    self._answer(500, [("Content-Type", "text/plain")], b"We encountered an internal error.", 1)
                else:
                    link = http.client.HTTPConnection("127.0.0.1", target, timeout=20)
                    link.request(self.command, self.path, body, dict(self.headers))
                    answer = link.getresponse()
                    data = answer.read()
                    self._answer(answer.status, answer.getheaders(), data, 2 if fault == "cut" else 1)
                    link.close()

            def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, share: int) -> None:
                self.send_response_only(status)
                dropped = {"content-length", "transfer-encoding", "connection"}
                told = next((value for name, value in headers if name.lower() == "content-length"), len(data))
                for name, value in headers:
                    if name.lower() not in dropped:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(told if self.command == "HEAD" else len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[: len(data) // share])
                if share > 1:
                    self.close_connection = True

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815  # names that http.server asks for

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def __enter__(self) -> Spoiler:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
