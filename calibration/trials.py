"""How well pictures are laid on each other without a target: aligned pairs, moved by a map that is known, and rivals.

    python -m calibration.trials --pairs FOLDER --out trials

FOLDER holds `ir/` and `vis/` with pictures of the same names. Each IR picture is moved by a random shift, turn and
scale; black fills what it did not see. The error is the median over its four corners of the distance from the truth,
which is as good as the alignment that the pairs came with: the row `as published` says how far off that is, by an ECC
started on it, and for places that are believed far from it, luma says which of the two is better.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from calibration.luma_votes import VOTES, luma_votes
from calibration.models import corner_distances
from calibration.outlines import Plane, view_of
from calibration.register import register
from calibration.rig import Matrix
from calibration.rivals import RIVALS, Method, ecc_of_gradient
from calibration.scene import SceneError, Verdict, calibrate_scene

SHIFT, TURN_DEG, SCALE = 0.1, 5.0, 1.1
"""Most of the random maps: of the width either way, either way, up or down."""
GOOD, FAIR, GROSS = 3.0, 5.0, 10.0
"""px, errors that are counted."""
CONFIRMED = 2.0
"""px, up to which ECC must find the published alignment right for a pair to be in the second column."""
OURS, PUBLISHED = "calibrate scene", "as published"
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif"}


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
    votes: int | None = None
    """Of `luma_votes`, for the place that was found against the published one."""


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
    rivals: bool = True,
    seed: int = 0,
) -> list[Trial]:
    """All methods on every `every`-th pair of a folder from `first` on; unrelated: IR of another pair, which nobody
    may accept; shift: most of it, of the width; rivals: other methods, too.
    """
    pairs = [pair for pair in _pairs(folder) if pair[0].stem not in leave_out]
    trials = []
    for number in range(first, len(pairs), every):
        vis = _luma(pairs[number][1])
        ir = _luma(pairs[(number + len(pairs) // 2) % len(pairs) if unrelated else number][0])
        name, (height, width) = pairs[number][1].stem, ir.shape
        W = random_map(np.random.default_rng(number + 1000 * seed), width, height, shift)
        moved = np.asarray(cv2.warpPerspective(ir, W, (width, height), flags=cv2.INTER_LINEAR), np.uint8)
        truth = np.asarray(np.linalg.inv(W), np.float64)
        trials.append(_ours(name, moved, vis, None if unrelated else truth, ir))
        print(f"{number + 1}/{len(pairs)} {name}", *trials[-1].doubts, flush=True)
        if not unrelated:
            trials += [_rival(name, method, RIVALS[method], moved, vis, truth) for method in RIVALS if rivals]
            trials.append(_rival(name, PUBLISHED, ecc_of_gradient, ir, vis, np.eye(3)))
    return trials


def table(trials: list[Trial]) -> str:
    """The trials as Markdown."""
    confirmed = {t.name for t in trials if t.method == PUBLISHED and t.error is not None and t.error < CONFIRMED}
    lines = [
        f"| method | median error, px | < {GOOD:g} px | < {FAIR:g} px | < {GOOD:g} px of {len(confirmed)} confirmed | "
        f"accepted | of these >= {GOOD:g} px | and luma is for the published place | >= {GROSS:g} px "
        f"| >= {GOOD:g} px of the pair not moved | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(trial.method for trial in trials):
        own = [trial for trial in trials if trial.method == method]
        errors = np.array([np.inf if trial.error is None else trial.error for trial in own])
        sure = np.array([trial.error for trial in own if trial.name in confirmed], dtype=float)  # None becomes nan
        taken = np.array([error for trial, error in zip(own, errors, strict=True) if trial.accepted])
        apart = np.array([np.inf if trial.apart is None else trial.apart for trial in own if trial.accepted])
        outvoted = [t for t in own if t.accepted and (t.error or 0) >= GOOD and (t.votes or 0) <= VOTES // 2]
        gate = (
            f"{len(taken)} of {len(own)} | {(taken >= GOOD).sum()} | {len(outvoted)} | {(taken >= GROSS).sum()} "
            f"| {(apart >= GOOD).sum()}"
            if own[0].accepted is not None
            else "- | - | - | - | -"
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
    found = None
    try:
        found = calibrate_scene([(ir, vis)], on_frame=lambda number, verdict: seen.append(verdict))
    except SceneError as error:
        why = (str(error),)
    seconds = time.process_time() - began
    estimate = seen[0].estimate
    if estimate is None:
        return Trial(name, OURS, None, seconds, False, why)
    matrix = estimate.matrix if found is None else found.matrix
    off = None if truth is None else _error(matrix, truth, ir)
    numbers = {key: float(getattr(estimate, key)) for key in ("overlap", "share", "lead", "differ", "sigma", "score")}
    numbers |= {"patches": float(estimate.patches.count), "side": float(max(vis.shape))}
    apart = None if truth is None else _apart(matrix, truth, as_published, vis)
    votes = (
        None if truth is None else luma_votes(as_published, vis, np.asarray(matrix @ np.linalg.inv(truth)), np.eye(3))
    )
    return Trial(name, OURS, off, seconds, not why, why, numbers, apart, votes)


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
    parser.add_argument("--seed", type=int, default=0, help="of the maps (%(default)s)")
    parser.add_argument("--alone", action="store_true", help="no other methods beside ours")
    given = parser.parse_args()
    trials = run(
        given.pairs, every=given.every, first=given.first, leave_out=tuple(given.leave_out),
        unrelated=given.unrelated, shift=given.shift, rivals=not given.alone, seed=given.seed,
    )  # fmt: skip
    text = table(trials)
    given.out.with_suffix(".md").write_text(text + "\n")
    given.out.with_suffix(".json").write_text(json.dumps([asdict(trial) for trial in trials], indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
