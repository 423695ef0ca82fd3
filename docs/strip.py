"""Make docs/strip.png: IR | VIS | fused from the synthetic pair. Run: python docs/strip.py"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from engines.base import open_fuser
from pipeline.align import Geometry
from pipeline.image_sink import to_image
from pipeline.job import Job, run_job
from pipeline.source import open_source
from pipeline.sync import SyncPolicy
from pipeline.synthetic import Scene, write_pair

FRAME = 20
"""Of the fused video."""


def picture(path: Path, index: int) -> np.ndarray:
    """Frame `index` of a video as BGR (H, W, 3) uint8."""
    with open_source(path) as source:
        frame, info = next(frame for frame in source.frames() if frame.index == index), source.info
    image = to_image(frame, info)
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)


def main() -> None:
    """Film the scene, fuse it, and write the strip."""
    with tempfile.TemporaryDirectory() as scratch:
        scene = Scene(frames=FRAME + 8)
        pair = write_pair(Path(scratch), scene)
        shift = (float(scene.shift[0]), float(scene.shift[1]))
        out = Path(scratch) / "fused.mp4"
        job = Job(str(pair.ir), str(pair.vis), out, SyncPolicy(scene.offset), Geometry(shift=shift))
        run_job(job, open_fuser())
        late = round(scene.offset * scene.rate)  # the fused video starts with the first pair
        files = (pair.ir, FRAME), (pair.vis, FRAME + late), (job.out, FRAME)
        strip = np.hstack([picture(path, index) for path, index in files])
    cv2.imwrite(str(Path(__file__).parent / "strip.png"), strip)


if __name__ == "__main__":
    main()
