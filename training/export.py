"""Weights to a model folder: `python -m training.export CHECKPOINT -o MODEL_DIR`, refused unless every file agrees."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from engines import rules
from engines.model import ModelError, ModelInfo, sha256
from training.checkpoint import CheckpointError, load_checkpoint, restore
from training.command import Parser
from training.graph import BRANCHES, WEIGHTS, branch_graph, decoder_graph, fuser_graph, read_slots
from training.model_folder import TargetError, put_model, refuse_strangers
from training.network import JCAE, MAPS, MARGIN, Features

FLOAT_TOLERANCE = 2e-5
"""Largest difference relative to the largest value: float32 sums of up to 1152 products in another order."""
LEVEL_SHARE = 1e-3
"""Share of fused pixels that may differ, by one level: values that fall within rounding of x.5."""
CHECK_SIZES = ((48, 64), (34, 80))
"""(H, W) of the pictures that the exported files are compared on; two sizes prove the free axes."""

Arrays = dict[str, NDArray[np.float32]]


class Parts(Protocol):
    """A network of encoders and decoder, the rules between them: this one, or a lighter one of the same structure."""

    def encode(self, ir: Tensor, vis: Tensor) -> Features:
        """See `JCAE.encode`."""
        ...

    def decode(self, common: Tensor, private: Tensor) -> Tensor:
        """See `JCAE.decode`."""
        ...


class ExportError(RuntimeError):
    """An exported file that does not compute what the network computes."""


def export(network: JCAE, folder: Path, *, name: str, training: dict[str, Any], metrics: dict[str, float]) -> ModelInfo:
    """Write `weights.safetensors`, five ONNX graphs over it, and `model.json`; all or nothing.

    An older model in the folder is replaced. Raises ExportError if a graph in ONNX Runtime differs from the network
    in torch, or the fuser from `engines.rules`, by more than `FLOAT_TOLERANCE` or `LEVEL_SHARE`; TargetError if the
    folder holds anything that is not of a model.
    """
    refuse_strangers(folder)
    network = copy.deepcopy(network).cpu().eval()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        build = Path(scratch) / "model"
        build.mkdir()
        save_file(folded_weights(network), build / WEIGHTS)
        _write_graphs(build)
        check(network, build)
        info = ModelInfo(
            name=name,
            multiple=2,
            margin=MARGIN,
            maps=MAPS,
            activity_ratio=rules.ACTIVITY_RATIO,
            files={path.name: sha256(path) for path in sorted(build.iterdir())},
            training=training,
            metrics=metrics,
        )
        return put_model(info, build, folder)


def folded_weights(network: JCAE) -> Arrays:
    """The network's tensors with the first layers folded from three equal channels to one.

    Exact: conv(w, (x, x, x)) = conv(sum over channels of w, x); the sum is taken in float64 and rounded once.
    """
    weights = {key: value.detach().numpy() for key, value in network.state_dict().items()}
    for key, value in weights.items():
        if key.endswith("block1_conv1.weight"):
            weights[key] = value.sum(1, keepdims=True, dtype=np.float64).astype(np.float32)
    return {key: np.ascontiguousarray(value) for key, value in weights.items()}


def unfolded_network(weights: Arrays) -> JCAE:
    """A network that computes exactly what folded weights compute: the first channel holds them, the others zero."""
    network = JCAE()
    state = {key: torch.from_numpy(value) for key, value in weights.items()}
    for key, value in state.items():
        if key.endswith("block1_conv1.weight"):
            state[key] = torch.cat([value, torch.zeros_like(value), torch.zeros_like(value)], dim=1)
    network.load_state_dict(state)
    return network


def _write_graphs(folder: Path) -> None:
    slots = read_slots(folder / WEIGHTS)
    graphs = {file: branch_graph(slots, branch, MAPS) for file, branch in BRANCHES.items()}
    graphs |= {"decoder.onnx": decoder_graph(slots, MAPS), "fuser.onnx": fuser_graph(slots, MAPS)}
    for file, model in graphs.items():
        (folder / file).write_bytes(model.SerializeToString())
        onnx.checker.check_model(str(folder / file), full_check=True)


def check(network: Parts, folder: Path, *, margin: int = MARGIN, multiple: int = 2) -> None:
    """Compare every graph of a folder with the network and the reference rules on random pictures.

    margin: pixels that the network eats at each border. multiple: of which its sides must be. Raises ExportError naming
    the file that differs.
    """
    rng = np.random.default_rng(0)
    for size in CHECK_SIZES:
        height, width = (side + 2 * margin + -(side + 2 * margin) % multiple for side in size)
        ir, vis = (textured(rng, height, width) for _ in range(2))
        _check_pair(network, folder, np.stack([ir, vis]), np.stack([vis, ir]))


def _check_pair(network: Parts, folder: Path, ir: NDArray[np.uint8], vis: NDArray[np.uint8]) -> None:
    luma_ir, luma_vis = ((x[:, None] / np.float32(255)).astype(np.float32) for x in (ir, vis))
    with torch.no_grad():
        wanted = network.encode(torch.from_numpy(luma_ir), torch.from_numpy(luma_vis))
    private_ir, private_vis, common_ir, common_vis = (x.numpy() for x in wanted)
    for file, luma, features in (
        ("encoder_ir.onnx", luma_ir, private_ir),
        ("encoder_vis.onnx", luma_vis, private_vis),
        ("encoder_common.onnx", luma_ir, common_ir),
        ("encoder_common.onnx", luma_vis, common_vis),
    ):
        _expect_close(file, _run(folder / file, {"luma": luma})[0], features)
    threshold = rules.next_threshold(None, maps=common_ir.shape[1])
    activity = rules.activity(common_ir, common_vis)
    common = rules.fuse_common(common_ir, common_vis, rules.averaged_maps(activity, threshold))
    private = rules.fuse_private(private_ir, private_vis)
    with torch.no_grad():
        luma = network.decode(torch.from_numpy(common), torch.from_numpy(private)).numpy()
    _expect_close("decoder.onnx", _run(folder / "decoder.onnx", {"common": common, "private": private})[0], luma)
    fused = np.rint(255 * luma[:, 0]).clip(0, 255).astype(np.uint8)
    found, found_activity = _run(folder / "fuser.onnx", {"ir": ir, "vis": vis, "threshold": threshold})
    _expect_levels("fuser.onnx", found, fused)
    if not np.abs(found_activity - activity).max() <= 2 / common_ir[0, 0].size:  # a value may round to zero or not
        raise ExportError(f"fuser.onnx: activity off by {np.abs(found_activity - activity).max():.2g}")


def open_graph(path: Path, *, threads: int = 0) -> Callable[[dict[str, Any]], list[Any]]:
    """A graph on the CPU, from its inputs by name to its outputs in order. threads: 0 for one a core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feed: list(session.run(None, feed))


def _run(path: Path, feed: dict[str, Any]) -> list[Any]:
    return open_graph(path)(feed)


def _expect_close(file: str, found: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    _expect_shape(file, found, wanted)
    error = float(np.abs(found - wanted).max() / max(1e-6, float(np.abs(wanted).max())))
    if not error <= FLOAT_TOLERANCE:  # so that nan is refused, too
        raise ExportError(f"{file}: off by {error:.1e} of the largest value; {FLOAT_TOLERANCE} is allowed")


def _expect_levels(file: str, found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> None:
    _expect_shape(file, found, wanted)
    off = np.abs(found.astype(int) - wanted)
    if off.max() > 1 or (off > 0).mean() > LEVEL_SHARE:
        raise ExportError(f"{file}: {off.max()} levels off, {(off > 0).mean():.2%} of pixels; one on {LEVEL_SHARE:.1%}")


def _expect_shape(file: str, found: NDArray[Any], wanted: NDArray[Any]) -> None:
    if found.shape != wanted.shape:
        raise ExportError(f"{file}: gives {found.shape}, the network {wanted.shape}")


def textured(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """A smooth ramp with noise and flat patches, so that dead and busy maps both occur."""
    ramp = np.linspace(0, 255, width)[None] * np.linspace(0.2, 1, height)[:, None]
    ramp[: height // 3] = ramp[: height // 3].mean()
    return (ramp + rng.normal(0, 12, (height, width))).clip(0, 255).astype(np.uint8)


def load_network(model_folder: Path) -> JCAE:
    """The network of an exported model, for evaluation or further training. Raises ModelError."""
    path = model_folder / WEIGHTS
    try:
        return unfolded_network(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); export the model again") from error
    except RuntimeError as error:  # other names or shapes
        raise ModelError(f"{path}: its tensors are not this network's; give a model of training.export") from error


def read_metrics(path: Path) -> dict[str, float]:
    """Numbers of a JSON file; those of a table in it, as `training.evaluate` writes, as `row column`.

    Nulls are left out. Raises TargetError for anything else.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}; give a JSON file of numbers") from error
    except ValueError as error:
        raise TargetError(f"{path}: not JSON ({error}); give a JSON file of numbers") from error
    rows = content.items() if isinstance(content, dict) else [("content", content)]
    flat: dict[str, Any] = {}
    for name, value in rows:
        flat |= {f"{name} {key}": number for key, number in value.items()} if isinstance(value, dict) else {name: value}
    for name, value in flat.items():
        if value is not None and (not isinstance(value, (int, float)) or not math.isfinite(value)):
            raise TargetError(f"{path}: {name} is {value!r}; give numbers")
    return {name: float(value) for name, value in flat.items() if value is not None}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Exit code 2 for a file or folder that cannot be used, 1 if the files disagree."""
    parser = Parser(prog="python -m training.export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a training run")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL_DIR")
    parser.add_argument("--name", help="the model's name; its folder's if not given")
    parser.add_argument("--data", default="", help="what it was trained on, in words")
    parser.add_argument("--metrics", type=Path, metavar="FILE", help="JSON file of numbers to keep with it")
    given = parser.parse_args(arguments)
    network, name = JCAE(), given.name or given.output.resolve().name
    try:
        state = load_checkpoint(given.checkpoint)
        state["network"] = state.get("average", state["network"])
        restore(given.checkpoint, state, network)
        metrics = read_metrics(given.metrics) if given.metrics else {}
        training = {"data": given.data, "taken_steps": state["step"], **state["settings"]}
        info = export(network, given.output, name=name, training=training, metrics=metrics)
    except ExportError as error:
        parser.fail(1, f"not written: {error}")
    except (CheckpointError, TargetError, OSError) as error:
        parser.error(str(error))
    size = sum(path.stat().st_size for path in given.output.iterdir())
    print(f"{given.output}: {len(info.files)} files, {size / 1e6:.2f} MB, all agree with torch and the reference rules")


if __name__ == "__main__":
    main()
