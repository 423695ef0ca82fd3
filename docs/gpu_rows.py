"""Benchmark rows of one backend as lines of JSON, each written as it comes: a part of docs/gpu.py.

Run: python docs/gpu_rows.py --size 640x480 --out rows.jsonl [--backend torch] [--runs 200]
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from engines.backends import GPU_BACKENDS, GpuBackend
from engines.base import BackendError, CrotalusError
from engines.gpu_bench import GpuRow, rows
from engines.model import ModelInfo, load_model
from engines.profile import parse_profile


def open_parts(info: ModelInfo, backend: GpuBackend) -> tuple[Any, Any]:
    """The GPU and a network on it. Raises CrotalusError where that cannot be."""
    from engines.cuda_device import CudaDevice

    device = CudaDevice(info.maps)
    try:
        if backend == "torch":
            from engines.torch_cuda import TorchNetwork

            return device, TorchNetwork(info)
        from engines.tensorrt import TensorRtNetwork

        return device, TensorRtNetwork(info, device, backend=backend, on_progress=print)
    except BaseException:
        device.close()
        raise


def first_that_opens(info: ModelInfo) -> GpuBackend:
    """Of the backends in the order of `auto`. Raises BackendError with every reason."""
    reasons = []
    for backend in GPU_BACKENDS:
        try:
            device, network = open_parts(info, backend)
        except CrotalusError as error:
            print(error)
            reasons.append(str(error))
            continue
        with closing(device), closing(network):
            return backend
    raise BackendError(" | ".join(reasons))


def main() -> int:
    """0 done, 1 failed with one line that says why; what was timed until then is written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backend", choices=["auto", *GPU_BACKENDS], default="auto")
    parser.add_argument("--runs", type=int, default=200)
    given = parser.parse_args()
    try:
        info = load_model("jcae")
        backend = first_that_opens(info) if given.backend == "auto" else given.backend
        from engines.torch_cuda import open_runtime

        with given.out.open("w") as file:

            def tell(row: GpuRow) -> None:
                print(row, flush=True)
                print(json.dumps(row.to_json()), file=file, flush=True)

            size = parse_profile(given.size).largest
            rows(info, lambda: open_parts(info, backend), open_runtime(), sizes=[size], runs=given.runs, on_row=tell)
    except CrotalusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
