"""The fuser of every GPU runtime: pairs go up, are fused and come down side by side, three at a time.

A pair's way: the caller's arrays -> pinned memory -> (upload stream) planes on the device -> (compute stream) one
CUDA graph: unit, encoders, rules, decoder, bytes -> (download stream) pinned memory -> an array of the caller's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import cast

import numpy as np

from engines import launches
from engines.base import CrotalusError, Luma, Picture, StreamState
from engines.device import Device, DeviceMemoryError, Recording
from engines.device_ends import Ends
from engines.device_flight import DeviceFlight
from engines.device_network import DeviceNetwork, Tensors
from engines.device_picture import Levels, Onto
from engines.device_slot import SLOTS, Slot, too_large
from engines.launches import UNKNOWN, FeatureShape, Plane
from engines.model import ModelInfo
from engines.onnx_cpu import check_inputs
from engines.profile import padded


class DeviceFuser:
    """A network on a device as a `base.Fuser`. Memory is allocated once for each picture size in turn."""

    def __init__(self, info: ModelInfo, network: DeviceNetwork, device: Device) -> None:
        """network, device: taken over, and closed by `close`, also if this raises DeviceError."""
        self.info = info
        self.name = f"{info.name} on {network.name}"
        self._network, self._device = network, device
        self._is_closed = False
        self._flight: DeviceFlight | None = None
        self._size: tuple[int, int] | None = None
        self._tensors: Tensors | None = None
        self._is_warm = False
        self._slots: list[Slot] = []
        self._middle: Recording | None = None
        with self._closed_on_error():
            self._upload, self._compute, self._download = (device.stream() for _ in range(3))
            self._events = [(device.event(), device.event(), device.event()) for _ in range(SLOTS)]
            self._ends = Ends(device, self._compute)
            self._state = device.pinned((info.maps,))
            self._averaged = device.allocate(info.maps)
            self._counts = device.allocate(2 * info.maps * 4)
            device.fill(self._counts, 0, 2 * info.maps * 4, self._compute)  # each decision leaves them at 0 again

    def fuse(self, ir: Luma, vis: Luma) -> Luma:
        """See `Fuser`. Pictures of a batch (N, H, W) are independent and follow each other through the slots."""
        check_inputs(ir, vis)
        flight = self.start(follows=False)
        if ir.ndim == 2:
            flight.put(ir, vis)
            return flight.get()
        fused = np.empty_like(ir)
        for k in range(len(ir) + SLOTS):
            if k >= SLOTS:
                fused[k - SLOTS] = flight.get()
            if k < len(ir):
                flight.put(ir[k], vis[k])
        return fused

    def fuse_next(self, ir: Luma, vis: Luma, state: StreamState | None) -> tuple[Luma, StreamState]:
        """See `Fuser`."""
        flight = self.start(follows=True)
        if state is not None:
            self._state[:] = state.averaged
            self._device.upload(self._averaged, self._state, self._compute)
        flight.put(ir, vis)
        fused = flight.get()
        self._device.download(self._state, self._averaged, self._compute)
        self._device.synchronize(self._compute)
        return fused, StreamState(self._state == 1)

    def start(self, *, follows: bool, onto: Onto | None = None) -> DeviceFlight:
        """See `Fuser`. The rules of a stream stay on the device from pair to pair. onto: see `start_on_device`."""
        if self._is_closed:
            raise ValueError("this fuser is closed; open another")
        self._settle()
        self._flight = DeviceFlight(self, follows=follows, onto=onto)
        self._forget_rules()
        return self._flight

    def start_on_device(self, *, follows: bool, levels: Levels | None, is_gray: bool) -> DeviceFlight:
        """See `device_picture.PictureFuser`."""
        return self.start(follows=follows, onto=Onto(levels, is_gray))

    def close(self) -> None:
        """Give all memory back, of the network and the device too; may be called twice."""
        if self._is_closed:
            return
        self._is_closed, self._flight = True, None
        with suppress(CrotalusError):  # of a GPU that failed: whoever met that has been told
            self._settle()
        self._release()
        self._ends.close()
        self._device.free(self._averaged)
        self._device.free(self._counts)
        self._device.unpin(self._state)
        self._network.close()
        self._device.close()

    def _put(self, ir: Picture, vis: Picture, slot: Slot, *, follows: bool, onto: Onto | None) -> None:
        """Enqueue all of a pair's way. Nothing of what was in the slot before is under way any more."""
        device = self._device
        self._bring(ir, vis, slot)
        device.record(slot.uploaded, self._upload)
        device.wait(self._compute, slot.uploaded)
        if not follows:
            self._forget_rules()
        slot.picture = self._ends.target(vis, onto)
        if slot.picture is None and all(isinstance(given, np.ndarray) for given in slot.given):
            self._fuse(slot)
        else:
            self._fuse_pictures(slot)
        device.record(slot.computed, self._compute)
        device.wait(self._download, slot.computed)
        if slot.picture is None:
            device.download(slot.host[2], slot.fused.address, self._download)
        device.record(slot.downloaded, self._download)

    def _bring(self, ir: Picture, vis: Picture, slot: Slot) -> None:
        """Upload what are arrays; hold, and wait for, what is on the device."""
        slot.given = ir, vis
        if isinstance(ir, np.ndarray) and isinstance(vis, np.ndarray):
            slot.host[0], slot.host[1] = ir, vis
            self._device.upload(slot.address, slot.host[:2], self._upload)
            return
        for given, host, plane in zip(slot.given, slot.host, (slot.ir, slot.vis), strict=False):
            if isinstance(given, np.ndarray):
                host[:] = given
                self._device.upload(plane.address, host, self._upload)
        self._ends.await_decoder()

    def _get(self, slot: Slot) -> Luma:
        """The finished array, or the picture on the device that stands for it."""
        self._device.synchronize(slot.downloaded)
        picture = slot.picture
        slot.given, slot.picture = (), None
        return slot.host[2].copy() if picture is None else cast(Luma, picture)

    def _fuse(self, slot: Slot) -> None:
        """Enqueue the computation: the first of a size as it is, for libraries load and allocate then."""
        if not self._is_warm:
            self._enqueue(slot)
            self._is_warm = True
            return
        if slot.recording is None:
            slot.recording = self._network.record(self._compute, partial(self._enqueue, slot))
        slot.recording.launch(self._compute)

    def _fuse_pictures(self, slot: Slot) -> None:
        """As `_fuse`, with an end on the device: at addresses that change, so only what is between is recorded."""
        sources = [
            self._ends.source(given, plane) for given, plane in zip(slot.given, (slot.ir, slot.vis), strict=True)
        ]
        self._enqueue_units(*sources)
        if not self._is_warm:
            self._enqueue_network()
            self._is_warm = True
        else:
            if self._middle is None:
                self._middle = self._network.record(self._compute, self._enqueue_network)
            self._middle.launch(self._compute)
        picture = slot.picture
        if picture is None:
            self._enqueue_bytes(slot.fused, None)
        else:
            self._enqueue_bytes(picture.luma, self._ends.stored_table(picture))

    def _enqueue(self, slot: Slot) -> None:
        """Put the computation into its stream. A pair without one before it finds its rules UNKNOWN."""
        self._enqueue_units((slot.ir, None), (slot.vis, None))
        self._enqueue_network()
        self._enqueue_bytes(slot.fused, None)

    def _enqueue_units(self, *sources: tuple[Plane, int | None]) -> None:
        """Infrared and visible from their planes, by their tables, to the network's inputs."""
        to, info = self._of_size(), self.info
        for (plane, table), unit in zip(sources, (to.ir, to.vis), strict=True):
            launch = launches.to_unit(plane, unit, margin=info.margin, multiple=info.multiple, table=table)
            self._device.run(launch, self._compute)

    def _enqueue_bytes(self, plane: Plane, table: int | None) -> None:
        to = self._of_size()
        launch = launches.to_bytes(to.fused, to.decoded, plane, precision=self._network.unit, table=table)
        self._device.run(launch, self._compute)

    def _of_size(self) -> Tensors:
        assert self._tensors is not None  # since the slots were made
        return self._tensors

    def _enqueue_network(self) -> None:
        """From the network's inputs to its output."""
        to, info, stream = self._of_size(), self.info, self._compute
        run = partial(self._device.run, stream=stream)
        shape = FeatureShape(1, *to.feature, info.maps)
        self._network.encode(stream)
        run(launches.count_maps(to.common_ir, to.common_vis, self._counts, shape))
        state = self._averaged
        run(launches.decide_rules(self._counts, state, state, shape, ratio=info.activity_ratio))
        private, common = (to.private_ir, to.private_vis, to.private_ir), (to.common_ir, to.common_vis, to.common_ir)
        run(launches.fuse_features(private, common, state, shape))
        self._network.decode(stream)

    def _forget_rules(self) -> None:
        self._device.fill(self._averaged, UNKNOWN, self.info.maps, self._compute)

    def _settle(self) -> None:
        """Wait until nothing is under way. Not only for the pairs that are known: Ctrl-C may have lost one."""
        for stream in (self._upload, self._compute, self._download):
            self._device.synchronize(stream)

    def _resize(self, size: tuple[int, int]) -> None:
        """Buffers for pictures of another (height, width). Nothing is under way. Raises DeviceMemoryError."""
        self._release()
        height, width = size
        columns, rows = padded((width, height), self.info)
        held = 0  # bytes of the network's, which it keeps when only the slots do not fit
        try:
            self._tensors = self._network.prepare(rows, columns)
            held = self._network.memory(rows, columns)
            for events in self._events:
                self._slots.append(Slot(self._device, size, events))
        except DeviceMemoryError as error:
            self._release()
            raise too_large(size, self.info, self._network, self._device.memory()[0] + held, error) from error
        self._size = size

    def _release(self) -> None:
        """Give the slots back. Nothing is under way."""
        for slot in self._slots:
            slot.close()
        if self._middle is not None:
            self._middle.close()
        self._middle = None
        self._slots, self._size, self._tensors, self._is_warm = [], None, None, False

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._network.close()
            self._device.close()
            raise
