"""VGG19's first three convolutions: read from the files people have, and put into the network's branches."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.command import first_line
from training.network import JCAE, Branch

LAYERS = ("block1_conv1", "block1_conv2", "block2_conv1")
SHAPES = {"block1_conv1": (64, 3, 3, 3), "block1_conv2": (64, 64, 3, 3), "block2_conv1": (128, 64, 3, 3)}
"""Kernel shapes, OIHW."""
CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)
"""What Keras' and Gatys' VGG19 subtract from RGB in 0..255."""
TORCHVISION_MEAN_RGB = (0.485, 0.456, 0.406)
TORCHVISION_STD_RGB = (0.229, 0.224, 0.225)
TORCHVISION_KEYS = {"features.0": "block1_conv1", "features.2": "block1_conv2", "features.5": "block2_conv1"}

Arrays = dict[str, NDArray[Any]]
Weights = dict[str, NDArray[np.float32]]
"""`<layer>.weight` OIHW with input order RGB, `<layer>.bias`; first layer for RGB in 0..1, repeated luma."""


class VggError(ValueError):
    """A file that does not hold VGG19's first three convolutions; names the key."""


def load_vgg(path: str | Path) -> Weights:
    """The six arrays of VGG19's first three convolutions, the input convention folded so that RGB is in 0..1.

    Reads the Keras `.h5` (TF layout HWIO, input BGR minus mean), a torchvision state dict (`.pth`, `.pt`, or
    safetensors with its keys), or safetensors with keys `<layer>.weight|.bias` (RGB minus the Caffe mean).
    Raises VggError naming the file and, where one is to blame, the key.
    """
    path = Path(path)
    if not path.is_file():
        raise VggError(f"{path}: no such file; give VGG19 weights as .h5, .pth or .safetensors")
    readers: dict[str, Callable[[Path], Weights]] = {
        ".h5": _read_keras,
        ".pth": _read_torch,
        ".pt": _read_torch,
        ".safetensors": _read_safetensors,
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise VggError(f"{path}: {suffix or 'no suffix'}; VGG19 weights are read from {', '.join(readers)}")
    return readers[suffix](path)


def start_from_vgg(network: JCAE, weights: Weights) -> None:
    """Copy the six arrays into each of the three branches, in place."""
    for branch in (network.private_ir, network.private_vis, network.common):
        _fill(branch, weights)


def _fill(branch: Branch, weights: Weights) -> None:
    with torch.no_grad():
        for layer in LAYERS:
            conv = getattr(branch, layer)
            conv.weight.copy_(torch.from_numpy(weights[f"{layer}.weight"]))
            conv.bias.copy_(torch.from_numpy(weights[f"{layer}.bias"]))


def _read_keras(path: Path) -> Weights:
    found = _datasets(path)
    arrays: Arrays = {}
    for layer in LAYERS:
        for kind, endings in (("weight", ("_W_1:0", "kernel:0")), ("bias", ("_b_1:0", "bias:0"))):
            names = [n for n in found if n.startswith(f"{layer}/") and n.endswith(endings)]
            if not names:
                wanted = " or ".join(f"{layer}/{layer}{end if end[0] == '_' else '/' + end}" for end in endings)
                raise VggError(f"{path}: no {kind} of {layer}; Keras writes it as {wanted}")
            array = found[names[0]]
            arrays[f"{layer}.{kind}"] = array.transpose(3, 2, 0, 1) if kind == "weight" and array.ndim == 4 else array
    weights = _checked(arrays, path)
    weights["block1_conv1.weight"] = np.ascontiguousarray(weights["block1_conv1.weight"][:, ::-1])  # BGR -> RGB
    return _fold_input(weights, scale=255.0, mean=CAFFE_MEAN_RGB)


def _datasets(path: Path) -> Arrays:
    """The datasets of `LAYERS` in an HDF5 file of weights, or of a whole model, by name."""
    import h5py

    found: Arrays = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and name.startswith(LAYERS):
            found[name] = np.asarray(item[()])

    try:
        with h5py.File(path) as file:
            root = file.get("model_weights", file)
            if isinstance(root, h5py.Group):
                root.visititems(note)
    except (OSError, RuntimeError) as error:  # RuntimeError: damaged inside
        raise VggError(f"{path}: not a readable HDF5 file ({first_line(error)}); download it again") from error
    return found


def _read_torch(path: Path) -> Weights:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise VggError(f"{path}: holds more than tensors, or is damaged; give torchvision's state dict") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise VggError(f"{path}: damaged, or not a torch file; download it again") from error
    if not isinstance(state, dict):
        raise VggError(f"{path}: a {type(state).__name__}; expected torchvision's VGG19 state dict")
    tensors = {str(key): value for key, value in state.items() if isinstance(value, torch.Tensor)}
    return _from_torchvision({key: value.detach().float().numpy() for key, value in tensors.items()}, path)


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # torch's reader knows bfloat16, numpy's does not

    try:
        arrays = {key: tensor.float().numpy() for key, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise VggError(f"{path}: not a readable safetensors file ({first_line(error)}); download it again") from error
    if any(key.startswith("features.") for key in arrays):
        return _from_torchvision(arrays, path)
    return _fold_input(_checked(arrays, path), scale=255.0, mean=CAFFE_MEAN_RGB)


def _from_torchvision(arrays: Mapping[str, NDArray[Any]], path: Path) -> Weights:
    renamed = {}
    for theirs, ours in TORCHVISION_KEYS.items():
        for kind in ("weight", "bias"):
            if f"{theirs}.{kind}" not in arrays:
                raise VggError(f"{path}: no key {theirs}.{kind}; expected torchvision's VGG19 state dict")
            renamed[f"{ours}.{kind}"] = arrays[f"{theirs}.{kind}"]
    return _fold_input(_checked(renamed, path), scale=1.0, mean=TORCHVISION_MEAN_RGB, std=TORCHVISION_STD_RGB)


def _checked(arrays: Mapping[str, NDArray[Any]], path: Path) -> Weights:
    """The six arrays as float32, each of its shape and finite."""
    weights: Weights = {}
    for layer, shape in SHAPES.items():
        for key, wanted in ((f"{layer}.weight", shape), (f"{layer}.bias", shape[:1])):
            if key not in arrays:
                raise VggError(f"{path}: no key {key}; VGG19 has {', '.join(SHAPES)}, each .weight and .bias")
            if arrays[key].shape != wanted:
                raise VggError(f"{path}: {key} has shape {arrays[key].shape}; VGG19 has {wanted} (OIHW)")
            if arrays[key].dtype.kind != "f" or not np.isfinite(arrays[key]).all():
                raise VggError(f"{path}: {key} is not all finite numbers ({arrays[key].dtype}); download it again")
            weights[key] = np.array(arrays[key], np.float32)
    return weights


def _fold_input(
    weights: Weights, *, scale: float, mean: tuple[float, ...], std: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> Weights:
    """The same layer for x in 0..1: w.((scale x - mean) / std) + b = (w scale / std).x + (b - sum(w mean / std))."""
    w = weights["block1_conv1.weight"].astype(np.float64) / np.array(std)[:, None, None]
    shift = (w.sum((2, 3)) * np.array(mean)).sum(1)
    bias = weights["block1_conv1.bias"].astype(np.float64) - shift
    folded = {"block1_conv1.weight": (scale * w).astype(np.float32), "block1_conv1.bias": bias.astype(np.float32)}
    return {**weights, **folded}
