"""A model in torch as one would write it without this project, as a fuser: what `bench` measures beside ours."""

from __future__ import annotations

import numpy as np

from engines.base import BackendError, Luma, SerialFlight, StreamState
from engines.model import ModelInfo
from engines.onnx_cpu import check_inputs
from engines.torch_rival import TorchRival
from engines.torch_runtime import TorchRuntime


class EagerFuser:
    """Fuses pair by pair on torch's CPU device, in fp32. Pictures must be larger than the model's margin."""

    def __init__(self, info: ModelInfo, *, threads: int = 0) -> None:
        """threads: of torch, for the whole process; 0 leaves them. Raises BackendError, ModelError."""
        try:
            import torch
        except ImportError as error:
            raise BackendError(f"torch eager: {error}; pip install torch to have it measured beside") from error
        info.require_parts("torch eager")
        if threads:
            torch.set_num_threads(threads)
        self.info, self.name = info, f"{info.name} in torch"
        self._torch, self._rival = torch, TorchRival(info, TorchRuntime(torch, "cpu"), "eager fp32")

    def fuse(self, ir: Luma, vis: Luma) -> Luma:
        """See `engines.base.Fuser`. Raises BackendError for pictures within the margin."""
        check_inputs(ir, vis)
        if min(ir.shape[-2:]) <= self.info.margin:
            size = f"{ir.shape[-1]}x{ir.shape[-2]}"
            raise BackendError(
                f"torch eager: {size} is within the model's margin of {self.info.margin} px; fuse larger"
            )
        if ir.ndim == 3:
            return np.stack([self.fuse(a, b) for a, b in zip(ir, vis, strict=True)]) if len(ir) else ir.copy()
        tensors = (self._torch.from_numpy(np.array(luma)) for luma in (ir, vis))  # planes may be read-only views
        fused = self._rival(*tensors).numpy()
        return np.asarray(fused, np.uint8)

    def fuse_next(self, ir: Luma, vis: Luma, state: StreamState | None) -> tuple[Luma, StreamState | None]:
        """The same as `fuse`: it keeps no rules from pair to pair."""
        return self.fuse(ir, vis), None

    def start(self, *, follows: bool) -> SerialFlight:
        """A run of pairs, one after the other."""
        return SerialFlight(self, follows=follows)

    def close(self) -> None:
        """Give the network's memory back."""
        self._rival.close()
