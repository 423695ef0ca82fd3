"""Small cameras for tests: bytes over TCP, MJPEG over HTTP, MPEG-TS over UDP, each in a thread of its own."""

import http.server
import socket
import threading
import time
from contextlib import contextmanager, suppress
from fractions import Fraction

import av
import cv2

from tests.pipeline.media import numbered

BOUNDARY = "frame"


@contextmanager
def tcp_server(give):
    """A server on 127.0.0.1, yields its port. give: called with each connection, which is closed after it."""
    listener, over = socket.create_server(("127.0.0.1", 0), backlog=64), threading.Event()
    listener.settimeout(0.05)

    def serve(client):
        with client, suppress(OSError):
            give(client, over)

    def accept():
        while not over.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=serve, args=(client,), name="sender", daemon=True).start()

    thread = threading.Thread(target=accept, name="sender", daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        thread.join()
        listener.close()


def silent(client, over):
    """Take what comes and never answer, for `tcp_server`."""
    over.wait(60)


def sender_of(data, *, then_wait=True, parts=1, pause=0.0):
    """For `tcp_server`: send some bytes in parts, then keep the connection open or end it."""

    def give(client, over):
        size = max(-(-len(data) // parts), 1)
        for start in range(0, len(data), size):
            client.sendall(data[start : start + size])
            if over.wait(pause):
                return
        if then_wait:
            over.wait(60)

    return give


@contextmanager
def mjpeg_server(pictures, *, rate=25):
    """MJPEG over HTTP on 127.0.0.1, yields the port. pictures: (H, W) uint8, again and again."""
    jpegs = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            self.end_headers()
            number = 0
            while not over.wait(1 / rate):
                data = jpegs[number % len(jpegs)]
                number += 1
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + data + b"\r\n")
                except OSError:
                    return

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def udp_camera(port, *, rate=25):
    """MPEG-TS by PyAV to a UDP port of 127.0.0.1, paced, until the context ends."""
    over = threading.Event()

    def send():
        with av.open(f"udp://127.0.0.1:{port}?pkt_size=1316", "w", format="mpegts") as container:
            options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            began = time.monotonic()
            for number, frame in enumerate(numbered(5000)):
                frame.pts, frame.time_base = number, Fraction(1, rate)
                container.mux(stream.encode(frame))
                if over.wait(max(began + number / rate - time.monotonic(), 0)):
                    return

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def free_port(kind=socket.SOCK_DGRAM):
    """A port of 127.0.0.1 that was free just now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(is_so, limit=30.0):
    """Wait until something is so; fails after some s, far more than a busy machine needs."""
    end = time.monotonic() + limit
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
