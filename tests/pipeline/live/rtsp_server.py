"""A real RTSP server for tests: GStreamer's, in a process of its own under the system's Python, looping H.264 files.

As a module: `RtspServer`, which starts this very file as a script. As a script it needs Debian's python3-gi and
gir1.2-gst-rtsp-server-1.0, which live in the system's Python only, and takes nothing from the project.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's own, the only one that sees the packages of GObject."""
READY_IN = 20.0
"""s to wait for the server's first line; it takes 0.3 s on two free cores."""


def why_not() -> str:
    """Why no server can be started here; empty if one can."""
    try:
        check = [SYSTEM_PYTHON, __file__, "--check"]
        done = subprocess.run(check, capture_output=True, text=True, timeout=60)
    except OSError as error:
        return f"{SYSTEM_PYTHON}: {error.strerror}"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


class RtspServer:
    """A server on 127.0.0.1 that plays H.264 files in a loop, each under its own path. A context manager."""

    def __init__(
        self, files: dict[str, Path], *, port: int = 0, user: str = "", password: str = "", digest: bool = False
    ) -> None:
        """files: path below the address, e.g. `ir`, to an MP4. port: 0 for a free one. user: asks for this login."""
        self._wish = {
            "files": {path: os.fspath(file) for path, file in files.items()},
            "user": user,
            "password": password,
            "digest": digest,
        }
        self.port = port
        """The port it listens on; known once it has started."""
        self._process: subprocess.Popen[str] | None = None

    def url(self, path: str) -> str:
        """The address of a path, without a login."""
        return f"rtsp://127.0.0.1:{self.port}/{path}"

    def start(self) -> RtspServer:
        """Start the process and wait until it listens. Raises RuntimeError if it does not."""
        command = [SYSTEM_PYTHON, __file__, json.dumps(self._wish | {"port": self.port})]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, text=True, **pipes)
        killer = threading.Timer(READY_IN, self._process.kill)
        killer.start()
        line = self._process.stdout.readline() if self._process.stdout else ""
        killer.cancel()
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"no RTSP server: {line.strip() or why_not() or 'it ended'}")
        self.port = int(line.split()[1])
        return self

    def kill(self) -> None:
        """End the process at once, as a camera that loses its power. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()

    def __enter__(self) -> RtspServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


def _serve(wish: dict) -> None:  # pragma: no cover  # in the other process
    """Play until stdin closes: no server outlives its test."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstApp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstApp, GstRtspServer  # noqa: F401  # GstApp gives appsrc its methods

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(wish["port"]))
    if wish["user"]:
        _ask_for_login(server, GstRtspServer, wish)
    for path, file in wish["files"].items():
        units = _access_units(Gst, file)
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch("( appsrc name=units ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )")
        factory.set_shared(True)
        factory.connect("media-configure", lambda _, media, units=units: _feed(Gst, media, units))
        if wish["user"]:
            _only_for_login(factory, GstRtspServer)
        server.get_mount_points().add_factory(f"/{path}", factory)
    loop = GLib.MainLoop()
    server.attach(None)
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    print("ready", server.get_bound_port(), flush=True)
    loop.run()


def _access_units(gst, file: str) -> list[tuple[bytes, int, int, bool]]:  # pragma: no cover
    """The pictures of an MP4 in the order they are decoded: bytes, pts and dts in ns, whether one can start there."""
    caps = "video/x-h264,stream-format=byte-stream,alignment=au"
    line = f'filesrc location="{file}" ! qtdemux ! h264parse config-interval=-1 ! {caps} ! appsink name=out sync=false'
    pipeline = gst.parse_launch(line)
    pipeline.set_state(gst.State.PLAYING)
    units = []
    while (sample := pipeline.get_by_name("out").emit("pull-sample")) is not None:
        buffer = sample.get_buffer()
        is_delta = bool(buffer.get_flags() & gst.BufferFlags.DELTA_UNIT)
        units.append((buffer.extract_dup(0, buffer.get_size()), buffer.pts, buffer.dts, not is_delta))
    pipeline.set_state(gst.State.NULL)
    return units


def _feed(gst, media, units) -> None:  # pragma: no cover
    """Give a client's pipeline the pictures for ever, with time stamps that go on over the seam."""
    source = media.get_element().get_child_by_name("units")
    source.set_property("caps", gst.Caps.from_string("video/x-h264,stream-format=byte-stream,alignment=au"))
    source.set_property("format", gst.Format.TIME)
    source.set_property("max-bytes", 1)  # ask for the next picture when the last has gone
    step = (units[-1][2] - units[0][2]) // max(len(units) - 1, 1)
    numbers = itertools.count()

    def push(source, _length) -> None:
        lap, number = divmod(next(numbers), len(units))
        data, pts, dts, can_start = units[number]
        buffer = gst.Buffer.new_wrapped(data)
        seam = lap * step * len(units) - min(units[0][2], 0)
        buffer.pts, buffer.dts = pts + seam, dts + seam
        if not can_start:
            buffer.set_flags(gst.BufferFlags.DELTA_UNIT)
        source.emit("push-buffer", buffer)

    source.connect("need-data", push)


def _ask_for_login(server, library, wish) -> None:  # pragma: no cover
    auth, token = library.RTSPAuth.new(), library.RTSPToken()
    token.set_string(library.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
    if wish["digest"]:
        from gi.repository import GstRtsp

        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(wish["user"], wish["password"], token)
    else:
        auth.add_basic(library.RTSPAuth.make_basic(wish["user"], wish["password"]), token)
    server.set_auth(auth)


def _only_for_login(factory, library) -> None:  # pragma: no cover
    permissions = library.RTSPPermissions()
    permissions.add_permission_for_role("viewer", library.RTSP_PERM_MEDIA_FACTORY_ACCESS, True)
    permissions.add_permission_for_role("viewer", library.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, True)
    factory.set_permissions(permissions)


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        import gi

        for name in ("Gst", "GstApp", "GstRtspServer"):
            gi.require_version(name, "1.0")
        from gi.repository import Gst

        Gst.init(None)
        lacking = [
            name for name in ("qtdemux", "h264parse", "rtph264pay", "appsrc") if not Gst.ElementFactory.find(name)
        ]
        sys.exit(f"GStreamer lacks {' '.join(lacking)}" if lacking else 0)
    _serve(json.loads(sys.argv[1]))
