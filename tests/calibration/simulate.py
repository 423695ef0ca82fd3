"""Views of a board by two cameras, without pictures: projected points and noise. Fast, and the truth is known."""

import numpy as np

from calibration.choose import View
from calibration.detect import Sighting
from tests.calibration.render import both, poses, project


def sighting(points, ids=None):
    """What a detector would tell of these points."""
    ids = np.arange(len(points)) if ids is None else ids
    return Sighting(points, ids, False, 0.1, 3.0)


def simulated(truth, board, count, seed, *, noise=0.03, tilt=35.0, wobble_deg=0.0):
    """Views (list of View). noise: px. wobble_deg: by which VIS turns from view to view: no rigid rig."""
    import cv2

    rng = np.random.default_rng(seed)
    views = []
    for number, (R, t) in enumerate(poses(truth, board, count, seed, tilt=tilt)):
        seen = []
        for eye, (R_eye, t_eye) in both(truth, R, t):
            turn = cv2.Rodrigues(np.radians(rng.normal(0, wobble_deg, 3)))[0] if eye is truth.vis else np.eye(3)
            points = project(board, eye, turn @ R_eye, turn @ t_eye)
            seen.append(sighting(points + rng.normal(0, noise, points.shape)))
        views.append(View(str(number), float(number), *seen))
    return views
