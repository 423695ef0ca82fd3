"""TensorRT played on a `HostDevice`: builds, reads and runs engines with ONNX Runtime, as strict as the real one.

What the real one answers with None, False or a line in its log is answered so here, too; what it would crash on or
silently get wrong (a missing address, a block too small, no current context) fails the test.
"""

import functools
import json
import math
import types

import numpy as np
import onnx

VERSIONS = {"tensorrt": "10.16.1.11", "rtx": "1.7.1.116"}
MAGIC = b"fake plan "
DTYPES = {"HALF": np.float16, "FLOAT": np.float32}


class Member(str):
    """A member of an enumeration: it has a number, and a name to be read in messages."""

    def __new__(cls, name, number):
        member = super().__new__(cls, name)
        member.number = number
        return member

    def __int__(self):
        return self.number


def enumeration(**numbers):
    members = {name: Member(name, number) for name, number in numbers.items()}
    return types.SimpleNamespace(**members, __members__=members)


def fake_trt(device, backend="tensorrt", *, version=None, present="sm_00", faults=()):
    """A module as `import tensorrt` gives it. faults: names of calls that fail, as the real ones do."""
    trt = types.ModuleType(backend)
    trt.__version__ = version or VERSIONS[backend]
    trt.device, trt.present, trt.faults, trt.calls = device, present, set(faults), []
    trt.BuilderFlag = enumeration(TF32=7)
    trt.DataType, trt.TensorFormat = enumeration(FLOAT=0, HALF=1), enumeration(LINEAR=0, HWC8=3)
    trt.NetworkDefinitionCreationFlag = enumeration(STRONGLY_TYPED=1)
    trt.ExecutionContextAllocationStrategy = enumeration(STATIC=0, USER_MANAGED=2)
    trt.ILogger = type("ILogger", (), {"ERROR": 1})
    if backend == "rtx":
        trt.ComputeCapability = enumeration(SM75=75, SM86=86, SM00=0, CURRENT=9)
        trt.DynamicShapesKernelSpecializationStrategy = enumeration(LAZY=0, EAGER=1)
    for kind in (Builder, OnnxParser, Runtime):
        setattr(trt, kind.__name__, functools.partial(kind, trt))
    return trt


def call(answer_on_fault):
    """A method that is written down, and that answers so, with a line in the log, where it is among the faults."""

    def decorate(method):
        @functools.wraps(method)
        def wrapped(self, *args, **options):
            self.trt.calls.append(method.__name__)
            if method.__name__ in self.trt.faults:
                self.log.log(1, f"[{method.__name__}] Error Code 1:\n  Cuda Runtime (out of luck)")
                return answer_on_fault
            return method(self, *args, **options)

        return wrapped

    return decorate


class Definition:
    def __init__(self):
        self.tensors = []

    num_inputs = property(lambda self: self.counts[0])
    num_outputs = property(lambda self: self.counts[1])

    def get_input(self, i):
        return self.tensors[i]

    def get_output(self, i):
        return self.tensors[self.counts[0] + i]


class OnnxParser:
    def __init__(self, trt, definition, log):
        self.trt, self.definition, self.log = trt, definition, log

    def parse(self, data):
        model, kinds = onnx.ModelProto.FromString(data), {1: self.trt.DataType.FLOAT, 10: self.trt.DataType.HALF}
        graph, self.definition.onnx = model.graph, data
        self.definition.counts = len(graph.input), len(graph.output)
        for value in [*graph.input, *graph.output]:
            kind = kinds[value.type.tensor_type.elem_type]
            self.definition.tensors.append(types.SimpleNamespace(name=value.name, dtype=kind, allowed_formats=1))
        return True


class Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, *shapes):
        self.shapes[name] = shapes


class Config:
    def __init__(self):
        self.flags, self.target = {"TF32"}, None

    def clear_flag(self, flag):
        self.flags.remove(flag)

    def set_compute_capability(self, capability, index):
        self.target = capability
        return index < self.num_compute_capabilities

    def add_optimization_profile(self, profile):
        self.profile = profile
        return 0


class Builder:
    def __init__(self, trt, log):
        assert trt.device.is_current or hasattr(trt, "ComputeCapability"), "no CUDA context is current"
        self.trt, self.log = trt, log

    def create_network(self, flags):
        assert flags == (2 if self.trt.__version__.startswith("10.") else 0)
        return Definition()

    def create_builder_config(self):
        return Config()

    def create_optimization_profile(self):
        return Profile()

    @call(None)
    def build_serialized_network(self, definition, config):
        assert "TF32" not in config.flags
        ports = {
            tensor.name: (str(tensor.dtype), "HWC8" if tensor.allowed_formats == 8 else "LINEAR")
            for tensor in definition.tensors
        }
        largest = max(math.prod(shapes[2]) for shapes in config.profile.shapes.values())
        scratch = 3 * largest + 1000 * len(ports) + 1
        self.log.log(3, f"Total Activation Memory: {scratch} bytes")
        target = "sm_" + config.target[2:].lower() if config.target else self.trt.present
        head = {
            "shapes": config.profile.shapes, "ports": ports, "inputs": definition.counts[0], "scratch": scratch,
            "target": target,
        }  # fmt: skip
        return MAGIC + json.dumps(head).encode() + b"\n" + definition.onnx


class Runtime:
    def __init__(self, trt, log):
        if "Runtime" in trt.faults:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.trt, self.log = trt, log

    @call(None)
    def deserialize_cuda_engine(self, plan):
        assert self.engine_host_code_allowed is False
        if not plan.startswith(MAGIC):
            self.log.log(1, "Serialization assertion magicTag failed")
            return None
        head, data = plan[len(MAGIC) :].split(b"\n", 1)
        head = json.loads(head)
        if head["target"] != self.trt.present:
            self.log.log(1, f"The engine plan file was generated on a GPU of {head['target']}, this is another")
            return None
        return Engine(self.trt, self.log, head, data)


class Engine:
    def __init__(self, trt, log, head, data):
        assert trt.device.is_current, "no CUDA context is current"
        self.trt, self.log, self.head, self.data = trt, log, head, data
        self.names = list(head["ports"])
        self.num_io_tensors, self.device_memory_size_v2 = len(self.names), head["scratch"]

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_dtype(self, name):
        return getattr(self.trt.DataType, self.head["ports"][name][0])

    def get_tensor_format(self, name):
        return getattr(self.trt.TensorFormat, self.head["ports"][name][1])

    @call(None)
    def create_runtime_config(self):
        config = types.SimpleNamespace(strategy=None)
        config.set_execution_context_allocation_strategy = lambda strategy: setattr(config, "strategy", strategy)
        return config

    @call(None)
    def create_execution_context(self, how):
        strategy = how
        if hasattr(self.trt, "ComputeCapability"):
            strategy = how.strategy
            assert how.dynamic_shapes_kernel_specialization_strategy == "EAGER"
        assert strategy == "USER_MANAGED"
        return Context(self)


class Context:
    def __init__(self, engine):
        assert engine.trt.device.is_current, "no CUDA context is current"
        self.engine, self.trt, self.log = engine, engine.trt, engine.log
        self.shapes, self.addresses, self.scratch = {}, {}, None

    @call(False)
    def set_input_shape(self, name, shape):
        low, _, high = self.engine.head["shapes"][name]
        if not all(a <= side <= b for a, side, b in zip(low, shape, high, strict=True)):
            self.log.log(1, f"Set dimension {list(shape)} for tensor {name} does not satisfy any profile")
            return False
        self.shapes[name] = shape
        return True

    @call(["features"])
    def infer_shapes(self):
        return [name for name in self.engine.names[: self.engine.head["inputs"]] if name not in self.shapes]

    def get_tensor_shape(self, name):
        if name in self.shapes:
            return self.shapes[name]
        ports = self.engine.head["ports"]
        return shape_of(self.engine.data, name, tuple((key, ports[key][0], size) for key, size in self.shapes.items()))

    @call(None)
    def set_device_memory(self, address, size):
        if address % 256 or size < self.engine.device_memory_size_v2:
            self.log.log(1, f"{size} bytes at {address:#x}: not enough, or not aligned")
            return
        self.scratch = address, size

    @call(False)
    def set_tensor_address(self, name, address):
        assert name in self.engine.names
        self.addresses[name] = address
        return address % 16 == 0

    @call(False)
    def execute_async_v3(self, handle):
        device, engine = self.trt.device, self.engine
        assert device.is_current, "no CUDA context is current"
        assert set(self.addresses) == set(engine.names), "an address is missing"
        assert not self.infer_shapes(), "a shape is missing"
        assert self.scratch, "no scratch memory"
        stream = next(stream for stream in device._streams if stream.handle == handle)
        shapes = {name: self.get_tensor_shape(name) for name in engine.names}
        step = functools.partial(self._run, dict(self.addresses), shapes, self.scratch)
        device.put(stream, step)
        return True

    def _run(self, addresses, shapes, scratch):
        device, inputs = self.trt.device, self.engine.head["inputs"]
        device.array(scratch[0], scratch[1], np.uint8)[:] = 0xEE  # whoever keeps something there loses it
        views = {name: self._view(name, addresses[name], shapes[name]) for name in self.engine.names}
        feed = {name: np.ascontiguousarray(views[name]) for name in self.engine.names[:inputs]}
        assert all(np.isfinite(value).all() for value in feed.values()), "an input is rubbish"
        for name, value in zip(self.engine.names[inputs:], session(self.engine.data).run(None, feed), strict=True):
            views[name][:] = value

    def _view(self, name, address, shape):
        """A tensor of the device as (N, C, H, W), whatever its layout."""
        kind, layout = self.engine.head["ports"][name]
        n, channels, height, width = shape
        if layout == "LINEAR":
            return self.trt.device.array(address, shape, DTYPES[kind])
        assert channels % 8 == 0
        return np.moveaxis(self.trt.device.array(address, (n, height, width, channels), DTYPES[kind]), -1, 1)


@functools.cache
def shape_of(data, name, inputs):
    """Shape of an output for the name, type and shape of each input."""
    feed = {key: np.zeros(shape, DTYPES[kind]) for key, kind, shape in inputs}
    return session(data).run([name], feed)[0].shape


@functools.cache
def session(data):
    """On one thread, so that tests side by side take turns."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
