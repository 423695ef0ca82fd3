"""What of this machine serves a GPU, and why not: the GPU, its video units, kernels, cached engines, backends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing

from engines.backends import GPU_BACKENDS, GpuBackend
from engines.base import CrotalusError, open_fuser
from engines.cache import engine_folder
from engines.gpu import NoGpuError, find_gpu
from engines.kernels import SHIPPED_MAPS, find_nvcc, shipped_ptx
from engines.model import version
from engines.record import SUFFIX
from pipeline import hardware
from pipeline.encoding import NVENC_CODECS


def facts() -> Iterator[tuple[str, str, str]]:
    """(section, name, finding) of the GPU and what it needs. Nothing here raises."""
    yield "gpu", "GPU", _gpu()
    yield "gpu", "NVDEC (H.264)", hardware.nvdec()
    yield "gpu", "NVENC", _nvenc()
    yield "gpu", "CUDA kernels", _kernels()
    yield "gpu", "built engines", _engines()


def backends() -> Iterator[tuple[str, str, str]]:
    """The same of each backend for GPUs. Nothing here raises, and without a driver nothing heavy is imported."""
    for backend in GPU_BACKENDS:
        yield "backends", backend, _backend(backend)


def _gpu() -> str:
    try:
        return str(find_gpu())
    except NoGpuError as error:
        return f"none: {error}"


def _nvenc() -> str:
    """Encoders by what is said of them, as most often that is the same."""
    said = defaultdict(list)
    for codec in NVENC_CODECS:
        said[hardware.nvenc(codec)].append(codec)
    return "; ".join(f"{' '.join(codecs)}: {finding}" for finding, codecs in said.items())


def _kernels() -> str:
    nvcc = find_nvcc()
    ptx = f"PTX for {SHIPPED_MAPS} maps is shipped" if shipped_ptx(SHIPPED_MAPS) else "the shipped PTX is out of date"
    return f"pycuda {version('pycuda')}; {f'nvcc is {nvcc}' if nvcc else 'no nvcc'}; {ptx}"


def _engines() -> str:
    try:
        folder = engine_folder()
        sizes = [path.stat().st_size for path in folder.glob(f"*{SUFFIX}")]
    except (CrotalusError, OSError) as error:
        return f"not readable: {error}"
    return f"{len(sizes)} ({sum(sizes) / 1e6:.1f} MB) in {folder}" if sizes else f"none in {folder}"


def _backend(backend: GpuBackend) -> str:
    """Opened and closed: weights go to the GPU, no engine is built, which may take minutes, and nothing is fused."""
    try:
        with closing(open_fuser("auto", backend=backend)) as fuser:
            return f"usable: {fuser.name}"
    except Exception as error:  # a package that is broken in a way of its own is a finding, too
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason.removeprefix(f"backend {backend}: ").removesuffix(", or use --backend cpu")
        return f"not usable: {reason}"
