"""The network on torch: its graphs against ONNX Runtime, its CUDA calls against doubles."""

import contextlib
import subprocess
import sys
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines import fp16
from engines.base import BackendError
from engines.device import DeviceError, DeviceMemoryError
from engines.model import ModelError, load_model
from engines.torch_cuda import WARM_UP, TorchNetwork, open_runtime
from engines.torch_graph import ATTRIBUTES, TorchGraph
from engines.torch_runtime import TorchRuntime

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")


def graph(*nodes, inputs=("x",), weights=None, out=None):
    """A model of nodes (operator, *inputs, output, attributes or nothing)."""
    made = []
    for operator, *names in nodes:
        attributes = names.pop() if isinstance(names[-1], dict) else {}
        made.append(helper.make_node(operator, names[:-1], names[-1:], name=names[-1], **attributes))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", "C", "h", "w")) for name in inputs]
    last = helper.make_tensor_value_info(out or made[-1].output[0], TensorProto.FLOAT, None)
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    model = helper.make_graph(made, "tiny", ports, [last], constants)
    return helper.make_model(model, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run_on_torch(model, **inputs):
    with torch.inference_mode():
        run = TorchGraph(torch, model.graph, fp16.weights(model), "cpu")
        return run({name: torch.from_numpy(value) for name, value in inputs.items()}).numpy()


def run_on_onnx(model, **inputs):
    import onnxruntime

    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)[0]


RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(6).astype(np.float32)
GROUPED = RNG.standard_normal((6, 2, 3, 3)).astype(np.float32)
TWICE = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
EVERY = {"strides": [2, 1], "pads": [1, 2, 1, 2], "dilations": [1, 2], "group": 2, "kernel_shape": [3, 3]}
GRAPHS = {
    "conv": graph(("Conv", "x", "W", "b", "y"), weights={"W": WEIGHT, "b": BIAS}),
    "conv without bias": graph(("Conv", "x", "W", "y"), weights={"W": WEIGHT}),
    "conv with every attribute": graph(("Conv", "x", "W", "b", "y", EVERY), weights={"W": GROUPED, "b": BIAS}),
    "conv and relu": graph(("Conv", "x", "W", "b", "c"), ("Relu", "c", "y"), weights={"W": WEIGHT, "b": BIAS}),
    "relu of an input": graph(("Relu", "x", "y")),
    "conv read twice": graph(
        ("Conv", "x", "W", "b", "c"), ("Relu", "c", "r"), ("Add", "c", "r", "y"), weights={"W": WEIGHT, "b": BIAS}
    ),
    "conv that is the output and rectified, too": graph(
        ("Conv", "x", "W", "y"), ("Relu", "y", "r"), weights={"W": WEIGHT}, out="y"
    ),
    "pool": graph(("MaxPool", "x", "y", {"kernel_shape": [2, 2], "strides": [2, 2]})),
    "pool whose stride is not told": graph(("MaxPool", "x", "y", {"kernel_shape": [3, 2]})),
    "repeat": graph(("Resize", "x", "", "s", "y", TWICE), weights={"s": np.float32([1, 1, 2, 4])}),
    "blocks": graph(("DepthToSpace", "x", "y", {"blocksize": 2, "mode": "CRD"})),
    "maximum of three": graph(("Relu", "x", "r"), ("Add", "x", "x", "t"), ("Max", "x", "r", "t", "y")),
    "cast there and back": graph(("Cast", "x", "h", {"to": 10}), ("Cast", "h", "y", {"to": 1})),
    "sum with a constant": graph(("Add", "x", "k", "y"), weights={"k": np.float32([[[[3.5]]]])}),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_an_operator_gives_what_onnx_runtime_gives(name):
    x = RNG.standard_normal((2, 4, 9, 10)).astype(np.float32)
    wanted = run_on_onnx(GRAPHS[name], x=x)
    np.testing.assert_allclose(run_on_torch(GRAPHS[name], x=x), wanted, rtol=1e-5, atol=1e-5)
    assert np.abs(wanted).max() > 1


def test_every_operator_that_a_network_may_have_is_tried():
    assert set(ATTRIBUTES) == fp16.NETWORK_OPERATORS == {node.op_type for m in GRAPHS.values() for node in m.graph.node}


SHARP = {**TWICE, "nearest_mode": "ceil"}
THRICE = {"s": np.float32([1, 1, 3, 3])}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (graph(("Sigmoid", "x", "odd")), "odd: operator Sigmoid"),
        (graph(("MaxPool", "x", "odd", {"kernel_shape": [2, 2], "ceil_mode": 1})), "odd: MaxPool with ceil_mode"),
        (
            graph(("Conv", "x", "W", "odd", {"auto_pad": "SAME_UPPER"}), weights={"W": WEIGHT}),
            "odd: Conv with auto_pad",
        ),
        (graph(("Conv", "x", "W", "odd", {"pads": [0, 0, 1, 1]}), weights={"W": WEIGHT}), "odd: Conv with pads"),
        (graph(("Resize", "x", "", "s", "odd", TWICE), weights=THRICE), "odd: Resize by"),
        (graph(("Resize", "x", "", "s", "odd", SHARP), weights={"s": np.float32([1, 1, 2, 2])}), "ceil"),
        (graph(("Resize", "x", "", "s", "odd"), inputs=("x", "s")), "odd: Resize by None"),
        (graph(("DepthToSpace", "x", "odd", {"blocksize": 2})), "odd: DepthToSpace of mode DCR"),
        (graph(("DepthToSpace", "x", "odd", {"blocksize": 2, "mode": "DCR"})), "odd: DepthToSpace of mode DCR"),
    ],
)
def test_what_is_not_understood_is_named(model, said):
    with pytest.raises(ModelError, match=said):
        TorchGraph(torch, model.graph, fp16.weights(model), "cpu")


def test_a_weight_of_one_channel_is_laid_out_channels_last():
    """torch takes the layout of a picture of one channel, which could be either, from the weight."""
    weight = {"W": RNG.standard_normal((6, 1, 3, 3)).astype(np.float32)}
    model = graph(("Conv", "x", "W", "y"), weights=weight)
    with torch.inference_mode():
        out = TorchGraph(torch, model.graph, weight, "cpu")({"x": torch.ones(1, 1, 9, 9)})
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_results_on_the_way_are_counted_while_they_are_read():
    model = GRAPHS["conv read twice"]
    run = TorchGraph(torch, model.graph, fp16.weights(model), "cpu")
    assert run.working_values({"c": (2, 3), "r": (2, 3), "y": (2, 3)}) == 18
    model = GRAPHS["conv and relu"]
    run = TorchGraph(torch, model.graph, fp16.weights(model), "cpu")
    assert run.working_values({"c": (2, 3), "y": (2, 3)}) == 6  # rectified in place


@pytest.fixture
def info():
    return load_model("jcae")


def test_memory_is_that_of_the_buffers_and_of_two_neighbours(info):
    """By hand for a padded 40x32: luma, four stacks, decoded luma, and the first two results of an encoder."""
    half = 2 * 40 * 32 + 4 * 128 * 16 * 12 + 24 * 16 + 64 * (38 * 30 + 36 * 28)
    assert TorchNetwork(info, runtime=open_runtime("cpu")).memory(40, 32) == 2 * half
    # In fp32 luma and stacks are half still; a float copy of the luma is gone before the second result.
    wide = TorchNetwork(info, precision="fp32", runtime=open_runtime("cpu")).memory(40, 32)
    ways = 64 * (38 * 30 + 36 * 28)
    assert wide == 2 * (2 * 40 * 32 + 4 * 128 * 16 * 12) + 4 * (24 * 16 + ways)


def test_stacks_are_channels_last_halves_and_every_address_is_aligned(info):
    network = TorchNetwork(info, precision="fp32", runtime=open_runtime("cpu"))
    tensors = network.prepare(40, 32)
    assert (tensors.feature, tensors.decoded, network.unit) == ((16, 12), (24, 16), "float")
    held = network._buffers
    for name in held.__slots__:
        tensor = getattr(held, name)
        assert getattr(tensors, name) == tensor.data_ptr()
        assert tensor.data_ptr() % 16 == 0
        assert tensor.permute(0, 2, 3, 1).is_contiguous()
        assert tensor.dtype == (torch.float32 if name == "fused" else torch.float16)


def switches():
    return torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.is_inference_mode_enabled()


def test_torchs_switches_are_put_back(info):
    before, seen = switches(), []
    runtime = open_runtime("cpu")
    runtime.run(None, lambda: seen.append(switches()), what="", needed=0)
    with pytest.raises(DeviceError):
        runtime.run(None, lambda: torch.ones(2) @ torch.ones(3), what="", needed=0)
    assert seen == [(True, False, True)] != [before]
    assert before == switches()


def test_torch_is_loaded_only_by_a_network_on_torch():
    code = (
        "import sys, engines.torch_cuda, engines.torch_runtime, engines.torch_graph; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_work_before_prepare_is_refused(info):
    network = TorchNetwork(info, runtime=open_runtime("cpu"))
    with pytest.raises(ValueError, match="call prepare"):
        network.encode(None)
    network.prepare(40, 32)
    network.close()
    network.close()
    with pytest.raises(ValueError, match="call prepare"):
        network.decode(None)


class Graph:
    """torch.cuda.CUDAGraph."""

    def __init__(self):
        self.log = []

    def replay(self):
        self.log.append(("replay", Cuda.current))

    def reset(self):
        self.log.append("reset")
        raise RuntimeError("CUDA error: unspecified launch failure")


class Cuda:
    """torch.cuda, as far as it is used: notes what it is asked for."""

    current = None
    OutOfMemoryError = torch.OutOfMemoryError
    CUDAGraph = Graph

    def __init__(self):
        self.log, self.pools = [], 0
        self.Stream = lambda: SimpleNamespace(handle="own", synchronize=lambda: self.log.append("synchronize"))
        self.ExternalStream = lambda handle: SimpleNamespace(handle=handle)

    @contextlib.contextmanager
    def stream(self, stream):
        before, Cuda.current = Cuda.current, stream.handle
        try:
            yield
        finally:
            Cuda.current = before

    @contextlib.contextmanager
    def graph(self, graph, *, pool, stream, capture_error_mode):
        self.log.append(("record", pool, stream.handle, capture_error_mode))
        with self.stream(stream):
            yield

    def synchronize(self):
        self.log.append("wait for all")

    def empty_cache(self):
        self.log.append("empty_cache")

    def graph_pool_handle(self):
        self.pools += 1
        return self.pools

    def mem_get_info(self):
        return 123 << 20, 1 << 30


class DoubledRuntime(TorchRuntime):
    """torch on the CPU that is told it runs on CUDA."""

    def __init__(self, fused):
        self.cuda = Cuda()
        doubled = SimpleNamespace(**{name: getattr(torch, name) for name in dir(torch) if not name.startswith("__")})
        doubled.__version__, doubled.cuda, doubled.cudnn_convolution_relu = "9.9+cu130", self.cuda, fused
        super().__init__(doubled, "cuda")
        self.place = "cpu"  # of the tensors; `is_cuda` stays


def convolve(x, weight, bias, stride, padding, dilation, groups):
    """What cuDNN's fused call computes."""
    return torch.relu(torch.conv2d(x, weight, bias, stride, padding, dilation, groups))


def doubled_network(info, fused=convolve, precision="fp32"):
    runtime = DoubledRuntime(fused)
    return TorchNetwork(info, precision=precision, runtime=runtime), runtime.cuda


def features(network):
    network._buffers.ir.copy_(torch.linspace(0, 1, 40 * 32).reshape(1, 1, 40, 32))
    network.encode(SimpleNamespace(handle=7))
    return network._buffers.private_ir.clone()


def reference(info):
    with torch.inference_mode():
        network = TorchNetwork(info, precision="fp32", runtime=open_runtime("cpu"))
        network.prepare(40, 32)
        return features(network)


def test_a_size_is_warmed_up_in_a_stream_of_torchs_own_and_the_blocks_given_back(info):
    streams = []

    def fused(*arguments):
        streams.append(Cuda.current)
        return convolve(*arguments)

    network, cuda = doubled_network(info, fused)
    network.prepare(40, 32)
    assert streams == ["own"] * WARM_UP * (4 * 3 + 2 * 2)  # four encodings and two stacks decoded
    assert cuda.log == ["empty_cache", "wait for all", "synchronize", "empty_cache"]
    with torch.inference_mode():
        assert torch.equal(features(network), reference(info))
    assert set(streams[WARM_UP * 16 :]) == {7}


def test_a_fused_call_that_reads_unwritten_memory_is_not_used(info, caplog):
    def fused(*arguments):
        return convolve(*arguments).fill_(torch.nan)

    network, _ = doubled_network(info, fused)
    network.prepare(40, 32)
    assert "reads unwritten memory" in caplog.text
    with torch.inference_mode():
        assert torch.equal(features(network), reference(info))


def test_a_convolution_that_cudnn_cannot_fuse_is_run_in_steps(info):
    asked = []

    def fused(x, weight, *rest):
        asked.append(weight.shape[1])
        if weight.shape[1] == 1:
            raise RuntimeError("GET was unable to find an engine to execute this computation")
        return convolve(x, weight, *rest)

    network, _ = doubled_network(info, fused)
    network.prepare(40, 32)
    assert asked.count(1) == 3  # once for each encoder, then never again
    assert asked.count(64) > 3
    with torch.inference_mode():
        assert torch.equal(features(network), reference(info))


def test_a_recording_goes_through_torch_and_is_replayed_in_the_stream_given(info):
    network, cuda = doubled_network(info)
    network.prepare(40, 32)
    ran = []
    recording = network.record(SimpleNamespace(handle=7), lambda: ran.append(Cuda.current))
    assert ran == [7]
    assert cuda.log[-1] == ("record", cuda.pools, 7, "thread_local")
    network.record(SimpleNamespace(handle=7), lambda: None)
    assert cuda.log[-1] == ("record", cuda.pools, 7, "thread_local")  # the pool is shared
    recording.launch(SimpleNamespace(handle=8))
    recording.close()
    assert recording._graph.log == [("replay", 8), "reset"]
    pools = cuda.pools
    network.prepare(40, 34)
    network.record(SimpleNamespace(handle=7), lambda: None)
    assert cuda.log[-1][1] == cuda.pools > pools  # the pool of closed recordings is not asked for again


def test_a_thread_that_records_without_having_run_anything_warms_up_first(info):
    network, cuda = doubled_network(info)
    network.prepare(40, 32)
    stream, before = SimpleNamespace(handle=7), len(cuda.log)
    threads = [threading.Thread(target=network.record, args=(stream, lambda: None)) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    network.record(stream, lambda: None)
    asked = [entry if isinstance(entry, str) else entry[0] for entry in cuda.log[before:]]
    assert asked == ["wait for all", "synchronize", "empty_cache", "record"] * 3


def test_too_little_memory_says_how_much_and_holds_nothing(info):
    held = []

    def fused(x, *rest):
        held.append(weakref.ref(x))
        if len(held) < 3:
            return convolve(x, *rest)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    network, cuda = doubled_network(info, fused)
    with pytest.raises(DeviceMemoryError, match=r"a picture of 32x40: .* needed, 123\.0 MB free") as raised:
        network.prepare(40, 32)
    assert raised.value.needed == network.memory(40, 32)
    assert [reference() for reference in held] == [None] * 3  # while the error is still there
    assert network._buffers is None
    assert cuda.log[-1] == "empty_cache"


def test_an_error_of_ours_passes_as_it_is(info):
    network, _ = doubled_network(info)
    network.prepare(40, 32)
    error = DeviceError("host: cannot launch crotalus_fuse")

    def body():
        raise error

    with pytest.raises(DeviceError) as raised:
        network.record(SimpleNamespace(handle=7), body)
    assert raised.value is error


def test_an_error_of_the_gpu_is_one_line(info):
    network, _ = doubled_network(info)
    network.prepare(40, 32)

    def body():
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA")

    with pytest.raises(DeviceError, match=r"^torch 9\.9\+cu130: recording a frame: CUDA error: .*--backend cpu$"):
        network.record(SimpleNamespace(handle=7), body)


class Loaded(SimpleNamespace):
    """A torch that finds a GPU."""

    __version__ = "2.9.0+cu130"
    version = SimpleNamespace(cuda="13.0")

    def __init__(self, is_available=True, error=""):
        def zeros(*_, **__):
            raise RuntimeError(error)

        arches = ["sm_80", "sm_90"]
        cuda = SimpleNamespace(is_available=lambda: is_available, get_arch_list=lambda: arches)
        super().__init__(cuda=cuda, zeros=zeros)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (None, "import of torch halted"),
        (SimpleNamespace(__version__="2.9.0+cpu", version=SimpleNamespace(cuda=None)), "built without CUDA; install"),
        (Loaded(is_available=False), "finds no GPU; see `doctor`"),
        (
            Loaded(error="CUDA error: no kernel image\nis available"),
            "code for sm_80, sm_90: CUDA error: no kernel image;",
        ),
    ],
)
def test_a_torch_that_cannot_run_here_says_why(monkeypatch, module, said):
    monkeypatch.setitem(sys.modules, "torch", module)
    with pytest.raises(BackendError, match=rf"^backend torch: .*{said}.*--backend cpu$"):
        open_runtime()


def test_a_missing_onnx_is_named(monkeypatch, info):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "engines.fp16")
    monkeypatch.delattr("engines.fp16", raising=False)
    with pytest.raises(BackendError, match=r"backend torch: .*pip install 'crotalus\[cuda\]'"):
        TorchNetwork(info, runtime=open_runtime("cpu"))
