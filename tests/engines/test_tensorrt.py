"""The network on TensorRT, played by ONNX Runtime on an emulated device: its pixels, its memory, its errors."""

import re
import sys

import numpy as np
import pytest

from engines.base import BackendError, CrotalusError
from engines.build import build_engines
from engines.device import DeviceError, DeviceMemoryError
from engines.device_fuser import DeviceFuser
from engines.fp16 import load_graph
from engines.inventory import list_engines
from engines.model import ModelError, load_model
from engines.onnx_cpu import OnnxFuser
from engines.profile import Profile
from engines.record import SIDECAR, SUFFIX
from engines.tensorrt import TensorRtNetwork
from engines.trt import EngineError, open_compiler
from tests.engines.cuda import fake_trt as fake
from tests.engines.cuda.fake_trt import fake_trt, session
from tests.engines.cuda.host_device import HostDevice

pytest.importorskip("onnxruntime")
PADDED = 36, 40
"""Rows and columns of most pictures: 20x24 px and 8 around."""
FEATURE = 14, 16
MAPS = 128
KINDS = [("tensorrt", "10.16.1.11"), ("tensorrt", "11.4.0.106"), ("rtx", "1.7.1.116")]


@pytest.fixture(scope="module")
def info():
    return load_model("jcae")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROTALUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.fixture
def bench(kernel_library, info, monkeypatch):
    bench = Bench(kernel_library(MAPS), info, monkeypatch)
    yield bench
    for network in bench.networks:
        network.close()
    for device in bench.devices:
        device.close()
        assert device.left == (0, 0, 0), "allocations, pinned arrays and recordings that nobody gave back"


class Bench:
    """Opens devices, each with a TensorRT of its own, and networks on them."""

    def __init__(self, library, info, monkeypatch):
        self.kernels, self.info, self.patch = library, info, monkeypatch
        self.networks, self.devices, self.told = [], [], []

    def device(self, *, backend="tensorrt", version=None, faults=(), target="sm_00", **options):
        device = HostDevice(self.kernels, MAPS, **options)
        device.target = target
        self.trt = fake_trt(device, backend, version=version, present=target, faults=faults)
        self.patch.setitem(sys.modules, {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}[backend], self.trt)
        self.patch.setattr("engines.trt.present_target", lambda: target)
        self.devices.append(device)
        return device

    def network(self, *, backend="tensorrt", precision="fp16", **options):
        device = self.device(backend=backend, **options)
        network = TensorRtNetwork(self.info, device, backend=backend, precision=precision, on_progress=self.told.append)
        self.networks.append(network)
        return network, device

    def build(self, profile, **options):
        """Engines beforehand, as `build` makes them; what was told and called is forgotten."""
        compiler = open_compiler("tensorrt")
        with self.devices[-1].current():
            built = build_engines(self.info, backend="tensorrt", profile=profile, compiler=compiler, **options)
        self.trt.calls.clear()
        return built


def picture(seed, shape=PADDED):
    """Luma in 0..1 of a scene, (rows, columns) fp16."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    return (0.5 + 0.4 * np.sin(5 * x + 3 * y + seed) + rng.normal(0, 0.05, shape)).clip(0, 1).astype(np.float16)


def reference(info, graph, **feed):
    """What the model's own graph gives in float32."""
    data = load_graph(info.path(f"{graph}.onnx")).SerializeToString()
    return session(data).run(None, {name: value.astype(np.float32) for name, value in feed.items()})[0]


def run(network, device, ir, vis, change=lambda private, common: None):
    """The four stacks, (maps, h, w), and the decoded luma; `change` may write the stacks that are decoded."""
    to = network.prepare(*ir.shape)
    stream = device.stream()
    device.array(to.ir, ir.shape, np.float16)[:] = ir
    device.array(to.vis, vis.shape, np.float16)[:] = vis
    network.encode(stream)
    device.synchronize(stream)
    views = [
        device.array(address, (*to.feature, MAPS), np.float16)
        for address in (to.private_ir, to.private_vis, to.common_ir, to.common_vis)
    ]
    stacks = [np.moveaxis(view, -1, 0).copy() for view in views]
    change(views[0], views[2])
    network.decode(stream)
    device.synchronize(stream)
    return stacks, device.array(to.fused, to.decoded, np.float32).copy()


@pytest.mark.parametrize(("backend", "version"), KINDS)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_each_stack_and_the_sum_are_those_of_the_model(bench, info, backend, version, precision):
    network, device = bench.network(backend=backend, version=version, precision=precision)
    ir, vis = picture(1), picture(2)
    (private_ir, private_vis, common_ir, common_vis), fused = run(network, device, ir, vis)
    tolerance = {"fp16": 2e-3, "fp32": 5e-4}[precision]  # of the largest value: rounding of half, once a layer, or once
    for graph, luma, found in (
        ("encoder_ir", ir, private_ir),
        ("encoder_vis", vis, private_vis),
        ("encoder_common", ir, common_ir),
        ("encoder_common", vis, common_vis),
    ):
        wanted = reference(info, graph, luma=luma[None, None])[0]
        assert np.abs(found - wanted).max() < tolerance * wanted.max(), graph
    wanted = reference(info, "decoder", common=common_ir[None], private=private_ir[None])[0, 0]
    assert fused.shape == (20, 24)
    assert np.abs(fused - wanted).max() < {"fp16": 2e-3, "fp32": 1e-5}[precision]
    assert network.name == f"{backend} {'.'.join(version.split('.')[:2])} (sm_00, {precision})"


def test_what_is_decoded_are_the_stacks_that_were_fused_into(bench, info):
    network, device = bench.network(precision="fp32")
    rng = np.random.default_rng(3)
    private, common = rng.random((2, *FEATURE, MAPS), np.float32).astype(np.float16)

    def change(first, second):
        first[:], second[:] = private, common

    fused = run(network, device, picture(1), picture(2), change)[1]
    wanted = reference(
        info, "decoder", common=np.moveaxis(common, -1, 0)[None], private=np.moveaxis(private, -1, 0)[None]
    )[0, 0]
    assert np.abs(fused - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_stream_through_the_fuser_is_that_of_the_cpu(bench, info, precision):
    """First pair enqueued, the others launched from recordings, in whatever order the streams run."""
    network, device = bench.network(precision=precision)
    fuser = DeviceFuser(info, network, device)
    ir, vis = ((255 * np.stack([picture(seed + k, (20, 24)) for k in range(5)])).astype(np.uint8) for seed in (0, 9))
    flight, fused = fuser.start(follows=True), []
    for k in range(5):
        if k >= flight.depth:
            fused.append(flight.get())
        flight.put(ir[k], vis[k])
    while len(fused) < 5:
        fused.append(flight.get())
    cpu, state, wanted = OnnxFuser(info, threads=1), None, []
    for pair in zip(ir, vis, strict=True):
        luma, state = cpu.fuse_next(*pair, state)
        wanted.append(luma)
    off = np.abs(np.stack(fused).astype(int) - np.stack(wanted))
    assert off.max() <= 4, np.bincount(off.ravel())  # where a feature rounds to zero, a position less is counted
    assert 10 * np.log10(255**2 / np.mean(off**2)) > 50, np.bincount(off.ravel())
    assert device.launches >= 3
    assert fuser.name == f"jcae on tensorrt 10.16 (sm_00, {precision})"
    fuser.close()


def test_four_engines_share_the_largest_scratch_block(bench, info):
    network, device = bench.network()
    network.prepare(*PADDED)
    needs = [engine.scratch_bytes for engine in network._engines.values()]
    assert len(set(needs)) == 2  # three encoders alike, and the decoder
    luma, stack, decoded = 2 * 36 * 40, 2 * 14 * 16 * MAPS, 4 * 20 * 24
    free, total = device.memory()
    assert total - free == 2 * luma + 4 * stack + 3 * decoded + max(needs)
    assert network.memory(*PADDED) == total - free
    calls = bench.trt.calls
    assert [calls.count(name) for name in ("deserialize_cuda_engine", "create_execution_context")] == [4, 4]
    network.close()
    network.close()
    assert device.memory() == (total, total)


def test_a_size_that_no_engine_takes_is_built_told_and_kept(bench, cache):
    bench.network()[0].prepare(*PADDED)
    assert bench.told[0].startswith("no engines for 24x20 in the cache: building 4, which takes minutes, once; `build`")
    assert bench.told[1] == "building encoder_ir for sm_00 at 24x20 in fp16 (not built yet)"
    assert len(bench.told) == 5
    assert {engine.record.key.profile for engine in list_engines()} == {"24x20"}
    bench.told.clear()
    network, _ = bench.network()
    network.prepare(*PADDED)
    assert bench.told == []
    assert "build_serialized_network" not in bench.trt.calls
    network.prepare(38, 40)
    assert "no engines for 24x22" in bench.told[0]


def test_a_cached_range_that_takes_the_size_is_used_and_not_opened_again(bench, info):
    network, device = bench.network()
    bench.build(Profile((8, 8), (24, 24), (40, 40)))
    for shape in (PADDED, (24, 24), (56, 56)):
        stacks, fused = run(network, device, picture(1, shape), picture(2, shape))
        wanted = reference(info, "encoder_common", luma=picture(2, shape)[None, None])[0]
        assert np.abs(stacks[3] - wanted).max() < 2e-3 * wanted.max()
        assert fused.shape == (shape[0] - 16, shape[1] - 16)
    assert bench.told == []
    assert bench.trt.calls.count("deserialize_cuda_engine") == 4
    network.prepare(58, 40)
    assert "no engines for 24x42" in bench.told[0]


def test_of_several_cached_sets_the_one_that_needs_least_is_used(bench):
    network, _ = bench.network()
    bench.build(Profile((8, 8), (24, 24), (90, 90)))
    bench.build(Profile((8, 8), (24, 24), (40, 40)), batch=2)
    small = bench.build(Profile((8, 8), (24, 24), (30, 30)))
    bench.build(Profile.fixed(64, 64))
    network.prepare(*PADDED)
    assert network._paths == [engine.path for engine in small]
    fixed = bench.build(Profile.fixed(24, 20))
    network.prepare(*PADDED)
    assert network._paths == [engine.path for engine in fixed]
    assert bench.told == []


@pytest.mark.parametrize(
    "sizes",
    [
        ((26, 8), (30, 30), (40, 40)),
        ((8, 22), (30, 30), (40, 40)),
        ((8, 8), (9, 9), (22, 40)),
        ((8, 8), (9, 9), (40, 18)),
    ],
)
def test_a_cached_range_beside_the_size_is_not_used(bench, sizes):
    """Of a picture 24 wide and 20 high, one side outside."""
    network, _ = bench.network()
    bench.build(Profile(*sizes))
    network.prepare(*PADDED)
    assert "no engines for 24x20" in bench.told[0]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engines_of_another_precision_are_not_used(bench, precision):
    network, _ = bench.network(precision="fp16" if precision == "fp32" else "fp32")
    bench.build(Profile.fixed(24, 20), precision=precision)
    network.prepare(*PADDED)
    assert len(bench.told) == 5


@pytest.mark.parametrize("damage", ["half", "no sidecar", "gone", "changed"])
def test_a_damaged_set_is_built_again_and_not_run(bench, damage):
    network, _ = bench.network()
    path = bench.build(Profile.fixed(24, 20))[2].path
    if damage == "half":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    else:
        path.with_suffix(SIDECAR if damage == "no sidecar" else SUFFIX).unlink()
    network.prepare(*PADDED)
    assert len(bench.told) == 2
    assert bench.told[1].startswith("building encoder_common for sm_00")


@pytest.mark.parametrize("total", [4_000, 100_000, 440_000])
def test_memory_that_does_not_suffice_is_told_and_given_back(bench, total):
    """With the luma, a stack and the scratch block as the one that does not fit."""
    network, device = bench.network(total=total)
    with pytest.raises(DeviceMemoryError) as told:
        network.prepare(72, 72)
    assert told.value.needed > told.value.free
    assert told.value.exit_code == 2
    assert network.memory(72, 72) > total
    assert device.memory() == (total, total)
    with pytest.raises(ValueError, match="call prepare first"):
        network.encode(device.stream())


def test_the_fuser_tells_what_a_picture_needs_and_which_size_would_do(bench, info):
    network, device = bench.network(total=300_000)
    fuser = DeviceFuser(info, network, device)
    large = np.full((56, 56), 128, np.uint8)
    with pytest.raises(DeviceMemoryError, match=r"56x56: 1\.\d MB of GPU memory needed, 0\.3 MB free; fuse at") as told:
        fuser.fuse(large, large)
    width, height = map(int, re.search(r"--size (\d+)x(\d+)", str(told.value)).groups())
    assert fuser.fuse(large[:height, :width], large[:height, :width]).shape == (height, width)
    fuser.close()


@pytest.mark.parametrize("backend", ["tensorrt", "rtx", "auto"])
def test_the_backend_is_opened_by_name_and_by_auto(bench, info, monkeypatch, backend):
    """From the one opener that the commands call to the fused picture."""
    from engines import backends
    from engines.base import open_fuser
    from engines.gpu import Gpu

    flavour = "tensorrt" if backend == "auto" else backend
    device = bench.device(backend=flavour)
    monkeypatch.setattr(backends, "find_gpu", lambda: Gpu("host", "sm_00", 1 << 30, "13.0", "580"))
    monkeypatch.setattr("engines.cuda_device.CudaDevice", lambda maps: device)
    fuser = open_fuser("jcae", backend=backend, precision="fp32", on_progress=bench.told.append)
    assert fuser.name == f"jcae on {flavour} {'1.7' if flavour == 'rtx' else '10.16'} (sm_00, fp32)"
    pictures = (255 * np.stack([picture(seed, (20, 24)) for seed in (1, 2)])).astype(np.uint8)
    cpu = OnnxFuser(info, threads=1)
    assert np.abs(fuser.fuse(*pictures).astype(int) - cpu.fuse(*pictures)).max() <= 4
    assert len(bench.told) == 5
    fuser.close()


FAULTS = {
    "deserialize_cuda_engine": "encoder_ir: TensorRT refused",
    "create_execution_context": "encoder_ir: its context: TensorRT refused",
    "set_input_shape": "encoder_ir: luma of (1, 1, 36, 40): TensorRT refused",
    "infer_shapes": "encoder_ir: TensorRT refused",
    "set_device_memory": "encoder_ir: TensorRT refused",
    "set_tensor_address": "encoder_ir: luma: TensorRT refused",
    "execute_async_v3": "encoder_ir: TensorRT refused",
    "build_serialized_network": "encoder_ir: TensorRT refused",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_refusal_is_one_line_with_what_tensorrt_said(bench, fault):
    network, device = bench.network(faults=[fault])

    def use():
        network.prepare(*PADDED)
        network.encode(device.stream())

    with pytest.raises(EngineError) as told:
        use()
    said = f"[{fault}] Error Code 1: Cuda Runtime (out of luck)"
    assert str(told.value).startswith(FAULTS[fault])
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert told.value.exit_code == 1


def test_a_refusal_of_what_only_tensorrt_rtx_has_is_one_line(bench):
    network, _ = bench.network(backend="rtx", faults=["create_runtime_config"])
    with pytest.raises(EngineError, match=r"encoder_ir: TensorRT refused \(\[create_runtime_config\]"):
        network.prepare(*PADDED)


def test_what_the_bindings_raise_is_one_line(bench):
    network, _ = bench.network(faults=["Runtime"])
    with pytest.raises(EngineError, match=r"encoder_ir: TensorRT refused \(pybind11::init\(\)"):
        network.prepare(*PADDED)


def test_an_engine_of_another_gpu_is_refused_with_tensorrts_words(bench):
    network, _ = bench.network()
    bench.build(Profile.fixed(24, 20))
    bench.trt.present = "sm_86"  # a record that does not tell the truth
    with pytest.raises(EngineError, match="generated on a GPU of sm_00, this is another"):
        network.prepare(*PADDED)


def test_engines_built_for_other_gpus_are_left_alone(bench):
    network, _ = bench.network(backend="rtx")
    build_engines(bench.info, backend="rtx", profile=Profile.fixed(24, 20), targets=["sm_75", "sm_86"])
    network.prepare(*PADDED)
    assert len(bench.told) == 5


@pytest.mark.parametrize(("port", "kind"), [("features", ("HALF", "LINEAR")), ("luma", ("FLOAT", "LINEAR"))])
def test_an_engine_that_the_kernels_would_misread_is_refused(bench, monkeypatch, port, kind):
    network, _ = bench.network()
    monkeypatch.setattr(fake.Engine, "get_tensor_dtype", lambda self, name: self._told(name)[0])
    monkeypatch.setattr(fake.Engine, "get_tensor_format", lambda self, name: self._told(name)[1])
    wrong = lambda self, name: kind if name == port else self.head["ports"][name]  # noqa: E731
    monkeypatch.setattr(fake.Engine, "_told", wrong, raising=False)
    with pytest.raises(EngineError, match=rf"encoder_ir: {port} is {kind[0]}, {kind[1]}, to be HALF, .*--force"):
        network.prepare(*PADDED)


def test_an_engine_of_other_shapes_than_its_graph_is_refused(bench, monkeypatch):
    network, _ = bench.network()
    told = fake.Context.get_tensor_shape
    other = lambda self, name: (*told(self, name)[:3], 17) if name == "features" else told(self, name)  # noqa: E731
    monkeypatch.setattr(fake.Context, "get_tensor_shape", other)
    with pytest.raises(EngineError, match=r"encoder_ir: its shapes are .* 17\)\}, to be .*--force"):
        network.prepare(*PADDED)


def test_a_gpu_that_this_tensorrt_does_not_know_is_refused_with_those_it_does(bench):
    with pytest.raises(BackendError) as told:
        bench.network(backend="rtx", target="sm_90")
    assert str(told.value) == (
        "backend rtx: version 1.7 runs on sm_00, sm_75, sm_86, host is sm_90; use --backend torch or tensorrt or cpu"
    )
    assert told.value.exit_code == 2


def test_a_model_without_the_graphs_is_told_when_it_is_opened(bench, info):
    files = {name: value for name, value in info.files.items() if name != "decoder.onnx"}
    bench.info = info.model_copy(update={"files": files})
    with pytest.raises(ModelError, match=r"has no decoder\.onnx"):
        bench.network()


def test_without_onnx_the_error_names_the_extra(bench, monkeypatch):
    monkeypatch.setitem(sys.modules, "engines.fp16", None)
    with pytest.raises(BackendError, match=r"pip install 'crotalus\[rtx\]'"):
        bench.network()


def test_a_cache_of_others_is_refused_and_nothing_is_held(bench, cache):
    network, device = bench.network()
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    assert network.memory(*PADDED) > 0
    with pytest.raises(CrotalusError, match="chmod 700"):
        network.prepare(*PADDED)
    assert device.memory()[0] == device.total


def test_nothing_runs_after_close_and_a_lost_gpu_closes_in_peace(bench, info):
    network, device = bench.network()
    network.prepare(*PADDED)
    network.close()
    with pytest.raises(ValueError, match="call prepare first"):
        network.decode(device.stream())
    network, device = bench.network(fails_at=3)
    network.prepare(*PADDED)
    with pytest.raises(DeviceError):
        run(network, device, picture(1), picture(2))
    network.close()


def test_the_fake_has_no_names_of_its_own(bench):
    """What it offers, the real one offers."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'crotalus[rtx]'")
    pairs = {
        "Builder": fake.Builder, "INetworkDefinition": fake.Definition, "OnnxParser": fake.OnnxParser,
        "IBuilderConfig": fake.Config, "IOptimizationProfile": fake.Profile, "Runtime": fake.Runtime,
        "ICudaEngine": fake.Engine, "IExecutionContext": fake.Context,
    }  # fmt: skip
    for name, kind in pairs.items():
        own = {attribute for attribute in vars(kind) if attribute[0] != "_"}
        assert own, name
        assert not {attribute for attribute in own if not hasattr(getattr(rtx, name), attribute)}, name
