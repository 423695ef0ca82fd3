"""rules.cu compiled and loaded. None of this has run on a GPU yet; tests/engines/cuda runs the same source on the CPU.

The package ships PTX for machines without nvcc. `python -m engines.kernels` writes it anew; a test fails while it
does not belong to rules.cu.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engines.base import BackendError
from engines.launches import SIGNATURES, THREADS, Launch

if TYPE_CHECKING:
    import pycuda.driver

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("rules.cu")
SHIPPED_MAPS = 128
SHIPPED_PTX = SOURCE.with_name(f"kernels_{SHIPPED_MAPS}.ptx")
ARCHITECTURE = "compute_75"
"""Of the shipped PTX: Turing, the oldest that CUDA 13 compiles for. Drivers translate it for any later GPU."""
PTX_VERSION = "7.0"
"""Declared instead of nvcc's own, so that drivers since CUDA 11.0 read it; ptxas accepts it, as a test shows."""
PLACES = ("/usr/local/cuda/bin", "/opt/cuda/bin")
FIX = "pip install 'crotalus[nvcc]'"


class Kernels:
    """rules.cu on the GPU whose CUDA context is current, and stays so while this is used. One thread at a time."""

    def __init__(self, maps: int) -> None:
        """maps: of the model. Raises BackendError where pycuda, a driver, or a way to compile is missing."""
        driver = open_driver()
        image = compile_or_ship(maps)
        try:
            self._module = _load(driver, image, maps)
            self._functions = {name: self._module.get_function(name).prepare(form) for name, form in SIGNATURES.items()}
        except driver.Error as error:
            raise BackendError(f"CUDA kernels: {error}; update the NVIDIA driver, or use --backend cpu") from error

    def run(self, launch: Launch, stream: pycuda.driver.Stream | None = None) -> None:
        """Put the launch into a stream, None for the default one, and return at once."""
        function = self._functions[launch.kernel]
        function.prepared_async_call(launch.grid, launch.block, stream, *launch.arguments)


def _load(driver: Any, image: bytes, maps: int) -> Any:
    """The module of an image; of the shipped PTX where the driver is older than the nvcc that compiled the image."""
    try:
        return driver.module_from_buffer(image)
    except driver.Error as error:
        ptx = shipped_ptx(maps)
        if ptx is None or ptx == image:
            raise
        log.warning("CUDA kernels: %s; using the PTX that came with the package", error)
        return driver.module_from_buffer(ptx)


def compile_or_ship(maps: int) -> bytes:
    """What the driver is to load: machine code for the GPU of the current context, or PTX where there is no nvcc.

    Needs pycuda, which keeps what it compiled in the user's cache folder if it can. Raises BackendError.
    """
    from pycuda import compiler
    from pycuda.driver import CompileError

    nvcc, ptx = find_nvcc(), shipped_ptx(maps)
    if nvcc:
        source, options = SOURCE.read_text(), compile_options(maps)
        compiled = partial(compiler.compile, source, nvcc=str(nvcc), options=options, no_extern_c=True)
        try:
            try:
                return cast(bytes, compiled())
            except OSError:  # of the cache folder, or of nvcc, which then comes again
                return cast(bytes, compiled(cache_dir=False))
        except (CompileError, OSError) as error:
            reason = f"{nvcc} cannot compile {SOURCE.name} ({' '.join(str(error).split())})"
            if ptx is None:
                raise BackendError(f"CUDA kernels: {reason}; {FIX}") from error
            log.warning("CUDA kernels: %s; using the PTX that came with the package", reason)
    if ptx is None:
        raise BackendError(f"CUDA kernels: no nvcc found and no PTX shipped for {maps} maps; {FIX}")
    return ptx


def compile_options(maps: int) -> list[str]:
    """Options of nvcc for features of `maps` maps.

    Without fused multiply-adds every operation is rounded as in numpy; the kernels wait for memory, not for these.
    """
    return ["-std=c++17", "-fmad=false", f"-DMAPS={maps}", f"-DTHREADS={THREADS}"]


def find_nvcc() -> Path | None:
    """nvcc of PATH, of CUDA_HOME or CUDA_PATH, of the usual folders, or of the nvidia-cuda-nvcc wheel."""
    folders = [f"{os.environ[name]}/bin" for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    wheels = importlib.util.find_spec("nvidia")
    roots = (wheels and wheels.submodule_search_locations) or []
    in_wheels = [str(folder) for root in roots for folder in sorted(Path(root).glob("cu*/bin"), reverse=True)]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders, *PLACES, *in_wheels])
    found = shutil.which("nvcc", path=path)
    return Path(found) if found else None


def ptx_header(maps: int) -> str:
    """First line of a PTX file, which ties it to the source and options that it was made of."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    return f"// crotalus {SOURCE.name} sha256 {digest} {ARCHITECTURE} {' '.join(compile_options(maps))}"


def shipped_ptx(maps: int) -> bytes | None:
    """The PTX that comes with the package; None if it is of other maps, of another source, or not there."""
    try:
        text = SHIPPED_PTX.read_bytes()
    except OSError:
        return None
    return text if text.split(b"\n", 1)[0] == ptx_header(maps).encode() else None


def compile_ptx(nvcc: Path, maps: int) -> bytes:
    """rules.cu as PTX under its header. Raises BackendError with the compiler's words."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rules.ptx"
        options = [*compile_options(maps), f"-arch={ARCHITECTURE}", "-ptx"]
        command: list[str | Path] = [nvcc, *options, "-o", out, SOURCE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BackendError(f"{nvcc}: cannot compile {SOURCE}: {done.stderr.strip()}; CUDA 11 or later can")
        text = re.sub(r"(?m)^\.version \S+", f".version {PTX_VERSION}", out.read_text())
    return f"{ptx_header(maps)}\n{text}".encode()


def main() -> int:
    """Write the shipped PTX; 0 when done, 2 where there is no nvcc."""
    nvcc = find_nvcc()
    if nvcc is None:
        print(f"nvcc: not found; {FIX}", file=sys.stderr)
        return 2
    SHIPPED_PTX.write_bytes(compile_ptx(nvcc, SHIPPED_MAPS))
    print(f"{SHIPPED_PTX}: {SHIPPED_PTX.stat().st_size} bytes")
    return 0


def open_driver() -> Any:
    """pycuda's driver module. Raises BackendError where pycuda or an NVIDIA driver is missing."""
    try:
        import pycuda.driver as driver
    except ModuleNotFoundError as error:
        raise BackendError(f"CUDA kernels: {error}; pip install 'crotalus[cuda]', or use --backend cpu") from error
    except ImportError as error:
        raise BackendError(f"CUDA kernels: {error}; install an NVIDIA driver, or use --backend cpu") from error
    return driver


if __name__ == "__main__":
    sys.exit(main())
