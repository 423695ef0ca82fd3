"""How well pictures are laid on each other without a target: aligned pairs, moved by a map that is known, and rivals.

    python -m calibration.trials --pairs FOLDER --out trials

FOLDER holds `ir/` and `vis/` with pictures of the same names. Each IR picture is moved by a random shift, turn and
scale; black fills what it did not see. The error is the median over its four corners of the distance from the truth,
which is as good as the alignment that the pairs came with: the row `as published` says how far off that is, by an ECC
started on it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calibration.models import corner_distances
from calibration.outlines import Plane, outlines, view_of
from calibration.register import register
from calibration.rig import Matrix
from calibration.scene import SceneError, Verdict, calibrate_scene

SHIFT, TURN_DEG, SCALE = 0.1, 5.0, 1.1
"""Most of the random maps: of the width either way, either way, up or down."""
GOOD, FAIR, GROSS = 3.0, 5.0, 10.0
"""px, errors that are counted."""
CONFIRMED = 2.0
"""px, up to which ECC must find the published alignment right for a pair to be in the second column."""
STEPS = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-5)
OURS, PUBLISHED = "calibrate scene", "as published"
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif"}

Method = Callable[[Plane, Plane], Matrix | None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One method on one pair."""

    name: str
    method: str
    error: float | None
    """px; None where the method gave up."""
    seconds: float
    """CPU time of the process, all threads."""
    accepted: bool | None = None
    """By the gate; None of methods without one."""
    doubts: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)
    """What the gate looked at."""
    apart: float | None = None
    """px, the same from where the same method lays the pair as published: what the start alone does."""


def random_map(rng: np.random.Generator, width: int, height: int, most: float = SHIFT) -> Matrix:
    """A shift of `most` of the width either way at most, a turn and a scale about the middle, (3, 3)."""
    scale = np.exp(rng.uniform(-1, 1) * np.log(SCALE))
    angle = np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG))
    shift = rng.uniform(-most, most, 2) * width
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    move = middle - np.array([[cos, -sin], [sin, cos]]) @ middle + shift
    return np.array([[cos, -sin, move[0]], [sin, cos, move[1]], [0, 0, 1]])


def run(
    folder: Path,
    *,
    every: int = 1,
    first: int = 0,
    leave_out: tuple[str, ...] = (),
    unrelated: bool = False,
    shift: float = SHIFT,
) -> list[Trial]:
    """All methods on every `every`-th pair of a folder from `first` on; unrelated: IR of another pair, which nobody
    may accept; shift: most of it, of the width.
    """
    pairs = [pair for pair in _pairs(folder) if pair[0].stem not in leave_out]
    trials = []
    for number in range(first, len(pairs), every):
        vis = _luma(pairs[number][1])
        ir = _luma(pairs[(number + len(pairs) // 2) % len(pairs) if unrelated else number][0])
        name, (height, width) = pairs[number][1].stem, ir.shape
        W = random_map(np.random.default_rng(number), width, height, shift)
        moved = np.asarray(cv2.warpPerspective(ir, W, (width, height), flags=cv2.INTER_LINEAR), np.uint8)
        truth = np.asarray(np.linalg.inv(W), np.float64)
        trials.append(_ours(name, moved, vis, None if unrelated else truth, ir))
        if not unrelated:
            trials += [_rival(name, method, RIVALS[method], moved, vis, truth) for method in RIVALS]
            trials.append(_rival(name, PUBLISHED, _ecc_of_gradient, ir, vis, np.eye(3)))
        print(
            f"{number + 1}/{len(pairs)} {name}", *trials[-1 - (0 if unrelated else len(RIVALS) + 1)].doubts, flush=True
        )
    return trials


def table(trials: list[Trial]) -> str:
    """The trials as Markdown."""
    confirmed = {t.name for t in trials if t.method == PUBLISHED and t.error is not None and t.error < CONFIRMED}
    lines = [
        f"| method | median error, px | < {GOOD:g} px | < {FAIR:g} px | < {GOOD:g} px of {len(confirmed)} confirmed | "
        f"accepted | of these >= {GOOD:g} px | >= {GROSS:g} px | >= {GOOD:g} px of the pair not moved | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(trial.method for trial in trials):
        own = [trial for trial in trials if trial.method == method]
        errors = np.array([np.inf if trial.error is None else trial.error for trial in own])
        sure = np.array([trial.error for trial in own if trial.name in confirmed], dtype=float)  # None becomes nan
        taken = np.array([error for trial, error in zip(own, errors, strict=True) if trial.accepted])
        apart = np.array([np.inf if trial.apart is None else trial.apart for trial in own if trial.accepted])
        gate = (
            f"{len(taken)} of {len(own)} | {(taken >= GOOD).sum()} | {(taken >= GROSS).sum()} | {(apart >= GOOD).sum()}"
            if own[0].accepted is not None
            else "- | - | - | -"
        )
        lines.append(
            f"| {method} | {np.median(errors):.1f} | {(errors < GOOD).mean():.0%} | {(errors < FAIR).mean():.0%} "
            f"| {(sure < GOOD).mean() if len(sure) else 0:.0%} | {gate} | {np.mean([t.seconds for t in own]):.2f} |"
        )
    return "\n".join(lines)


def _ours(name: str, ir: Plane, vis: Plane, truth: Matrix | None, as_published: Plane) -> Trial:
    began = time.process_time()
    seen: list[Verdict] = []
    why: tuple[str, ...] = ()
    try:
        calibrate_scene([(ir, vis)], on_frame=lambda number, verdict: seen.append(verdict))
    except SceneError as error:
        why = (str(error),)
    seconds = time.process_time() - began
    estimate = seen[0].estimate
    if estimate is None:
        return Trial(name, OURS, None, seconds, False, why)
    off = None if truth is None else _error(estimate.matrix, truth, ir)
    numbers = {key: float(getattr(estimate, key)) for key in ("overlap", "share", "lead", "differ", "sigma", "score")}
    numbers |= {"patches": float(estimate.patches.count), "side": float(max(vis.shape))}
    apart = None if truth is None else _apart(estimate.matrix, truth, as_published, vis)
    return Trial(name, OURS, off, seconds, not why, why, numbers, apart)


def _apart(found: Matrix, truth: Matrix, ir: Plane, vis: Plane) -> float | None:
    still = register(view_of(ir), view_of(vis))
    return None if still is None else _error(found, np.asarray(still.matrix @ truth, np.float64), ir)


def _rival(name: str, method: str, function: Method, ir: Plane, vis: Plane, truth: Matrix) -> Trial:
    began = time.process_time()
    try:
        matrix = function(ir, vis)
    except cv2.error:  # so ECC says that it does not converge
        matrix = None
    seconds = time.process_time() - began
    return Trial(name, method, None if matrix is None else _error(matrix, truth, ir), seconds)


def _error(matrix: Matrix, truth: Matrix, ir: Plane) -> float:
    return float(np.median(corner_distances(matrix, truth, (ir.shape[1], ir.shape[0]))))


def _ecc(ir: Plane, vis: Plane) -> Matrix:
    first = np.eye(2, 3, dtype=np.float32)
    _, found = cv2.findTransformECC(vis, ir, first, cv2.MOTION_AFFINE, STEPS, view_of(ir).mask, 5)
    return _inverse(found)


def _ecc_of_gradient(ir: Plane, vis: Plane) -> Matrix:
    first = np.eye(2, 3, dtype=np.float32)
    mine, theirs = outlines(view_of(ir)), outlines(view_of(vis))
    mask = mine.mask.astype(np.uint8)
    _, found = cv2.findTransformECC(theirs.strength, mine.strength, first, cv2.MOTION_AFFINE, STEPS, mask, 7)
    return _inverse(found)


def _ecc_multi_scale(ir: Plane, vis: Plane) -> Matrix:
    first = np.eye(2, 3, dtype=np.float32)
    mine, theirs = outlines(view_of(ir)), outlines(view_of(vis))
    settings = cv2.ECCParameters()
    settings.motionType = cv2.MOTION_AFFINE
    masks = (theirs.mask * 255).astype(np.uint8), (mine.mask * 255).astype(np.uint8)
    _, found = cv2.findTransformECCMultiScale(theirs.strength, mine.strength, first, settings, *masks)
    return _inverse(found)


def _phase_correlation(ir: Plane, vis: Plane) -> Matrix:
    mine, theirs = (outlines(view_of(picture)).strength for picture in (ir, vis))
    window = cv2.createHanningWindow((vis.shape[1], vis.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(mine, theirs, window)
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


def _sift(ir: Plane, vis: Plane) -> Matrix | None:
    finder = cv2.SIFT.create(4000)
    (mine, about_mine), (theirs, about_theirs) = (finder.detectAndCompute(picture, None) for picture in (ir, vis))
    pairs = cv2.BFMatcher().knnMatch(about_mine, about_theirs, k=2)
    good = [first for first, second in pairs if first.distance < 0.8 * second.distance]
    if len(good) < 3:
        return None
    source = np.array([mine[match.queryIdx].pt for match in good])
    target = np.array([theirs[match.trainIdx].pt for match in good])
    found, _ = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=3.0)
    return None if found is None else np.vstack([found, [0, 0, 1]])


RIVALS: dict[str, Method] = {
    "ECC, luma": _ecc,
    "ECC, gradient": _ecc_of_gradient,
    "ECC multi-scale (OpenCV), gradient": _ecc_multi_scale,
    "phase correlation, gradient": _phase_correlation,
    "SIFT and RANSAC": _sift,
}


def _inverse(found: Any) -> Matrix:
    """ECC gives VIS to IR."""
    return np.asarray(np.linalg.inv(np.vstack([found, [0, 0, 1]]).astype(np.float64)))


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    sides = [
        {file.stem: file for file in sorted((folder / side).iterdir()) if file.suffix.lower() in SUFFIXES}
        for side in ("ir", "vis")
    ]
    return [(sides[0][stem], sides[1][stem]) for stem in sides[0] if stem in sides[1]]


def _luma(path: Path) -> Plane:
    return np.asarray(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Lay aligned pairs, moved by a known map, on each other again.")
    parser.add_argument("--pairs", type=Path, required=True, help="folder with ir/ and vis/")
    parser.add_argument("--out", type=Path, default=Path("trials"), help="writes OUT.md and OUT.json")
    parser.add_argument("--every", type=int, default=1, help="take every N-th pair only")
    parser.add_argument("--first", type=int, default=0, help="begin with this one")
    parser.add_argument("--shift", type=float, default=SHIFT, help="most shift, of the width (%(default)s)")
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="NAME", help="pairs known to be unaligned")
    parser.add_argument("--unrelated", action="store_true", help="IR of another pair each time: none may be accepted")
    given = parser.parse_args()
    trials = run(
        given.pairs, every=given.every, first=given.first, leave_out=tuple(given.leave_out),
        unrelated=given.unrelated, shift=given.shift,
    )  # fmt: skip
    text = table(trials)
    given.out.with_suffix(".md").write_text(text + "\n")
    given.out.with_suffix(".json").write_text(json.dumps([asdict(trial) for trial in trials], indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
