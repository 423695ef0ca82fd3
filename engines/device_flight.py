"""Pairs on their way through a `DeviceFuser`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from engines.device_slot import SLOTS, Slot
from engines.onnx_cpu import check_inputs

if TYPE_CHECKING:
    from engines.base import Luma, Picture
    from engines.device_fuser import DeviceFuser
    from engines.device_picture import Onto


class DeviceFlight:
    """See `Flight`. A pair of another size is let in when all before it are done."""

    depth = SLOTS

    def __init__(self, fuser: DeviceFuser, *, follows: bool, onto: Onto | None = None) -> None:
        """See `Fuser.start`. onto: how fused pictures are to lie in the device's memory; None: arrays come out."""
        self._fuser, self._follows, self._onto = fuser, follows, onto
        self._waiting: deque[Slot | Luma] = deque()
        self._turn = 0

    def put(self, ir: Picture, vis: Picture) -> None:
        """See `Flight`. Raises DeviceError, DeviceMemoryError."""
        fuser = self._check()
        check_inputs(ir, vis)
        if len(ir.shape) != 2:
            raise ValueError(f"a flight takes one pair at a time, (H, W); given {ir.shape}")
        if len(self._waiting) == SLOTS:
            raise ValueError(f"{SLOTS} pairs are under way and no more can be; get one first")
        if ir.shape != fuser._size:
            self._waiting = deque(self._fetched(each) for each in self._waiting)
            fuser._settle()
            fuser._resize(ir.shape)
        slot = fuser._slots[self._turn % SLOTS]
        fuser._put(ir, vis, slot, follows=self._follows, onto=self._onto)
        self._waiting.append(slot)
        self._turn += 1

    def get(self) -> Luma:
        """See `Flight`. Raises DeviceError."""
        self._check()
        if not self._waiting:
            raise ValueError("no pair is under way; put one first")
        return self._fetched(self._waiting.popleft())

    def _fetched(self, waiting: Slot | Luma) -> Luma:
        return self._fuser._get(waiting) if isinstance(waiting, Slot) else waiting

    def _check(self) -> DeviceFuser:
        if self._fuser._is_closed:
            raise ValueError("this fuser is closed; open another")
        if self._fuser._flight is not self:
            raise ValueError("this flight is over, as another, fuse or fuse_next has begun; start one")
        return self._fuser
