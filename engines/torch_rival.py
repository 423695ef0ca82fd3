"""The same model in torch alone, rules and all, as one would write it otherwise: what is timed beside ours on a GPU."""

from __future__ import annotations

from typing import Any, Literal

from engines.base import BackendError
from engines.build import DECODED, DECODER, ENCODERS, INPUT
from engines.launches import padded_length
from engines.model import ModelInfo
from engines.torch_graph import Tensor, TorchGraph
from engines.torch_runtime import TorchRuntime

Flavour = Literal["eager fp32", "compile fp16"]


class TorchRival:
    """Fuses pairs on the device: (H, W) uint8 tensors -> a new one. Single pictures, larger than the margin."""

    def __init__(self, info: ModelInfo, runtime: TorchRuntime, flavour: Flavour, *, compiler: str = "inductor") -> None:
        """compiler: of torch.compile. Raises BackendError without onnx, ModelError, DeviceMemoryError."""
        try:
            from engines import fp16
        except ImportError as error:
            raise BackendError(f"torch {flavour}: {error}; pip install 'onnx>=1.17'") from error
        torch = self._torch = runtime.torch
        self._info, self._runtime = info, runtime
        self._dtype = torch.float16 if flavour == "compile fp16" else torch.float32
        self._graphs: list[TorchGraph] = []
        for file in (*ENCODERS, DECODER):
            model = fp16.load_graph(info.path(file))
            model = fp16.to_half(model) if flavour == "compile fp16" else model
            with runtime.failures("the weights", model.ByteSize()):
                self._graphs.append(TorchGraph(torch, model.graph, fp16.weights(model), runtime.place))
        self._run: Any = self._fuse
        if flavour == "compile fp16":
            mode = "reduce-overhead" if compiler == "inductor" else None  # CUDA graphs, as ours has them
            self._run = torch.compile(self._fuse, fullgraph=True, backend=compiler, mode=mode)

    def __call__(self, ir: Tensor, vis: Tensor) -> Tensor:
        """Fused luma (H, W). torch's own settings for convolutions hold: fp32 means TF32 on GPUs that have it."""
        flags = self._torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True)
        with self._torch.inference_mode(), flags:
            return self._run(ir, vis)

    def close(self) -> None:
        """Give memory back. torch then forgets whatever else was compiled in this process, too."""
        self._graphs, self._run = [], None
        self._torch.compiler.reset()
        self._runtime.give_back()

    def _fuse(self, ir: Tensor, vis: Tensor) -> Tensor:
        torch, (private_ir, private_vis, common, decode) = self._torch, self._graphs
        height, width = ir.shape
        units = [{INPUT: self._unit(luma)} for luma in (ir, vis)]
        private = torch.maximum(private_ir(units[0]), private_vis(units[1]))  # Eq. 8
        stacks = dict(zip(DECODED, (self._common(common(units[0]), common(units[1])), private), strict=True))
        level = decode(stacks)[0, 0, :height, :width].float() * 255
        return level.round().clamp(0, 255).to(torch.uint8)

    def _unit(self, luma: Tensor) -> Tensor:
        """(H, W) uint8 -> (1, 1, rows, columns) in 0..1, reflected at the borders."""
        margin = self._info.margin
        rows, columns = (padded_length(side, margin, self._info.multiple) for side in luma.shape)
        ends = margin, columns - luma.shape[1] - margin, margin, rows - luma.shape[0] - margin
        unit = (luma[None, None].float() / 255).to(self._dtype)
        return self._torch.nn.functional.pad(unit, ends, mode="reflect")

    def _common(self, ir: Tensor, vis: Tensor) -> Tensor:
        """Eq. 9, its sums in float32."""
        torch, area = self._torch, ir.shape[2] * ir.shape[3]
        active = torch.minimum((ir != 0).sum((2, 3)), (vis != 0).sum((2, 3))).float() / area
        averaged = (active >= self._info.activity_ratio)[:, :, None, None]
        sum_ir, sum_vis = (stack.sum(1, keepdim=True, dtype=torch.float32) for stack in (ir, vis))
        total = sum_ir + sum_vis
        share = torch.where(total > 0, sum_ir / total, 0.5)  # w1
        average = share * ir + (1 - share) * vis
        return torch.where(averaged, average.to(ir.dtype), torch.maximum(ir, vis))
