"""Scenes of one geometry and two kinds of light: where things end is alike, how bright they are is not."""

import cv2
import numpy as np

SIZE = 480, 384
"""Of the world that both cameras look at, px of VIS."""


def world(seed, light, shapes=70):
    """(H, W) uint8; the seed places the shapes, the light gives each its level."""
    place, level = np.random.default_rng(seed), np.random.default_rng([seed, light])
    width, height = SIZE
    picture = np.full((2 * height, 2 * width), level.integers(60, 200), np.uint8)
    for _ in range(shapes):
        middle = place.uniform(0, 1, 2) * (2 * width, 2 * height)
        corners = middle + place.uniform(-90, 90, (place.integers(3, 6), 2))
        cv2.fillPoly(picture, [cv2.convexHull(corners.astype(np.int32))], int(level.integers(0, 256)))
    return picture


def pair(seed, matrix, ir_size, *, noise=4.0, ir_seed=None):
    """IR and VIS (H, W) uint8 with `matrix` between them, IR to VIS; ir_seed: IR shows another world."""
    rng = np.random.default_rng([seed, 9])
    width, height = SIZE
    to_vis = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1.0]])  # VIS sees the middle of the world
    views = []
    for light, to_view, size in ((1, np.linalg.inv(matrix) @ to_vis, ir_size), (2, to_vis, SIZE)):
        picture = world(seed if light == 2 or ir_seed is None else ir_seed, light)
        smooth = cv2.GaussianBlur(picture, (0, 0), 1.0)
        view = cv2.warpPerspective(smooth, to_view, size, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
        views.append(np.clip(view + rng.normal(0, noise, view.shape), 0, 255).astype(np.uint8))
    return views[0], views[1]


def similarity(scale, angle_deg, dx, dy, ir_size, size=SIZE):
    """IR to VIS: the middles lie (dx, dy) px of VIS apart; scale: px of VIS per px of IR."""
    cos, sin = scale * np.cos(np.deg2rad(angle_deg)), scale * np.sin(np.deg2rad(angle_deg))
    turn = np.array([[cos, -sin], [sin, cos]])
    move = (np.array(size) - 1) / 2 + (dx, dy) - turn @ (np.array(ir_size) - 1) / 2
    return np.array([[*turn[0], move[0]], [*turn[1], move[1]], [0, 0, 1]])
