"""One made-up pair, for pictures that anybody may print: what each camera sees, the other does not."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 144, 192
"""px"""
Luma = NDArray[np.uint8]


def scene() -> tuple[Luma, Luma]:
    """IR with a warm figure, warm windows and a cold sky; VIS with a striped wall, letters and a textured ground."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ground = cv2.GaussianBlur(rng.random((HEIGHT, WIDTH)), (0, 0), 1.5)
    ground = (ground - ground.mean()) / ground.std()
    vis = np.where(rows < 90, 150 - 0.5 * rows, 80 + 18 * ground)
    wall = (rows > 30) & (rows < 90) & (columns > 90)
    vis = np.where(wall, 110 + 35 * ((columns // 6 + rows // 8) % 2), vis)
    ir = np.where(rows < 90, 25.0, 70 + 6 * ground)
    ir = np.where(wall, 60.0, ir)
    vis, ir = (np.ascontiguousarray(plane, np.float32) for plane in (vis, ir))
    for left in (105, 135, 165):
        cv2.rectangle(vis, (left, 45), (left + 12, 60), 30, -1)
        cv2.rectangle(ir, (left, 45), (left + 12, 60), 130, -1)
    letters = np.zeros((HEIGHT, WIDTH), np.uint8)  # OpenCV smooths edges of bytes only
    cv2.putText(letters, "EXIT 7", (100, 82), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 255, 1, cv2.LINE_AA)
    vis += letters / np.float32(255) * (230 - vis)
    figure = np.zeros((HEIGHT, WIDTH), np.uint8)
    for centre, axes in (((50, 70), (6, 7)), ((50, 94), (9, 16)), ((46, 120), (4, 14)), ((55, 120), (4, 14))):
        cv2.ellipse(figure, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    share = cv2.GaussianBlur(figure, (0, 0), 0.8) / np.float32(255)
    ir += share * (215 - ir)
    vis += 0.35 * share * (70 - vis)  # it sees the figure faintly
    grains = (rng.normal(0, 2, (HEIGHT, WIDTH)) for _ in range(2))
    made_ir, made_vis = (np.rint(p + g).clip(0, 255).astype(np.uint8) for p, g in zip((ir, vis), grains, strict=True))
    return made_ir, made_vis
