"""Which runtime fuses, and which model if the user leaves that open, too. Heavy runtimes are imported last."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, cast, get_args

from engines.base import Backend, BackendError, CrotalusError, Fuser
from engines.gpu import Gpu, NoGpuError, find_gpu
from engines.model import DEFAULT, LIGHT, load_model

if TYPE_CHECKING:
    from engines.device import Device
    from engines.device_network import DeviceNetwork
    from engines.model import ModelInfo
    from engines.trt import Precision

GpuBackend = Literal["tensorrt", "rtx", "torch"]
GPU_BACKENDS: tuple[GpuBackend, ...] = get_args(GpuBackend)
"""In the order that `auto` tries them; `cpu` is the last."""
Tell = Callable[[str], None]
logger = logging.getLogger(__name__)


def open_auto(backend: Backend, *, threads: int, precision: Precision, on_progress: Tell) -> Fuser:
    """The full model on a GPU, the light one on a CPU; see `base.open_fuser`."""
    if backend == "cpu":
        return _open_light(threads, on_progress)
    full = load_model(DEFAULT)
    if backend == "auto":
        fuser = _open_first(full, precision=precision, on_progress=on_progress)
        return fuser or _open_light(threads, on_progress)
    return open_backend(full, backend, threads=threads, precision=precision, on_progress=on_progress)


def auto_model(backend: Backend, *, precision: Precision) -> str:
    """The name of the model that `auto` is here. With a GPU it is opened for that, as nothing else tells if it runs."""
    try:
        find_gpu()
    except NoGpuError:
        return LIGHT if backend in ("auto", "cpu") else DEFAULT
    fuser = open_auto(backend, threads=1, precision=precision, on_progress=lambda line: None)
    fuser.close()
    return fuser.info.name if fuser.info else LIGHT


def open_backend(info: ModelInfo, backend: Backend, *, threads: int, precision: Precision, on_progress: Tell) -> Fuser:
    """See `base.open_fuser`."""
    if backend == "cpu":
        return _open_cpu(info, threads)
    if backend == "auto":
        return _open_first(info, precision=precision, on_progress=on_progress) or _open_cpu(info, threads)
    if backend not in GPU_BACKENDS:
        raise BackendError(f"backend {backend!r}: not known; use {', '.join(get_args(Backend))}")
    info.require_parts(f"backend {backend}")
    try:
        gpu = find_gpu()
    except NoGpuError as error:
        raise BackendError(f"backend {backend}: {error}; install the driver, or use --backend cpu") from error
    return _open_gpu(info, backend, gpu, precision=precision, on_progress=on_progress)


def _open_first(info: ModelInfo, *, precision: Precision, on_progress: Tell) -> Fuser | None:
    """The first on a GPU that can run, or None. Where there is a GPU and none of them can, the user is told why."""
    try:
        gpu = find_gpu()
    except NoGpuError as error:
        logger.info("backend cpu: %s", error)
        return None
    if info.kind == "graph":
        on_progress(f"{gpu.name} is not used: model {info.name} is one whole graph, which runs on cpu only")
        return None
    reasons = []
    for backend in GPU_BACKENDS:
        try:
            fuser = _open_gpu(info, backend, gpu, precision=precision, on_progress=on_progress)
        except CrotalusError as error:
            logger.info("not %s: %s", backend, error)
            reasons.append(str(error))
            continue
        logger.info("backend %s: the first that runs on %s", backend, gpu)
        return fuser
    on_progress(f"{gpu.name} is not used: {' | '.join(reasons)}")
    return None


def _open_light(threads: int, on_progress: Tell) -> Fuser:
    on_progress(f"model auto is {LIGHT} on a CPU; --model {DEFAULT} is the full one, made for a GPU")
    return _open_cpu(load_model(LIGHT), threads)


def _open_cpu(info: ModelInfo, threads: int) -> Fuser:
    from engines.onnx_cpu import OnnxFuser

    return OnnxFuser(info, threads=threads)


def _open_gpu(info: ModelInfo, backend: GpuBackend, gpu: Gpu, *, precision: Precision, on_progress: Tell) -> Fuser:
    """Raises BackendError and ModelError for what can be known before a first picture."""
    if backend != "torch":
        from engines.tensorrt import compiler_for

        compiler_for(backend, gpu.name, gpu.target)  # before a context takes its half second and its memory
    from engines.cuda_device import CudaDevice
    from engines.device_fuser import DeviceFuser

    device = cast("Device", CudaDevice(info.maps))  # whose methods take streams of its own only
    try:
        network = _network(info, backend, device, precision=precision, on_progress=on_progress)
    except BaseException:
        device.close()
        raise
    return DeviceFuser(info, network, device)


def _network(
    info: ModelInfo, backend: GpuBackend, device: Device, *, precision: Precision, on_progress: Tell
) -> DeviceNetwork:
    if backend == "torch":
        from engines.torch_cuda import TorchNetwork

        return TorchNetwork(info, precision=precision)
    from engines.tensorrt import TensorRtNetwork

    return TensorRtNetwork(info, device, backend=backend, precision=precision, on_progress=on_progress)
