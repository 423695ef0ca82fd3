"""Small pairs of pictures for tests, made on the spot."""

import cv2
import numpy as np


def textured(height, width, seed=0):
    """(H, W) uint8 with smooth shading and some grain, as a camera gives."""
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.random((height, width)), (0, 0), 3)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (25 + 200 * smooth + rng.normal(0, 4, (height, width))).clip(0, 255).astype(np.uint8)


def noise(height, width, seed=0):
    """(H, W) uint8 of all values."""
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def write_pair(folder, name, ir, vis, suffix=".png"):
    """Both pictures as `ir/` and `vis/` files of one name."""
    for kind, picture in (("ir", ir), ("vis", vis)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / kind / f"{name}{suffix}"), picture)


def write_pairs(folder, count, height=48, width=56):
    """A folder of `count` textured pairs."""
    for k in range(count):
        write_pair(folder, f"{k:02}", textured(height, width, 2 * k), textured(height, width, 2 * k + 1))
    return folder
