"""How often maps change their rule in a video, and how much the picture flickers, with and without hysteresis.

Run: python docs/flips.py IR VIS [--size 320x240] [--frames 20]
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from engines.base import StreamState
from engines.model import load_model
from engines.onnx_cpu import OnnxFuser
from pipeline.align import Geometry, align
from pipeline.frames import Pair
from pipeline.source import open_source
from pipeline.thermal import Agc
from run_stream import parse_size


def flicker(pictures: list[np.ndarray]) -> float:
    """Mean absolute second difference over time, levels."""
    stack = np.stack(pictures).astype(np.float64)
    return float(np.abs(stack[2:] - 2 * stack[1:-1] + stack[:-2]).mean())


def main() -> None:
    """Print a line for image mode (the paper for each frame) and one for stream mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ir")
    parser.add_argument("vis")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--frames", type=int, default=20)
    given = parser.parse_args()
    fuser, geometry = OnnxFuser(load_model("jcae")), Geometry(size=parse_size(given.size))
    with open_source(given.ir) as ir, open_source(given.vis) as vis:
        frames = islice(zip(ir.frames(), vis.frames(), strict=False), given.frames)
        pairs = [align(Pair(a, b, 0.0), geometry, Agc(), Agc()) for a, b in frames]
    print(f"ir flicker {flicker([p.ir for p in pairs]):.2f}, vis flicker {flicker([p.vis for p in pairs]):.2f}")
    for mode in ("image", "stream"):
        fused, rules = [], []
        state: StreamState | None = None
        for pair in pairs:
            luma, state = fuser.fuse_next(pair.ir, pair.vis, state if mode == "stream" else None)
            fused.append(luma)
            rules.append(state.averaged)
        flips = np.mean([(a != b).sum() for a, b in pairwise(rules)])
        means = np.array([luma.mean() for luma in fused])
        jump = np.abs(np.diff(means)).max()
        averaged = np.mean(rules[0]) * 128
        print(f"{mode} mode: {flips:.2f} maps change their rule a frame, {averaged:.0f} of 128 averaged")
        print(f"  flicker {flicker(fused):.2f}, largest jump of brightness {jump:.2f}")


if __name__ == "__main__":
    main()
