"""Pairs side by side on the CPU: the pictures of one after the other, whatever the rules do meanwhile."""

import threading

import cv2
import numpy as np
import pytest

from engines import onnx_cpu, rules
from engines.base import SerialFlight, start_abreast
from engines.cores import pairs_abreast
from engines.model import load_model
from engines.onnx_cpu import OnnxFuser, TooLargeError
from engines.onnx_flight import OnnxFlight

SIZE = (48, 64)
PATIENCE = 20.0
"""s until a test that hangs fails instead."""


@pytest.fixture(scope="module")
def light():
    return load_model("jcae-lite")


@pytest.fixture
def fuser(light):
    opened = OnnxFuser(light, threads=2)
    yield opened
    opened.close()


def scene(seed):
    """A pair of some texture and brightness."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(rng.uniform(0, 255), rng.uniform(2, 80), (2, *SIZE))
    sigma = rng.uniform(0.5, 4)
    return tuple(cv2.GaussianBlur(plane.clip(0, 255).astype(np.uint8), (0, 0), sigma) for plane in noise)


def activity(fuser, ir, vis):
    fuser.start_abreast(follows=False)
    return fuser._run_narrow(fuser._pad(ir, vis), SIZE, fuser._threshold(None))[1]


def wavering(light):
    """A fuser, and three pairs of which a map is above, within and below the band of its threshold."""
    probe = OnnxFuser(light, threads=2)
    scenes = [scene(seed) for seed in range(60)]
    seen = np.array([activity(probe, *pair) for pair in scenes])  # (scenes, maps)
    # The scene and the map with most to either side of it.
    middle, chosen = np.unravel_index(np.minimum(seen - seen.min(0), seen.max(0) - seen).argmax(), seen.shape)
    low, high, ratio = seen[:, chosen].argmin(), seen[:, chosen].argmax(), float(seen[middle, chosen])
    assert min(ratio - seen[low, chosen], seen[high, chosen] - ratio) > 2 * rules.HYSTERESIS
    probe.close()
    fuser = OnnxFuser(light.model_copy(update={"activity_ratio": ratio}), threads=2)
    return fuser, scenes[low], scenes[middle], scenes[high]


def flown(flight, pairs):
    fused, under_way = [], 0
    for ir, vis in pairs:
        flight.put(ir, vis)
        under_way += 1
        if under_way == flight.depth:
            fused.append(flight.get())
            under_way -= 1
    return fused + [flight.get() for _ in range(under_way)]


def in_twos(fuser, monkeypatch):
    """Two pairs begin before either of them goes on: a second one never knows the rules of the first."""
    both, run = threading.Barrier(2), fuser._run_narrow

    def meet(*given):
        if threading.current_thread().name.startswith("fuse"):
            both.wait(PATIENCE)
        return run(*given)

    monkeypatch.setattr(fuser, "_run_narrow", meet)


def test_pairs_are_fused_side_by_side(fuser, monkeypatch):
    in_twos(fuser, monkeypatch)  # one after the other would never meet
    assert len(flown(fuser.start_abreast(follows=False), [scene(0)] * 4)) == 4


def test_rules_that_change_from_pair_to_pair_give_the_pictures_of_one_after_the_other(light, monkeypatch):
    fuser, low, middle, high = wavering(light)
    # What `middle` follows is the rule of the pair before it, which begins with it and is not done: a wrong guess.
    pairs = 3 * [low, low, high, middle, low, middle]
    wanted = flown(SerialFlight(fuser, follows=True), pairs)
    in_twos(fuser, monkeypatch)
    flight = fuser.start_abreast(follows=True)
    fused = flown(flight, pairs)
    np.testing.assert_array_equal(fused, wanted)
    assert flight.again >= 6  # twice in each six
    assert (fused[3] != fused[5]).any()  # the same pair by another rule is another picture: a guess would not do
    fuser.close()


def test_pairs_that_do_not_follow_each_other_need_no_second_time(light):
    fuser, low, middle, high = wavering(light)
    pairs = 2 * [low, middle, high, middle]
    flight = fuser.start_abreast(follows=False)
    np.testing.assert_array_equal(flown(flight, pairs), [fuser.fuse(*pair) for pair in pairs])
    assert flight.again == 0
    fuser.close()


def test_pictures_come_in_the_order_they_were_put_though_a_later_one_is_done_first(fuser, monkeypatch):
    wanted, run, second = [fuser.fuse(*scene(k)) for k in range(2)], fuser._run_narrow, threading.Event()

    def late(padded, *given):
        if np.array_equal(padded[0], first):
            assert second.wait(PATIENCE)
        done = run(padded, *given)
        second.set()
        return done

    first = fuser._pad(*scene(0))[0]
    monkeypatch.setattr(fuser, "_run_narrow", late)
    np.testing.assert_array_equal(flown(fuser.start_abreast(follows=True), [scene(0), scene(1)]), wanted)


def test_arrays_may_be_reused_once_they_are_put_and_results_are_the_caller_s(fuser):
    wanted = [fuser.fuse(*scene(k)) for k in range(6)]
    flight, fused = fuser.start_abreast(follows=False), []
    ir, vis = (np.empty(SIZE, np.uint8) for _ in range(2))
    for k in range(6):
        ir[:], vis[:] = scene(k)
        flight.put(ir, vis)
        ir[:], vis[:] = 255, 0
        if k >= 2:
            fused.append(flight.get())
    fused += [flight.get(), flight.get()]
    np.testing.assert_array_equal(fused, wanted)
    assert len({luma.__array_interface__["data"][0] for luma in fused}) == 6


def test_an_error_of_a_pair_is_raised_where_the_pair_is_fetched_and_ends_the_flight(fuser, monkeypatch):
    run, calls = fuser._run_narrow, []

    def third_fails(*given):
        calls.append(0)
        if len(calls) == 3:
            raise RuntimeError("out of luck")
        return run(*given)

    flight = fuser.start_abreast(follows=True)
    monkeypatch.setattr(fuser, "_run_narrow", third_fails)
    for k in range(3):
        flight.put(*scene(k))
    np.testing.assert_array_equal(flight.get(), fuser.fuse(*scene(0)))
    flight.get()
    with pytest.raises(RuntimeError, match="out of luck"):
        flight.get()
    with pytest.raises(ValueError, match="this flight is over"):
        flight.put(*scene(0))
    assert len(flown(fuser.start_abreast(follows=True), [scene(0)])) == 1  # the fuser is not


def test_another_flight_or_the_end_of_the_fuser_ends_a_flight_and_no_thread_stays(light):
    fuser = OnnxFuser(light, threads=2)
    before = set(threading.enumerate())
    first = fuser.start_abreast(follows=True)
    first.put(*scene(0))
    second = fuser.start_abreast(follows=True)
    with pytest.raises(ValueError, match="another has begun"):
        first.get()
    second.put(*scene(0))
    fuser.close()
    with pytest.raises(ValueError, match="fuser was closed"):
        second.get()
    with pytest.raises(ValueError, match="closed"):
        fuser.start_abreast(follows=True)
    assert set(threading.enumerate()) <= before


def test_more_pairs_than_its_depth_and_pairs_that_are_not_there_are_refused(fuser):
    flight = fuser.start_abreast(follows=True)
    with pytest.raises(ValueError, match="no pair is under way"):
        flight.get()
    for _ in range(flight.depth):
        flight.put(*scene(0))
    with pytest.raises(ValueError, match="3 pairs are under way"):
        flight.put(*scene(0))
    flight.get()
    with pytest.raises(ValueError, match="a pair has one shape"):
        flight.put(scene(0)[0], scene(0)[1][1:])
    with pytest.raises(ValueError, match="one pair at a time"):
        flight.put(np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), np.uint8))


def test_pictures_that_leave_no_memory_for_a_second_are_fused_one_after_the_other(light, monkeypatch):
    fuser, low, middle, high = wavering(light)
    pairs = [low, high, middle, low, middle, middle]
    wanted = flown(SerialFlight(fuser, follows=True), pairs)
    monkeypatch.setattr(onnx_cpu, "ABREAST_BYTES", 2 * fuser._bytes(*SIZE) - 1)
    monkeypatch.setattr(fuser, "_run_narrow", None)
    np.testing.assert_array_equal(flown(fuser.start_abreast(follows=True), pairs), wanted)
    monkeypatch.setattr(onnx_cpu, "available_memory", lambda: fuser._bytes(*SIZE) - 1)
    fuser._checked = None
    with pytest.raises(TooLargeError):
        flown(fuser.start_abreast(follows=True), pairs)
    fuser.close()


def test_a_pair_too_large_for_memory_does_not_take_those_before_it_along(light, monkeypatch):
    fuser = OnnxFuser(light, threads=2)
    small, large = (np.zeros(SIZE, np.uint8),) * 2, (np.zeros((480, 640), np.uint8),) * 2
    monkeypatch.setattr(onnx_cpu, "available_memory", lambda: 4 * fuser._bytes(*SIZE))
    flight = fuser.start_abreast(follows=True)
    flight.put(*small)
    flight.put(*large)
    np.testing.assert_array_equal(flight.get(), fuser_alone(light, *small))
    with pytest.raises(TooLargeError, match="640x480"):
        flight.get()
    fuser.close()


def fuser_alone(info, ir, vis):
    fuser = OnnxFuser(info, threads=1)
    fused = fuser.fuse(ir, vis)
    fuser.close()
    return fused


def test_pairs_of_large_pictures_are_not_doubled_as_the_peak_of_memory_would_be(fuser, monkeypatch):
    monkeypatch.setattr(onnx_cpu, "available_memory", lambda: 1 << 40)
    assert fuser._room(2160, 3840) == 1
    assert fuser._room(1080, 1920) == 2
    monkeypatch.setattr(onnx_cpu, "available_memory", lambda: 2 * fuser._bytes(720, 1280) - 1)
    assert fuser._room(720, 1280) == 1


def test_another_size_may_come_at_any_time(light):
    fuser, low, middle, high = wavering(light)
    pairs = [low, high, middle, middle]
    pairs += [tuple(plane[:30, :41] for plane in pair) for pair in pairs]
    pairs += pairs[:3]
    wanted = flown(SerialFlight(fuser, follows=True), pairs)
    for room in (9, 1):
        fuser._room = lambda height, width, room=room: room if height == SIZE[0] else 9
        for ours, theirs in zip(flown(fuser.start_abreast(follows=True), pairs), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    fuser.close()


def test_a_pair_fused_alone_waits_for_the_rules_of_those_side_by_side_before_it(light, monkeypatch):
    fuser, low, middle, _ = wavering(light)
    pairs = [tuple(plane[:46, :62] for plane in low), middle]
    wanted = flown(SerialFlight(fuser, follows=True), pairs)
    assert (fuser.fuse(*middle) != wanted[1]).any()  # as it is if nothing is known of `low`
    flight, run, waited = fuser.start_abreast(follows=True), fuser._run_narrow, threading.Event()
    settle = flight._settle
    monkeypatch.setattr(fuser, "_run_narrow", lambda *given: waited.wait(PATIENCE) and run(*given))
    monkeypatch.setattr(flight, "_settle", lambda most: (waited.set() if most == 0 else None, settle(most)))
    monkeypatch.setattr(fuser, "_room", lambda height, width: 9 if height == 46 else 1)
    for ours, theirs in zip(flown(flight, pairs), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    fuser.close()


def test_no_more_pairs_run_at_a_time_than_memory_has_room_for(light, monkeypatch):
    fuser = OnnxFuser(light, threads=4)
    run, changed, running, most = fuser._run_narrow, threading.Condition(), [0], [0]

    def counted(*given):
        with changed:
            running[0] += 1
            most[0] = max(most[0], running[0])
            changed.notify_all()
            changed.wait_for(lambda: running[0] > 2, 0.05)  # which must not come; give it the time to
            running[0] -= 1
        return run(*given)

    monkeypatch.setattr(fuser, "_run_narrow", counted)
    monkeypatch.setattr(fuser, "_room", lambda height, width: 2)
    assert len(flown(fuser.start_abreast(follows=True), [scene(0)] * 6)) == 6
    assert most[0] == 2
    fuser.close()


@pytest.mark.parametrize(("threads", "pairs", "each"), [(2, 2, 1), (3, 3, 1), (4, 4, 1), (8, 4, 5)])
def test_threads_beyond_one_a_pair_help_all_pairs(light, threads, pairs, each):
    fuser = OnnxFuser(light, threads=threads)
    flight = fuser.start_abreast(follows=True)
    assert (flight.depth, pairs_abreast(threads)) == (pairs + 1, pairs)
    assert fuser._narrow.get_session_options().intra_op_num_threads == each
    fuser.close()


def test_one_thread_and_models_that_are_not_light_fuse_one_after_the_other(light):
    for info, threads in ((light, 1), (load_model("jcae"), 2), (load_model("densefuse"), 2)):
        fuser = OnnxFuser(info, threads=threads)
        assert isinstance(start_abreast(fuser, follows=True), SerialFlight)
        fuser.close()


def test_those_who_wait_for_each_picture_get_all_threads_for_it(fuser):
    assert isinstance(fuser.start(follows=True), SerialFlight)
    assert isinstance(start_abreast(fuser, follows=True), OnnxFlight)
