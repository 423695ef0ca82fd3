"""A light network to a model folder of kind `jcae`, refused unless every graph agrees with torch and the rules."""

from __future__ import annotations

import copy
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from engines import rules
from engines.model import ModelError, ModelInfo, sha256
from training.distil.graph import BOTH, LEVELS, light_graphs
from training.distil.network import LightNetwork, Shape
from training.export import check
from training.graph import WEIGHTS, read_slots
from training.model_folder import put_model, refuse_strangers

FIRST = [f"{stack}.{part}.{kind}" for stack in ("common", "private") for part in "01" for kind in ("weight", "bias")]
"""Tensors of the decoder's first layers."""


def export(
    network: LightNetwork, folder: Path, *, name: str, training: dict[str, Any], metrics: dict[str, float]
) -> ModelInfo:
    """Write weights, five graphs and `model.json`; all or nothing.

    An older model in the folder is replaced. Raises ExportError, TargetError as `training.export.export` does.
    """
    refuse_strangers(folder)
    network, shape = copy.deepcopy(network).cpu().eval(), network.shape
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        build = Path(scratch) / "model"
        build.mkdir()
        save_file(window_weights(network), build / WEIGHTS)
        for file, model in light_graphs(read_slots(build / WEIGHTS), shape).items():
            (build / file).write_bytes(model.SerializeToString())
            onnx.checker.check_model(str(build / file), full_check=True)
        check(network, build, margin=shape.margin, multiple=shape.block)
        info = ModelInfo(
            name=name,
            multiple=shape.block,
            margin=shape.margin,
            maps=shape.maps,
            activity_ratio=rules.ACTIVITY_RATIO,
            files={path.name: sha256(path) for path in sorted(build.iterdir())},
            training=training,
            metrics=metrics,
        )
        return put_model(info, build, folder)


def window_weights(network: LightNetwork) -> dict[str, NDArray[np.float32]]:
    """The network's tensors, the stems as windows on luma that step by a block instead of on blocks taken apart.

    Exact: the same products, in another order. (maps, 4, k, k) on blocks is (maps, 1, 2k, 2k) on pixels.
    """
    weights = {name: value.detach() for name, value in network.state_dict().items()}
    for name, value in weights.items():
        if name.endswith("stem.weight"):
            weights[name] = torch.nn.functional.pixel_shuffle(value, network.shape.block)
    weights |= _both({name: weights[f"decoder.{name}"] for name in FIRST}) | _levels(weights)
    return {name: np.ascontiguousarray(value.numpy()) for name, value in weights.items()}


def _both(first: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The layer over both stacks, one behind the other, that gives the sum of the layers over each."""
    alone, mix = ([first[f"{stack}.{part}"] for stack in ("common", "private")] for part in ("0.weight", "1.weight"))
    return {
        f"{BOTH}.0.weight": torch.cat(alone),
        f"{BOTH}.0.bias": torch.cat([first["common.0.bias"], first["private.0.bias"]]),
        f"{BOTH}.1.weight": torch.cat(mix, dim=1),
        f"{BOTH}.1.bias": first["common.1.bias"] + first["private.1.bias"],
    }


def _levels(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The first layers for luma in 0..255, the last one that gives it."""
    stems = {f"{LEVELS}.{name}": value for name, value in weights.items() if ".stem." in name}
    last = {f"{LEVELS}.{name}": value for name, value in weights.items() if name.startswith("decoder.last.")}
    stems = {name: value / 255 if name.endswith("weight") else value for name, value in stems.items()}
    return stems | {name: 255 * value if ".last.1." in name else value for name, value in last.items()}


def load_light(model_folder: Path) -> LightNetwork:
    """The light network of an exported model, its shape read from its tensors. Raises ModelError."""
    path = model_folder / WEIGHTS
    try:
        weights = {
            name: torch.from_numpy(x) for name, x in load_file(path).items() if not name.startswith((BOTH, LEVELS))
        }
        network = LightNetwork(_shape(weights))
        for name, value in weights.items():
            if name.endswith("stem.weight"):
                weights[name] = torch.nn.functional.pixel_unshuffle(value, network.shape.block)
        network.load_state_dict(weights)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); export the model again") from error
    except (RuntimeError, KeyError) as error:  # other names or shapes
        raise ModelError(f"{path}: its tensors are not a light network's; give a model of training.distil") from error
    return network


def _shape(weights: dict[str, torch.Tensor]) -> Shape:
    maps, _, stem, _ = weights["common.stem.weight"].shape
    layers, depth = (
        sum(name.startswith(prefix) and name.endswith(".1.bias") for name in weights)
        for prefix in ("common.layers.", "decoder.layers.")
    )
    block, width = math.isqrt(len(weights["decoder.last.1.bias"])), len(weights["decoder.common.1.bias"])
    return Shape(block, maps, stem, layers, width, depth)
