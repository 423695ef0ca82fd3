"""Pictures in a device's memory: lent by DLPack, used again when nobody holds them, in flights of a fuser."""

import gc

import numpy as np
import pytest
from av.video.frame import VideoFrame

from engines.device_picture import PITCH, DevicePicture, PictureRing
from engines.dlpack import CPU, Lent, Tensor, borrow
from engines.launches import Plane
from pipeline.luma import LIMITED, TO_FULL, TO_LIMITED
from tests.engines.cuda.host_device import TEMPERS, HostDevice
from tests.pipeline.host_video import mean_fuser

SIZE = 12, 20


class Owner:
    """Of an array: tells when it is let go of."""

    def __init__(self, array, told):
        self.array, self.told = array, told

    def __del__(self):
        self.told.append(self.array.shape)


def lent(array, told):
    return Lent(Tensor(array.ctypes.data, array.shape, array.strides, CPU, 0, Owner(array, told)))


def test_memory_is_borrowed_where_it_is():
    array = np.arange(60, dtype=np.uint8).reshape(5, 12)[1:4, 2:9]
    tensor = borrow(array)
    assert tensor.address == array.ctypes.data
    assert (tensor.shape, tensor.strides, tensor.kind, tensor.index) == ((3, 7), (12, 1), CPU, 0)


def test_memory_without_strides_is_packed():
    assert borrow(np.zeros((2, 3, 4), np.uint8)).strides == (12, 4, 1)


@pytest.mark.parametrize("kind", [np.uint16, np.int8, np.float32])
def test_what_is_not_bytes_is_refused(kind):
    with pytest.raises(ValueError, match="only uint8 is taken"):
        borrow(np.zeros((2, 2), kind))


def test_a_borrower_keeps_the_memory_alive():
    told = []
    tensor = borrow(lent(np.zeros((3, 4), np.uint8), told))
    gc.collect()
    assert told == []
    del tensor  # its capsule was never taken over, so it still belongs to nobody but us
    assert told == []


def test_memory_lent_to_ffmpeg_is_kept_until_the_frame_is_gone():
    told = []
    luma, chroma = np.full((4, 6), 77, np.uint8), np.full((2, 6), 99, np.uint8)
    frame = VideoFrame.from_dlpack((lent(luma, told), lent(chroma, told)), format="nv12")
    del luma, chroma
    gc.collect()
    assert told == []
    assert (frame.to_ndarray()[:4] == 77).all()
    del frame
    assert sorted(told) == [(2, 6), (4, 6)]


@pytest.fixture
def device(kernel_library):
    opened = HostDevice(kernel_library(128), 128, temper="eager")
    yield opened
    opened.close()


def test_a_picture_is_one_block_with_chroma_right_behind_luma(device):
    ring, stream = PictureRing(device, *SIZE, LIMITED, CPU), device.stream()
    picture = ring.take(stream)
    assert picture.luma == Plane(picture.luma.address, PITCH, *SIZE)
    assert picture.chroma == Plane(picture.luma.address + PITCH * SIZE[0], PITCH, SIZE[0] // 2, SIZE[1])
    assert (device.array(picture.chroma.address, (SIZE[0] // 2, PITCH), np.uint8) == 128).all()
    ring.close()


def test_a_picture_is_used_again_only_when_ffmpeg_has_let_go_of_it(device):
    ring, stream = PictureRing(device, *SIZE, None, CPU), device.stream()
    picture = ring.take(stream)
    address, frame = picture.luma.address, VideoFrame.from_dlpack(picture.lent(), format="nv12")
    del picture
    other = ring.take(stream)
    assert other.luma.address != address
    del frame
    assert ring.take(stream).luma.address == address
    assert device.allocations == 2
    ring.close()
    ring.close()
    assert device._memory == {}


def picture_on(device, luma, chroma, *, is_limited, told):
    """An NV12 picture in the device's memory, given back with its last reference."""
    height, width = luma.shape
    address = device.allocate(height * width * 3 // 2)
    device.array(address, (height, width), np.uint8)[:] = luma
    device.array(address + height * width, (height // 2, width), np.uint8)[:] = chroma

    class Held:
        def __del__(self):
            told.append(address)
            device.free(address)

    planes = Plane(address, width, height, width), Plane(address + height * width, width, height // 2, width)
    return DevicePicture(*planes, LIMITED if is_limited else None, Held(), CPU)


def material(count=6):
    rng = np.random.default_rng(0)
    return [
        (*rng.integers(0, 256, (2, *SIZE), np.uint8), rng.integers(0, 256, (SIZE[0] // 2, SIZE[1]), np.uint8))
        for _ in range(count)
    ]


@pytest.mark.parametrize("temper", TEMPERS)
@pytest.mark.parametrize("sides", ["ir", "vis", "both"])
def test_arrays_and_pictures_fly_together(kernel_library, temper, sides):
    """To the host: the same as two arrays of the levels that the pictures stand for."""
    fuser, told = mean_fuser(kernel_library, temper=temper, seed=2), []
    given = material()
    wanted = [
        fuser.fuse(TO_FULL[ir] if sides != "vis" else ir, vis if sides == "ir" else TO_FULL[vis])
        for ir, vis, _ in given
    ]
    flight, got = fuser.start(follows=True), []
    for k, (ir, vis, chroma) in enumerate(given):
        if k >= flight.depth:
            got.append(flight.get())
        if sides != "vis":
            ir = picture_on(fuser._device, ir, chroma, is_limited=True, told=told)
        if sides != "ir":
            vis = picture_on(fuser._device, vis, chroma, is_limited=True, told=told)
        flight.put(ir, vis)
        del ir, vis  # the flight holds them while it reads them
    while len(got) < len(given):
        got.append(flight.get())
    np.testing.assert_array_equal(got, wanted)
    assert len(told) == len(given) * (2 if sides == "both" else 1), "pictures are let go of when they are got"
    fuser.close()
    assert fuser._device.left == (0, 0, 0)


@pytest.mark.parametrize("temper", TEMPERS)
def test_fused_pictures_stay_on_the_device_in_the_levels_asked_for(kernel_library, temper):
    fuser, told = mean_fuser(kernel_library, temper=temper, seed=3), []
    given = material(8)
    wanted = [TO_LIMITED[fuser.fuse(ir, vis)] for ir, vis, _ in given]
    flight, got = fuser.start_on_device(follows=True, levels=LIMITED, is_gray=False), []

    def keep():
        picture = flight.get()
        size = picture.shape[0] * 3 // 2, picture.luma.pitch
        whole = fuser._device.array(picture.luma.address, size, np.uint8)[:, : picture.luma.width].copy()
        got.append((whole[: picture.shape[0]], whole[picture.shape[0] :]))

    for k, (ir, vis, chroma) in enumerate(given):
        if k >= flight.depth:
            keep()
        flight.put(ir, picture_on(fuser._device, vis, chroma, is_limited=False, told=told))
    while len(got) < len(given):
        keep()
    for (luma, chroma), reference, (_, _, colour) in zip(got, wanted, given, strict=True):
        np.testing.assert_array_equal(luma, reference)
        np.testing.assert_array_equal(chroma, colour)
    fuser.close()
    assert fuser._device.left == (0, 0, 0)


def test_an_array_for_vis_brings_its_picture_to_the_host(kernel_library):
    fuser, told = mean_fuser(kernel_library), []
    (ir, vis, chroma), *_ = material(1)
    flight = fuser.start_on_device(follows=False, levels=None, is_gray=False)
    flight.put(ir, vis)
    flight.put(ir, picture_on(fuser._device, vis, chroma, is_limited=False, told=told))
    first, second = flight.get(), flight.get()
    np.testing.assert_array_equal(first, fuser.fuse(ir, vis))
    assert isinstance(second, DevicePicture)
    del second
    fuser.close()


def test_a_flight_of_other_levels_writes_other_pictures(kernel_library):
    fuser, told = mean_fuser(kernel_library), []
    (ir, vis, chroma), *_ = material(1)
    reference = fuser.fuse(ir, vis)
    for levels, is_gray, wanted in ((LIMITED, False, TO_LIMITED[reference]), (None, True, reference)):
        flight = fuser.start_on_device(follows=False, levels=levels, is_gray=is_gray)
        flight.put(ir, picture_on(fuser._device, vis, chroma, is_limited=False, told=told))
        picture = flight.get()
        memory = fuser._device.array(picture.luma.address, (SIZE[0] * 3 // 2, picture.luma.pitch), np.uint8)
        np.testing.assert_array_equal(memory[: SIZE[0], : SIZE[1]], wanted)
        np.testing.assert_array_equal(memory[SIZE[0] :, : SIZE[1]], 128 if is_gray else chroma)
        del picture, memory
    fuser.close()


def test_a_pair_of_another_size_after_pictures_is_let_in_when_they_are_done(kernel_library):
    fuser, told = mean_fuser(kernel_library, temper="late"), []
    (ir, vis, chroma), *_ = material(1)
    flight = fuser.start_on_device(follows=True, levels=None, is_gray=False)
    flight.put(ir, picture_on(fuser._device, vis, chroma, is_limited=False, told=told))
    flight.put(ir[:8], picture_on(fuser._device, vis[:8], chroma[:4], is_limited=False, told=told))
    pictures = flight.get(), flight.get()
    for rows, picture in zip((SIZE[0], 8), pictures, strict=True):
        got = fuser._device.array(picture.luma.address, (rows, picture.luma.pitch), np.uint8)
        np.testing.assert_array_equal(got[:, : SIZE[1]], fuser.fuse(ir[:rows], vis[:rows]))
    fuser.close()
