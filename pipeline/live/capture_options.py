"""What FFmpeg is told when a live address is opened: the transport, the device's format, and not to dawdle."""

from __future__ import annotations

from pipeline.live.address import Address
from pipeline.live.address_options import PIXELS

PROBE = 1_500_000
"""us of stream that may be read to learn its sizes. Less than a key frame's distance is fine: decoding finds them."""
UDP_BUFFER = 4_194_304
"""Bytes the kernel may hold: a key frame of 4K at once, where the default of 200 kB loses its end."""
REORDER = 200_000
"""us that RTP over UDP waits for a packet out of order."""
_PROTOCOLS = {  # no answer of a camera may send us to our own files
    "rtsp": "rtsp,rtsps,rtp,udp,tcp,tls,crypto,http,https,httpproxy",
    "http": "http,https,tcp,tls,crypto,httpproxy",
    "udp": "udp",
    "tcp": "tcp",
}


def ffmpeg_options(address: Address) -> tuple[str, str | None, dict[str, str]]:
    """What av.open is given for an address: the file, the format or None, the options."""
    options = {"analyzeduration": str(PROBE), "fpsprobesize": "0"}  # no waiting for frames to guess a rate from
    if address.kind in _PROTOCOLS:
        options["protocol_whitelist"] = _PROTOCOLS[address.kind]
    if address.kind == "rtsp":
        options |= {"rtsp_transport": address.transport, "allowed_media_types": "video"}
        if address.transport == "udp":
            options |= {"max_delay": str(REORDER), "buffer_size": str(UDP_BUFFER)}
    if address.kind == "udp":
        options |= {"buffer_size": str(UDP_BUFFER), "overrun_nonfatal": "1"}
    if address.kind != "v4l2":
        return address.url, None, options
    if address.fmt:
        options["input_format"] = PIXELS[address.fmt]
    if address.size:
        options["video_size"] = f"{address.size[0]}x{address.size[1]}"
    if address.fps:
        options["framerate"] = str(address.fps)
    return address.url, "v4l2", options
