"""A browser without a window: one request a time to a server on this machine, cookies kept."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass


@dataclass
class Answer:
    status_code: int
    headers: dict
    content: bytes

    @property
    def text(self):
        return self.content.decode()

    def json(self):
        return json.loads(self.content)


class Client:
    def __init__(self, port):
        self._port, self._cookies = port, {}

    def request(self, method, path, *, json=None, content=None, headers=None):
        """content: bytes, or an iterator of them, which goes out in chunks without a length."""
        body = _dump(json) if json is not None else content
        cookies = {"cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request(method, path, body, {**(cookies if self._cookies else {}), **(headers or {})})
            answer = connection.getresponse()
            found = Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()
        if "set-cookie" in found.headers:
            name, _, value = found.headers["set-cookie"].partition(";")[0].partition("=")
            self._cookies[name] = value
        return found

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)


def _dump(value):
    return json.dumps(value).encode()
