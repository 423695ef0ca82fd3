"""What the teacher makes of whole pictures, made once and kept: its rules look at a whole picture, not at a crop."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.model import ModelInfo, sha256
from engines.onnx_cpu import OnnxFuser
from training.checkpoint import SaveError
from training.data import DataError, ImagePair, read_luma
from training.fusion.augment import disturbed

Luma = NDArray[np.uint8]
LARGEST = 640
"""px: a picture with a longer side is halved until it has none, as the teacher's time grows with its area."""


def teacher_pictures(
    teacher: ModelInfo,
    pairs: Sequence[ImagePair],
    folder: Path,
    *,
    versions: int,
    seed: int,
    most: int | None = None,
    threads: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[ImagePair]:
    """What is to be trained on: for each pair and version a picture of IR, VIS and the teacher's, one below the other.

    Version 0 is the pair as it is; the others have other tones, smoke, or a negative, by the pair's own dice. The
    order is drawn by `seed`, so that the first `most` of them are as mixed as all are. What is in the folder already is
    not made again: a file's name is the hash of all that decides it. Fewer come back where `stop` said so. Raises
    DataError, ModelError, BackendError, SaveError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fuser, found = OnnxFuser(teacher, threads=threads), []
    made_by = sha256(teacher.folder / "model.json")
    plans = [(pair, version) for version in range(versions) for pair in pairs]
    plans = [plans[k] for k in np.random.default_rng(seed).permutation(len(plans))[:most]]
    for done, (pair, version) in enumerate(plans):
        if stop():
            break
        progress(done, len(plans))
        digest = _digest(made_by, pair, version)
        path = folder / f"{digest[:32]}.png"
        if not path.exists():
            ir, vis = (_small(read_luma(file)) for file in (pair.ir, pair.vis))
            if version:
                dice = np.random.default_rng(int(_digest("", pair, version)[:16], 16))  # the same for each teacher
                ir, vis = (_toned(x[0, 0], dice) for x in disturbed(ir[None, None], vis[None, None], dice))
            _write(path, np.concatenate([ir, vis, fuser.fuse(np.ascontiguousarray(ir), np.ascontiguousarray(vis))]))
        height, width = small_size(pair.height, pair.width)
        found.append(ImagePair(path, path, height, width))
    fuser.close()
    return found


def read_triple(path: Path) -> Luma:
    """(3, H, W) uint8: IR, VIS and the teacher's picture of a file of `teacher_pictures`. Raises DataError."""
    stack = read_luma(path)
    if stack.shape[0] % 3:
        raise DataError(f"{path}: {stack.shape[0]} rows, not three pictures; delete it, it is made again")
    return stack.reshape(3, -1, stack.shape[1])


def _digest(made_by: str, pair: ImagePair, version: int) -> str:
    parts = (made_by, sha256(pair.ir), sha256(pair.vis), str(version), str(LARGEST))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def small_size(height: int, width: int) -> tuple[int, int]:
    """Of the teacher's picture of a pair, px."""
    times = 0
    while max(height, width) > LARGEST << times:
        times += 1
    return height >> times, width >> times


def _small(luma: Luma) -> Luma:
    height, width = small_size(*luma.shape)
    if (height, width) == luma.shape:
        return luma
    return np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _toned(luma: Luma, dice: np.random.Generator) -> Luma:
    """With another gain, black level and gamma: what a few hundred pictures show of brightness is not all there is.

    Without it pictures of other cameras came out as sharp as the teacher's, and 2 to 6 levels off in tone.
    """
    gain, black, gamma = dice.uniform(0.6, 1.3), dice.uniform(-0.15, 0.15), dice.uniform(0.6, 1.6)
    curve = 255 * np.clip(gain * np.arange(256) / 255 + black, 0, 1) ** gamma
    return np.asarray(np.rint(curve)[luma], np.uint8)


def _write(path: Path, stack: Luma) -> None:
    """Whole or not at all. Raises SaveError."""
    part = path.with_suffix(".part")
    try:
        part.write_bytes(cv2.imencode(".png", stack, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SaveError(f"{path}: not written ({error.strerror or error}); free some space") from error
