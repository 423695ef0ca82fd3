"""The whole way of a pair through torch and the kernels, on host memory, against the CPU's fuser."""

import numpy as np
import onnx
import pytest

from engines.model import load_model
from engines.onnx_cpu import OnnxFuser
from tests.engines.cuda.host_device import HostDevice
from tests.engines.cuda.host_torch import open_host_fuser

pytestmark = pytest.mark.usefixtures("one_thread")
CHANGED = {"fp32": 0.06, "fp16": 0.13}
"""Share of the pixels that may be one level off, and none may be more: luma and features are fp16 in both, so one that
lies close to a half is rounded either way. Measured on noise: up to 2.8 % and 6.7 %."""


@pytest.fixture
def make_fusers(kernel_library):
    """A function from precision and options of HostDevice to the fuser on the CPU and that on torch."""
    opened = []

    def make(precision, **options):
        info = load_model("jcae")  # an untrained one gives one gray, and hides all errors
        device = HostDevice(kernel_library(info.maps), info.maps, **options)
        opened.extend([OnnxFuser(info, threads=1), open_host_fuser(info, device, precision)])
        return opened[-2:]

    yield make
    for fuser in opened:
        fuser.close()


def check_alike(got, wanted, precision):
    error = np.abs(got.astype(int) - wanted)
    told = f"max {error.max()}, mean {error.mean():.4f}, histogram {np.bincount(error.ravel())}"
    assert got.shape == wanted.shape, got.shape
    assert error.max() <= 1, told
    assert np.count_nonzero(error) <= CHANGED[precision] * error.size, told


def pairs(count, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, count, *size), np.uint8)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("temper", ["random", "late"])
def test_a_stream_is_fused_as_on_the_cpu(make_fusers, precision, temper):
    cpu, torch = make_fusers(precision, temper=temper)
    ir, vis = pairs(4, (10, 22))
    flight, state, wanted = torch.start(follows=True), None, []
    for k in range(4):
        fused, state = cpu.fuse_next(ir[k], vis[k], state)
        wanted.append(fused)
    for k in range(3):
        flight.put(ir[k], vis[k])
    got = [flight.get()]
    flight.put(ir[3], vis[3])
    got += [flight.get() for _ in range(3)]
    check_alike(np.stack(got), np.stack(wanted), precision)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_single_pictures_of_any_size_are_fused_as_on_the_cpu(make_fusers, precision):
    cpu, torch = make_fusers(precision)
    for size in [(1, 1), (7, 16), (16, 7)]:
        ir, vis = pairs(2, size, seed=sum(size))
        check_alike(torch.fuse(ir, vis), cpu.fuse(ir, vis), precision)


def test_all_memory_of_the_device_is_given_back(make_fusers):
    _, torch = make_fusers("fp16")
    device = torch._device
    ir, vis = pairs(2, (5, 9))
    torch.fuse(ir, vis)
    torch.fuse(ir[:, :3], vis[:, :3])
    torch.close()
    assert device.left == (0, 0, 0)  # allocations, pinned arrays, recordings


def narrowed(info, folder, maps):
    """The model cut down to its first maps: its graphs in a folder."""
    for file in info.files:
        if not file.endswith(".onnx"):
            continue
        model = onnx.load(info.path(file))
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if "block2_conv1" in tensor.name:
                values = values[:maps]
            elif tensor.name == "decoder.conv1.weight":
                values = values[:, :maps]
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
        for value in [*model.graph.input, *model.graph.output]:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_value == info.maps:
                    dim.dim_value = maps
        onnx.save(model, folder / file)
    return info.model_copy(update={"maps": maps, "folder": folder})


def test_a_model_of_other_maps_runs_unchanged(kernel_library, tmp_path):
    info = narrowed(load_model("jcae"), tmp_path, 16)
    torch = open_host_fuser(info, HostDevice(kernel_library(16), 16))
    cpu = OnnxFuser(info, threads=1)
    ir, vis = pairs(1, (12, 9))[:, 0]
    got, wanted = torch.fuse(ir, vis), cpu.fuse(ir, vis)
    torch.close()
    cpu.close()
    check_alike(got, wanted, "fp16")
    assert wanted.std() > 5
