"""Make the pictures of docs/calibration.md under docs/calibration/. Run: python docs/calibration_pictures.py"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from calibration.before_after import before_after
from calibration.drawings import curve_plot, vector_plot
from calibration.findings import SideOfView
from calibration.parallax import parting
from calibration.report import STYLE
from calibration.rig import Camera, Rig, Stereo, as_table
from tests.calibration.render import both, default_board, random_truth, rig_pictures

FOLDER = Path(__file__).parent / "calibration"
INK = "font-family='system-ui, sans-serif' font-size='13'"


def target() -> str:
    """A heated cut-out board from the side, and what either camera sees of it."""
    layers = (("front: white board, holes or squares cut out", "#fff", 10), ("gap of 10 to 20 mm", "#f4f4f4", 16),
              ("back: black metal sheet, warmed", "#333", 10))  # fmt: skip
    parts, x = [], 40
    for text, colour, width in layers:
        holes = [(20 + 44 * k, 24) for k in range(5)] if colour == "#fff" else [(20, 200)]
        for top, height in holes:
            parts.append(f"<rect x='{x}' y='{top}' width='{width}' height='{height}' fill='{colour}' stroke='#666'/>")
        parts.append(f"<text x='120' y='{60 + 50 * layers.index((text, colour, width))}'>{text}</text>")
        x += width
    parts.append("<text x='120' y='206'>the cameras look from the left</text>")
    for place, (title, ground, mark) in enumerate((("visible", "#eee", "#222"), ("infrared", "#444", "#eee"))):
        left = 440 + 170 * place
        parts.append(f"<rect x='{left}' y='40' width='150' height='150' fill='{ground}' stroke='#666'/>")
        for row in range(6):
            for column in range(3):
                at = left + 25 + 44 * column + 22 * (row % 2)
                if at < left + 140:
                    parts.append(f"<circle cx='{at}' cy='{54 + 24 * row}' r='8' fill='{mark}'/>")
        parts.append(f"<text x='{left}' y='30'>{title}</text>")
    return f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 780 230' width='780' {INK}>{''.join(parts)}</svg>"


def poses() -> str:
    """Where the board should be in the picture, and how it should be held."""
    rays = {"middle": (0, 0), "corner": (-0.73, -0.7), "other corner": (0.73, 0.7), "tilted, top away": (0.55, -0.5),
            "tilted, side away": (-0.55, 0.5), "far": (0, -0.6), "turned": (0, 0.55)}  # fmt: skip
    parts = ["<rect x='1' y='1' width='598' height='398' fill='#fafafa' stroke='#666'/>"]
    for name, (x, y) in rays.items():
        size = 0.35 if name == "far" else 1.0
        a, b = (0.55, 0.0) if "top" in name else (0.0, 0.6) if "side" in name else (0.0, 0.0)
        turn = np.deg2rad(20 if name == "turned" else 0)
        corners = np.array([[-1, -0.7], [1, -0.7], [1, 0.7], [-1, 0.7]]) * size
        seen = (
            corners * (1 - 0.3 * (a * -corners[:, 1:] + b * corners[:, :1])) * [1 - 0.35 * bool(b), 1 - 0.35 * bool(a)]
        )
        seen = seen @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        points = " ".join(f"{300 + 290 * x + 72 * u:.0f},{200 + 190 * y + 72 * v:.0f}" for u, v in seen)
        parts.append(f"<polygon points='{points}' fill='#cfe0ff' fill-opacity='.7' stroke='#2e6fd8'/>")
        parts.append(f"<text x='{300 + 290 * x:.0f}' y='{204 + 190 * y:.0f}' text-anchor='middle'>{name}</text>")
    return f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 600 400' width='600' {INK}>{''.join(parts)}</svg>"


def residuals() -> list[tuple[str, str]]:
    """Name and SVG of what residuals look like: noise, a lens with too few coefficients, a board that moved."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.linspace(40, 600, 15), np.linspace(40, 440, 11)), axis=-1).reshape(-1, 2)
    out = (grid - (320, 240)) / 320
    radius = np.linalg.norm(out, axis=1)[:, None]
    noise = rng.normal(0, 0.1, grid.shape)
    kinds = {"noise": noise, "lens": noise + out * (2 * radius**2 - 0.8), "moved": noise + np.array([0.8, 0.25])}
    found = []
    for name, offsets in kinds.items():
        side = SideOfView(points=grid.tolist(), residuals=offsets.tolist(), rms_px=1, blur_px=1, is_inverted=False)
        found.append((f"residuals-{name}.svg", _alone(vector_plot([side], (640, 480), name)[0])))
    return found


def parallax() -> str:
    """The curve of two cameras 8 cm apart, laid for far away and for 2 m."""
    K = ((640, 0, 319.5), (0, 640, 239.5), (0, 0, 1))
    camera = Camera(width=640, height=480, K=K)
    rig = Rig(ir=camera, vis=camera, pose=Stereo(R=as_table(np.eye(3)), T=(0.08, 0, 0)))
    grid = np.geomspace(0.5, 100, 120)
    planes = (("laid for far away", np.inf), ("laid for 2 m", 2.0))
    return _alone(curve_plot(grid, [(name, parting(rig, grid.tolist(), d)) for name, d in planes], 55.0))


def blends() -> np.ndarray:
    """A rendered pair before and after its rig, side by side."""
    truth, board = random_truth(2), default_board()
    pictures, found = rig_pictures(truth, board, 1, 5)
    cameras = [
        Camera(width=e.width, height=e.height, K=as_table(e.K), dist=tuple(e.dist)) for e in (truth.ir, truth.vis)
    ]
    rig = Rig(ir=cameras[0], vis=cameras[1], pose=Stereo(R=as_table(truth.R), T=tuple(truth.T)))
    R, t = both(truth, *found[0])[1][1]
    shown = before_after(*pictures[0], rig, float((R @ board.points.mean(axis=0) + t)[2]))
    assert shown is not None
    rows = np.hstack([shown.blend_before, shown.blend_after]), np.hstack([shown.chess_before, shown.chess_after])
    return cv2.resize(np.vstack(rows), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)


def _alone(svg: str) -> str:
    """A plot of the report as a file of its own, with the report's style."""
    rules = "".join(line for line in STYLE.splitlines() if line.startswith((".", "svg")) and "@" not in line)
    opened = svg.replace("<svg ", "<svg xmlns='http://www.w3.org/2000/svg' font-family='system-ui, sans-serif' ", 1)
    return opened.replace(
        ">", f"><style>{rules}</style><rect width='100%' height='100%' style='fill:#fff;stroke:none'/>", 1
    )


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    files = [("target.svg", target()), ("poses.svg", poses()), ("parallax.svg", parallax()), *residuals()]
    for name, svg in files:
        (FOLDER / name).write_text(svg + "\n", encoding="utf-8")
    cv2.imwrite(str(FOLDER / "before-after.jpg"), blends(), [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    main()
