"""The CPU fuser: any size, independent pairs, results of one's own, and equal to torch with the reference rules."""

import gc
import json
import shutil

import numpy as np
import pytest

from engines import onnx_cpu, rules
from engines.base import BackendError, StreamState, open_fuser
from engines.model import ModelError, load_model, sha256
from engines.onnx_cpu import OnnxFuser, TooLargeError, reflected


@pytest.fixture(scope="module")
def fuser(model_folder):
    opened = open_fuser(model_folder, backend="cpu", threads=2)
    yield opened
    opened.close()


def pictures(height, width, count=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, height, width), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (7, 5), (8, 8), (16, 17), (33, 64), (100, 31)])
def test_any_size_comes_back_with_its_own_size(fuser, size):
    ir, vis = pictures(*size)
    fused = fuser.fuse(ir, vis)
    assert fused.shape == size
    assert fused.dtype == np.uint8


def test_reflection_is_numpys():
    for length in range(1, 40):
        for multiple in (1, 2, 4):
            index = reflected(length, 8, multiple)
            assert len(index) % multiple == 0
            wanted = np.pad(np.arange(length), (8, len(index) - length - 8), mode="reflect")
            np.testing.assert_array_equal(index, wanted)


def test_equal_to_torch_with_the_reference_rules(fuser, model_folder):
    torch = pytest.importorskip("torch")
    from training.export import load_network

    network = load_network(model_folder)
    ir, vis = pictures(37, 50)
    rows, columns = reflected(37, 8, 2), reflected(50, 8, 2)
    padded = [
        torch.from_numpy((x[rows][:, columns] / np.float32(255)).astype(np.float32))[None, None] for x in (ir, vis)
    ]
    with torch.no_grad():
        private_ir, private_vis, common_ir, common_vis = (x.numpy() for x in network.encode(*padded))
        averaged = rules.averaged_maps(rules.activity(common_ir, common_vis), rules.next_threshold(None, maps=128))
        common = rules.fuse_common(common_ir, common_vis, averaged)
        private = rules.fuse_private(private_ir, private_vis)
        luma = network.decode(torch.from_numpy(common), torch.from_numpy(private)).numpy()[0, 0]
    wanted = np.rint(255 * luma).clip(0, 255).astype(np.uint8)[:37, :50]
    off = np.abs(fuser.fuse(ir, vis).astype(int) - wanted)
    # One level where 255 * luma lies within float32 rounding of x.5.
    assert off.max() <= 1, f"max {off.max()} mean {off.mean():.4f} histogram {np.bincount(off.ravel())}"
    assert (off > 0).mean() < 1e-3


def test_a_batch_is_its_pairs(fuser):
    ir, vis = pictures(20, 30, 3), pictures(20, 30, 3, seed=1)
    ir[1] //= 8  # a dark neighbour must not change the others
    together = fuser.fuse(ir, vis)
    for k in range(3):
        np.testing.assert_array_equal(together[k], fuser.fuse(ir[k], vis[k]))


def test_the_graph_itself_keeps_the_pairs_of_a_batch_apart(fuser):
    session = fuser._session
    ir, vis = pictures(36, 46, 3), pictures(36, 46, 3, seed=1)
    threshold = rules.next_threshold(None, maps=128)
    together = session.run(["fused"], {"ir": ir, "vis": vis, "threshold": threshold})[0]
    alone = [
        session.run(["fused"], {"ir": ir[k : k + 1], "vis": vis[k : k + 1], "threshold": threshold})[0]
        for k in range(3)
    ]
    off = np.abs(together.astype(int) - np.concatenate(alone))
    assert off.max() <= 1  # blocking of the convolutions may differ with N, so sums may round differently
    assert (off > 0).mean() < 1e-3


def test_results_belong_to_the_caller(fuser):
    ir, vis = pictures(24, 24)
    first = fuser.fuse(ir, vis)
    kept = first.copy()
    fuser.fuse(255 - ir, 255 - vis)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # writable
    np.testing.assert_array_equal(fuser.fuse(ir, vis), kept)


def test_inputs_are_not_written_to_and_may_be_read_only_views(fuser):
    ir, vis = (x[::2, ::2] for x in pictures(40, 60))
    ir.flags.writeable = vis.flags.writeable = False
    np.testing.assert_array_equal(fuser.fuse(ir, vis), fuser.fuse(ir.copy(), vis.copy()))


def test_first_frame_of_a_stream_follows_the_paper(fuser):
    ir, vis = pictures(32, 32)
    fused, state = fuser.fuse_next(ir, vis, None)
    np.testing.assert_array_equal(fused, fuser.fuse(ir, vis))
    assert state.averaged.shape == (128,)


def test_the_state_decides_inside_the_band(fuser):
    """With the state turned round, exactly the maps whose activity lies in the band change their rule."""
    ir, vis = pictures(48, 48)
    _, state = fuser.fuse_next(ir, vis, None)
    turned = StreamState(~state.averaged)
    _, after = fuser.fuse_next(ir, vis, turned)
    padded = fuser._pad(ir, vis)
    feed = {"ir": padded[0][None], "vis": padded[1][None], "threshold": rules.next_threshold(None, maps=128)}
    activity = fuser._session.run(["activity"], feed)[0][0]
    threshold = np.where(turned.averaged, 0.6 - rules.HYSTERESIS, 0.6 + rules.HYSTERESIS).astype(np.float32)
    np.testing.assert_array_equal(after.averaged, activity >= threshold)
    assert (after.averaged == turned.averaged).sum() >= (np.abs(activity - 0.6) < rules.HYSTERESIS - 1e-6).sum()


def test_memory_does_not_grow_from_frame_to_frame(fuser):
    ir, vis = pictures(64, 64)

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    for _ in range(5):
        fuser.fuse(ir, vis)
    gc.collect()
    before = resident()
    for _ in range(40):
        fuser.fuse(ir, vis)
    # 40 results of 4 kB would be 0.2 MB; one leaked feature stack of this size is 2 MB a frame.
    assert resident() - before < 8e6


@pytest.mark.parametrize(
    ("ir", "vis", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8), "a pair has one shape"),
        (np.zeros((4, 4), np.uint16), np.zeros((4, 4), np.uint8), "ir: uint16"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.float32), "vis: float32"),
        (np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8), "not empty"),
        (np.zeros(4, np.uint8), np.zeros(4, np.uint8), r"\(H, W\)"),
    ],
)
def test_wrong_arrays_are_named(fuser, ir, vis, message):
    with pytest.raises(ValueError, match=message):
        fuser.fuse(ir, vis)


def test_a_picture_too_large_for_memory_is_one_line(fuser, monkeypatch):
    monkeypatch.setattr(onnx_cpu, "available_memory", lambda: 50_000_000)
    with pytest.raises(TooLargeError, match=r"400x300: the network needs about 0\.2 GB.*--work-height"):
        fuser.fuse(*pictures(300, 400))


def test_the_light_model_fits_where_the_full_one_does_not(monkeypatch):
    monkeypatch.setattr(onnx_cpu, "available_memory", lambda: 50_000_000)
    light = open_fuser("jcae-lite", backend="cpu", threads=1)
    assert light.fuse(*pictures(300, 400)).shape == (300, 400)
    with pytest.raises(TooLargeError, match=r"640x480: the network needs about 0\.1 GB"):
        light.fuse(*pictures(480, 640))
    light.close()


def test_a_closed_fuser_says_so(model_folder):
    fuser = OnnxFuser(load_model(model_folder))
    fuser.close()
    fuser.close()
    with pytest.raises(ValueError, match="closed"):
        fuser.fuse(*pictures(8, 8))


def test_an_unknown_backend_is_an_error():
    with pytest.raises(BackendError, match="use auto, cpu, tensorrt, rtx, torch"):
        open_fuser("jcae", backend="warp")


def test_a_graph_that_is_no_graph_is_a_model_error(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "broken")
    (folder / "fuser.onnx").write_bytes(b"not a graph")
    facts = json.loads((folder / "model.json").read_text())
    facts["files"]["fuser.onnx"] = sha256(folder / "fuser.onnx")
    (folder / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match=r"fuser\.onnx: ONNX Runtime cannot load it"):
        open_fuser(folder)
