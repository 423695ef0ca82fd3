"""A baseline to a model folder: one graph from two lumas to one, its weights, and what they are."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from safetensors.numpy import save_file

from engines.model import ModelInfo, sha256
from engines.onnx_cpu import OnnxFuser, reflected
from training.baselines.base import Baseline, folded_weights
from training.export import CHECK_SIZES, ExportError, textured
from training.graph import WEIGHTS, Graph, Port, add_bytes, add_scaled, read_slots
from training.model_folder import put_model, refuse_strangers

GRAPH = "fuser.onnx"
LEVEL_SHARE = 2e-3
"""Share of fused pixels that may differ: by one level where a value falls within rounding of x.5, and by any where a
score falls within rounding of a decision."""


def export(
    network: Baseline, folder: Path, *, name: str, training: dict[str, Any], metrics: dict[str, float]
) -> ModelInfo:
    """Write `fuser.onnx`, `weights.safetensors` and `model.json` of kind `graph`; all or nothing.

    An older model in the folder is replaced. Raises ExportError if the graph, as the fuser runs it, differs from the
    network in torch by more than `LEVEL_SHARE`; TargetError if the folder holds anything that is not of a model.
    """
    refuse_strangers(folder)
    network = copy.deepcopy(network).cpu().eval()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        build = Path(scratch) / "model"
        build.mkdir()
        save_file(folded_weights(network), build / WEIGHTS)
        (build / GRAPH).write_bytes(fuser_graph(network, build / WEIGHTS).SerializeToString())
        onnx.checker.check_model(str(build / GRAPH), full_check=True)
        info = ModelInfo(
            name=name,
            kind="graph",
            multiple=network.multiple,
            margin=network.margin,
            files={path.name: sha256(path) for path in sorted(build.iterdir())},
            training=training,
            metrics=metrics,
        )
        check(network, info.model_copy(update={"folder": build}))
        return put_model(info, build, folder)


def fuser_graph(network: Baseline, weights: Path) -> onnx.ModelProto:
    """ir, vis (N, H, W) uint8 -> fused (N, H - 2 margin, W - 2 margin) uint8. weights: as `folded_weights` gives."""
    graph = Graph(read_slots(weights))
    for name in ("ir", "vis"):
        add_scaled(graph, name)
    network.write(graph)
    add_bytes(graph)
    picture: Port = (TensorProto.UINT8, ("N", "H", "W"))
    fused: Port = (TensorProto.UINT8, ("N", "H_out", "W_out"))
    return graph.model("fuser", {"ir": picture, "vis": picture}, {"fused": fused})


def fused_by(network: Baseline, ir: NDArray[np.uint8], vis: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fused luma (H, W) uint8 of a pair of that shape, by the network in torch."""
    height, width = ir.shape
    rows, columns = (reflected(side, network.margin, network.multiple) for side in (height, width))
    padded = [torch.from_numpy(x[rows][:, columns][None, None].astype(np.float32) / 255) for x in (ir, vis)]
    with torch.no_grad():
        luma = network.cpu().eval()(*padded)[0, 0, :height, :width].numpy()
    return np.rint(255 * luma).clip(0, 255).astype(np.uint8)


def check(network: Baseline, info: ModelInfo) -> None:
    """Compare the fuser with the network on pictures of two sizes and of an odd one. Raises ExportError."""
    fuser, rng = OnnxFuser(info, threads=1), np.random.default_rng(0)
    for height, width in (*CHECK_SIZES, (33, 47)):
        ir, vis = textured(rng, height, width), textured(rng, height, width)[:, ::-1].copy()
        found, wanted = fuser.fuse(ir, vis), fused_by(network, ir, vis)
        share = float((found != wanted).mean())
        if share > LEVEL_SHARE:
            raise ExportError(f"{GRAPH}: {share:.2%} of pixels are not the network's; {LEVEL_SHARE:.1%} is allowed")
    fuser.close()
