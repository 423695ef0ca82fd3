"""The one function that opens a live source: a camera, or a file played as one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from pipeline.live.address import Address
from pipeline.live.capture import Capture
from pipeline.live.playback import Epoch, Playback
from pipeline.live.shots import OnOdd, Shots


def open_shots(
    address: Address,
    *,
    clock: Callable[[], float],
    epoch: Epoch | None,
    wait: Callable[[float], bool],
    on_odd: OnOdd,
) -> AbstractContextManager[Shots]:
    """The opened source of an address. Raises SourceLostError and SourceRefusedError."""
    if address.kind == "file":
        return Playback(address, clock=clock, epoch=epoch, wait=wait, on_odd=on_odd)
    return Capture(address, clock=clock, on_odd=on_odd)
