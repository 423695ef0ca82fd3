"""The GPU's fuser on an emulated device: the same pixels as the reference, whatever order its streams run in."""

from types import SimpleNamespace

import numpy as np
import pytest

from engines.base import StreamState
from engines.device import DeviceError, DeviceMemoryError
from engines.device_slot import SLOTS, fitting_size, too_large
from engines.model import load_model
from engines.onnx_cpu import OnnxFuser
from tests.engines.cuda.host_device import TEMPERS
from tests.engines.cuda.host_network import host_fuser

SIZE = 18, 22
"""Of most pictures: the kernels take their time on fibers."""


@pytest.fixture(scope="module")
def info():
    return load_model("jcae")


@pytest.fixture(scope="module")
def reference(info):
    fuser = OnnxFuser(info, threads=1)
    yield fuser
    fuser.close()


@pytest.fixture
def opened(kernel_library, info):
    """A function that opens a fuser on a device of its own; all is given back afterwards, or the test fails."""
    fusers = []

    def open_one(**options):
        fusers.append(host_fuser(kernel_library(info.maps), info, **options))
        return fusers[-1]

    yield open_one
    for fuser in fusers:
        fuser.close()
        assert fuser._device.left == (0, 0, 0), "allocations, pinned arrays and recordings that nobody gave back"


def stream(count, size=SIZE, seed=0):
    """(N, H, W) uint8 ir and vis of a scene that grows brighter and darker, so that maps cross the threshold."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width] / max(size)
    scene = np.stack([np.sin(5 * x + 3 * y + k) * np.cos(4 * y - k) for k in (0, 1)]) * 60 + 90
    light = 1 + 0.6 * np.sin(np.arange(count) * 1.1)[:, None, None, None]
    noise = rng.normal(0, 12, (count, 2, *size))
    return tuple(np.moveaxis((scene * light + noise).clip(0, 255).astype(np.uint8), 1, 0).copy())


def assert_alike(got, wanted):
    """fp16 features and decoded luma move a level now and then, four at most."""
    assert got.shape == wanted.shape
    off = np.abs(got.astype(int) - wanted)
    psnr = 10 * np.log10(255**2 / max(np.mean(off**2), 1e-9))
    told = f"PSNR {psnr:.1f} dB, max {off.max()}, mean {off.mean():.4f}, histogram {np.bincount(off.ravel())}"
    assert psnr >= 50, told
    assert off.max() <= 4, told


def in_flight(fuser, ir, vis, *, follows):
    """All pairs through a flight that is kept full."""
    flight, fused = fuser.start(follows=follows), []
    for k in range(len(ir)):
        if k >= flight.depth:
            fused.append(flight.get())
        flight.put(ir[k], vis[k])
    while len(fused) < len(ir):
        fused.append(flight.get())
    return np.stack(fused)


def one_by_one(fuser, ir, vis):
    """All pairs by `fuse_next`, and the rules after each, (N, maps)."""
    state, fused, rules = None, [], []
    for pair in zip(ir, vis, strict=True):
        picture, state = fuser.fuse_next(*pair, state)
        fused.append(picture)
        rules.append(state.averaged)
    return np.stack(fused), np.stack(rules)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (7, 5), (32, 40)])
def test_equal_to_the_reference_at_any_size(opened, reference, size):
    ir, vis = (pictures[0] for pictures in stream(1, size))
    assert_alike(opened().fuse(ir, vis), reference.fuse(ir, vis))


@pytest.mark.parametrize("unit", ["half", "float"])
def test_luma_may_be_decoded_to_either_type(opened, reference, unit):
    ir, vis = (pictures[0] for pictures in stream(1))
    assert_alike(opened(unit=unit).fuse(ir, vis), reference.fuse(ir, vis))


def test_equal_to_the_reference_on_a_real_pair(opened, reference, real_data):
    cv2 = pytest.importorskip("cv2")
    folder = real_data / "tno"
    paths = sorted((folder / "ir").iterdir())[0], sorted((folder / "vis").iterdir())[0]
    ir, vis = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[60:92, 80:120].copy() for path in paths)
    assert_alike(opened().fuse(ir, vis), reference.fuse(ir, vis))


def test_a_stream_follows_the_rules_of_the_reference(opened, reference):
    """Each map changes its rule with hysteresis, pair by pair as on the CPU; and some do change."""
    ir, vis = stream(7, seed=5)
    wanted, wanted_rules = one_by_one(reference, ir, vis)
    got, rules = one_by_one(opened(), ir, vis)
    np.testing.assert_array_equal(rules, wanted_rules)
    assert_alike(got, wanted)
    changes = (rules[1:] != rules[:-1]).sum()
    alone = [reference.fuse_next(*pair, None)[1].averaged for pair in zip(ir, vis, strict=True)]
    assert changes >= 20
    assert (rules != alone).sum() >= 5, "hysteresis made no difference, so this shows nothing"


@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("temper", TEMPERS)
def test_a_flight_gives_what_one_pair_at_a_time_does(opened, temper, follows):
    ir, vis = stream(8, seed=1)
    serial = opened(temper="eager")
    alone = one_by_one(serial, ir, vis)[0] if follows else serial.fuse(ir, vis)
    np.testing.assert_array_equal(in_flight(opened(temper=temper, seed=3), ir, vis, follows=follows), alone)


@pytest.mark.parametrize("seed", range(4))
def test_no_order_of_the_streams_matters(opened, seed):
    ir, vis = stream(5, (6, 7), seed=2)
    wanted = in_flight(opened(temper="eager"), ir, vis, follows=True)
    np.testing.assert_array_equal(in_flight(opened(seed=seed), ir, vis, follows=True), wanted)


def test_arrays_may_be_reused_and_results_are_the_callers(opened):
    ir, vis = stream(5, (6, 7))
    wanted = in_flight(opened(), ir, vis, follows=False)
    fuser = opened(temper="late")
    flight, given, results = fuser.start(follows=False), (np.empty((6, 7), np.uint8), np.empty((6, 7), np.uint8)), []
    for k in range(len(ir) + SLOTS):
        if k >= SLOTS:
            results.append(flight.get())
        if k < len(ir):
            given[0][:], given[1][:] = ir[k], vis[k]
            flight.put(*given)
            given[0][:], given[1][:] = 0, 255
    np.testing.assert_array_equal(results, wanted)
    assert all(picture.flags.writeable and picture.flags.owndata for picture in results)


def test_a_batch_is_its_pairs_in_order(opened):
    fuser, (ir, vis) = opened(temper="late"), stream(5, (6, 7))
    together = fuser.fuse(ir, vis)
    assert len({picture.tobytes() for picture in together}) == 5
    np.testing.assert_array_equal(together, [fuser.fuse(*pair) for pair in zip(ir, vis, strict=True)])
    assert fuser.fuse(ir[:0], vis[:0]).shape == (0, 6, 7)


def test_the_state_given_decides(opened, reference):
    fuser, (ir, vis) = opened(), stream(1, seed=4)
    turned = StreamState(~reference.fuse_next(ir[0], vis[0], None)[1].averaged)
    fused, state = fuser.fuse_next(ir[0], vis[0], turned)
    wanted, wanted_state = reference.fuse_next(ir[0], vis[0], turned)
    np.testing.assert_array_equal(state.averaged, wanted_state.averaged)
    assert (state.averaged != fuser.fuse_next(ir[0], vis[0], None)[1].averaged).any()
    assert_alike(fused, wanted)


def test_another_flight_begins_afresh_and_ends_the_one_before(opened):
    fuser, (ir, vis) = opened(temper="late"), stream(4, seed=1)
    wanted = in_flight(fuser, ir[2:], vis[2:], follows=True)
    flight = fuser.start(follows=True)
    flight.put(ir[0], vis[0])
    flight.put(ir[1], vis[1])
    np.testing.assert_array_equal(in_flight(fuser, ir[2:], vis[2:], follows=True), wanted)
    for use in (flight.get, lambda: flight.put(ir[0], vis[0])):
        with pytest.raises(ValueError, match="this flight is over"):
            use()


def test_a_flight_takes_so_many_pairs_and_gives_no_more(opened):
    fuser, (ir, vis) = opened(temper="late"), stream(4, (6, 7))
    flight = fuser.start(follows=False)
    for k in range(SLOTS):
        flight.put(ir[k], vis[k])
    with pytest.raises(ValueError, match="3 pairs are under way"):
        flight.put(ir[3], vis[3])
    assert [flight.get() for _ in range(SLOTS)][2].tobytes() == fuser.fuse(ir[2], vis[2]).tobytes()
    with pytest.raises(ValueError, match="no pair is under way"):
        fuser.start(follows=False).get()


def test_memory_is_allocated_once_for_a_size(opened):
    fuser, (ir, vis) = opened(), stream(9, (6, 7))
    in_flight(fuser, ir[:4], vis[:4], follows=True)
    before = fuser._device.allocations, len(fuser._device._pinned), len(fuser._device.recordings)
    in_flight(fuser, ir, vis, follows=False)
    assert (fuser._device.allocations, len(fuser._device._pinned), len(fuser._device.recordings)) == before
    assert before[2] == SLOTS
    assert fuser._device.launches == 3 + 9  # all but the very first pair are one launch each


@pytest.mark.parametrize("temper", TEMPERS)
def test_the_size_may_change_in_a_stream(opened, reference, temper):
    """Pairs under way come out as they went in, and the rules go on, for they belong to maps and not to pixels."""
    sizes = [SIZE, SIZE, (20, 9), (20, 9), SIZE]
    pairs = [[pictures[k] for pictures in stream(5, size, seed=1)] for k, size in enumerate(sizes)]
    fuser, fused, state, wanted = opened(temper=temper), [], None, []
    flight = fuser.start(follows=True)
    for k, pair in enumerate(pairs):
        if k >= SLOTS:
            fused.append(flight.get())
        flight.put(*pair)
        picture, state = reference.fuse_next(*pair, state)
        wanted.append(picture)
    fused += [flight.get() for _ in range(SLOTS)]
    for got, picture in zip(fused, wanted, strict=True):
        assert_alike(got, picture)
    assert fuser._network.prepared == [(34, 38), (36, 26), (34, 38)]


def test_wrong_arrays_are_named_and_harm_nothing(opened):
    fuser, (ir, vis) = opened(), stream(1, (6, 7))
    flight = fuser.start(follows=False)
    flight.put(ir[0], vis[0])
    for wrong, reason in ((vis[0, :, 1:], "a pair has one shape"), (vis[0].astype(np.float32), "vis: float32")):
        with pytest.raises(ValueError, match=reason):
            flight.put(ir[0], wrong)
    with pytest.raises(ValueError, match="one pair at a time"):
        flight.put(ir, vis)
    assert flight.get().tobytes() == fuser.fuse(ir[0], vis[0]).tobytes()


def test_a_closed_fuser_says_so(opened):
    fuser, (ir, vis) = opened(temper="late"), stream(2, (6, 7))
    flight = fuser.start(follows=False)
    flight.put(ir[0], vis[0])  # and is never asked for
    fuser.close()
    fuser.close()
    assert fuser._network.is_closed
    assert fuser._device.is_closed
    for use in (flight.get, lambda: fuser.fuse(ir, vis), lambda: fuser.fuse_next(ir[0], vis[0], None)):
        with pytest.raises(ValueError, match="this fuser is closed"):
            use()


@pytest.mark.parametrize("fails_at", [0, 1, 5, 15, 31, 43])
def test_a_gpu_that_fails_is_told_at_once_and_closed_in_peace(opened, fails_at):
    ir, vis = stream(6, (2, 2))
    fuser = opened(fails_at=fails_at, seed=fails_at)
    with pytest.raises(DeviceError, match=r"^[^\n]+$") as told:
        in_flight(fuser, ir, vis, follows=True)
    assert told.value.exit_code == 1
    with pytest.raises(DeviceError):
        fuser.fuse(ir, vis)
    fuser.close()


def test_a_fuser_that_cannot_be_made_closes_what_it_was_given(kernel_library, info):
    taken = []
    with pytest.raises(DeviceMemoryError):
        host_fuser(kernel_library(info.maps), info, total=200, on_network=taken.append)
    assert taken[0].is_closed
    assert taken[0].device.is_closed


def test_a_picture_too_large_is_told_with_the_size_that_fits(opened):
    fuser, (ir, vis) = opened(total=2_000_000), stream(3, (30, 40))
    flight = fuser.start(follows=False)
    flight.put(ir[0], vis[0])
    large = np.zeros((90, 120), np.uint8)
    message = r"^120x90: 3\.2 MB of GPU memory needed, 1\.9 MB free; fuse at --size \d+x\d+ or smaller, or [^\n]+$"
    with pytest.raises(DeviceMemoryError, match=message) as told:
        flight.put(large, large)
    assert told.value.exit_code == 2
    assert told.value.free == 2_000_000 - 128 - 1024
    assert told.value.needed == fuser._network.memory(106, 136) + SLOTS * 3 * 90 * 120
    flight.put(ir[1], vis[1])  # the flight goes on, and what was under way is there
    np.testing.assert_array_equal([flight.get(), flight.get()], fuser.fuse(ir[:2], vis[:2]))
    width, height = (int(side) for side in str(told.value).split("--size ")[1].split()[0].split("x"))
    assert 0.75 < width * height / (90 * 120) * told.value.needed / told.value.free < 1  # the margin does not shrink
    assert abs(width / height - 4 / 3) < 0.1
    fuser._resize((height, width))


def test_a_picture_that_fits_but_for_its_planes_is_told_likewise(opened, info):
    fuser, large = opened(total=3_340_000), np.zeros((90, 120), np.uint8)  # the network takes 3.29 MB, the planes 0.1
    with pytest.raises(DeviceMemoryError, match=r"^120x90: .*--size 11\dx8\d or smaller") as told:
        fuser.fuse(large, large)
    assert told.value.free == 3_340_000 - 128 - 1024
    fuser.fuse(large[:6, :7], large[:6, :7])


def test_a_network_that_takes_more_than_it_says_still_leads_to_a_smaller_size(opened, monkeypatch):
    fuser, large = opened(total=2_000_000), np.zeros((90, 120), np.uint8)
    monkeypatch.setattr(fuser._network, "memory", lambda rows, columns: 1)
    with pytest.raises(DeviceMemoryError, match="--size") as told:
        fuser.fuse(large, large)
    assert told.value.needed > told.value.free


@pytest.mark.parametrize(
    ("networks", "failed", "needed"),
    [
        (5000, DeviceMemoryError(600, 500), 5000),  # one buffer, when 1500 were taken
        (2000, DeviceMemoryError(600, 500), 2100),
        (5000, DeviceMemoryError(5500, 500), 5500),  # all at once, as torch's estimate
        (700, DeviceMemoryError(900, 1000), 2001),  # nonsense: it would have fitted, and did not
    ],
)
def test_what_is_needed_is_what_was_met_or_expected(info, networks, failed, needed):
    network = SimpleNamespace(memory=lambda rows, columns: networks - SLOTS * 3 * 10 * 10)
    told = too_large((10, 10), info, network, 2000, failed)
    assert (told.needed, told.free) == (needed, 2000)


@pytest.mark.parametrize(
    ("size", "share", "fitting"),
    [
        ((1920, 1080), 0.25, (948, 532)),  # a quarter of 1936x1096: 964x548 with its margin
        ((1080, 1920), 0.25, (532, 948)),
        ((640, 480), 0.9, (606, 454)),
        ((1920, 1080), 1 / 10_000, None),
        ((1, 1), 0.5, None),
    ],
)
def test_a_fitting_size_keeps_the_aspect(info, size, share, fitting):
    assert fitting_size(size, info, share) == fitting
