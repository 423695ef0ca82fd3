"""A rig of two cameras that look at a board, rendered: both spectra, lens, blur, noise; the truth is known."""

from dataclasses import dataclass

import cv2
import numpy as np

from calibration.boards import Board
from calibration.sheet import Disc, _shapes

FINE = 24
"""Texture samples per pitch of the board."""


@dataclass(frozen=True)
class Eye:
    """A camera of the truth."""

    width: int
    height: int
    K: np.ndarray
    dist: np.ndarray


@dataclass(frozen=True)
class Truth:
    """Two cameras, x_vis = R x_ir + T, m."""

    ir: Eye
    vis: Eye
    R: np.ndarray
    T: np.ndarray


def random_truth(seed):
    """A thermal camera of 384x288 beside a visible one of 640x480, both with some distortion."""
    rng = np.random.default_rng(seed)

    def eye(width, height, focal, k1, k2):
        fx = focal * rng.uniform(0.95, 1.05)
        cx, cy = (width - 1) / 2 + rng.uniform(-4, 4), (height - 1) / 2 + rng.uniform(-4, 4)
        K = np.array([[fx, 0, cx], [0, fx * rng.uniform(0.99, 1.01), cy], [0, 0, 1]])
        return Eye(width, height, K, np.array([k1 * rng.uniform(0.7, 1.3), k2, *rng.uniform(-0.0005, 0.0005, 2), 0.0]))

    ir, vis = eye(384, 288, 420, -0.25, 0.08), eye(640, 480, 640, -0.15, 0.04)
    R, _ = cv2.Rodrigues(np.radians(rng.uniform(-2, 2, 3)))
    return Truth(ir, vis, R, np.array([0.08, 0, 0]) + rng.uniform(-0.01, 0.01, 3))


def poses(truth, board, count, seed, *, tilt=35.0):
    """Rotation and translation of the board to the IR camera, seen whole by both. tilt: degrees, at most."""
    rng = np.random.default_rng(seed)
    centre, found = board.points.mean(axis=0), []
    sides = np.ptp(board.points[:, :2], axis=0) + 2 * board.pitch
    near = (sides * np.diag(truth.ir.K)[:2] / (truth.ir.width, truth.ir.height)).max()  # it fills the picture there
    for _ in range(20000):
        if len(found) == count:
            return found
        R, _ = cv2.Rodrigues(np.radians([rng.uniform(-tilt, tilt), rng.uniform(-tilt, tilt), rng.uniform(-15, 15)]))
        z = near * rng.uniform(1.1, 2.2)
        t = np.array([*rng.uniform(-0.35, 0.35, 2) * z, z]) - R @ centre
        if all(_is_inside(board, eye, *pose) for eye, pose in both(truth, R, t)):
            found.append((R, t))
    raise AssertionError("the board does not fit both cameras")


def both(truth, R, t):
    """Each camera with the board's pose to it."""
    return [(truth.ir, (R, t)), (truth.vis, (truth.R @ R, truth.R @ t + truth.T))]


def project(board, eye, R, t):
    """(N, 2) px of the board's points."""
    return cv2.projectPoints(board.points, cv2.Rodrigues(R)[0], t, eye.K, eye.dist)[0].reshape(-1, 2)


def _is_inside(board, eye, R, t):
    (left, top), (right, lower) = (board.points[:, :2].min(axis=0), board.points[:, :2].max(axis=0))
    border = 1.2 * board.pitch
    corners = np.array([[x, y, 0] for x in (left - border, right + border) for y in (top - border, lower + border)])
    seen = cv2.projectPoints(corners, cv2.Rodrigues(R)[0], t, eye.K, eye.dist)[0].reshape(-1, 2)
    return (seen > 0).all() and (seen < (eye.width - 1, eye.height - 1)).all()


def texture(board):
    """The board, white with black marks: pixels, and the matrix from m to them."""
    shapes = list(_shapes(board))
    points, offset = board.points[:, :2], np.zeros(2)
    if board.kind == "chess":
        offset = np.array([board.pitch, board.pitch])
    elif board.kind != "charuco":
        offset = np.full(2, shapes[0].radius / 1000)
    scale = FINE / board.pitch
    border = 1.5 * board.pitch
    size = np.ceil((points.max(axis=0) + 2 * offset + 3 * border) * scale).astype(int)
    picture = np.full(size[::-1], 255, np.uint8)
    for shape in shapes:
        at = (np.array(shape[:2]) / 1000 + border) * scale
        if isinstance(shape, Disc):
            _disc(picture, at - 0.5, shape.radius / 1000 * scale)
        else:
            x, y = np.round(at).astype(int)
            right, lower = np.round(at + np.array(shape[2:]) / 1000 * scale).astype(int)
            picture[y:lower, x:right] = 0
    move = (offset + border) * scale - 0.5
    return picture, np.array([[scale, 0, move[0]], [0, scale, move[1]], [0, 0, 1]])


def _disc(picture, centre, radius):
    cv2.circle(picture, [round(float(v) * 256) for v in centre], round(radius * 256), 0, -1, cv2.LINE_AA, 8)


_made = {}


def _rays(eye):
    """(4 H W, 3) of a picture of twice the size; made once for each camera."""
    key = eye.width, eye.K.tobytes(), eye.dist.tobytes()
    if key not in _made:
        y, x = np.mgrid[: 2 * eye.height, : 2 * eye.width].astype(np.float64)
        pixels = np.stack([x, y], axis=-1).reshape(-1, 1, 2) / 2 - 0.25
        steps = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 12, 1e-6)
        flat = cv2.undistortPoints(pixels, eye.K, eye.dist, criteria=steps).reshape(-1, 2)
        _made[key] = np.column_stack([flat, np.ones(len(flat))]).astype(np.float32)
    return _made[key]


class Scene:
    """Renders boards before one camera; the rays of its pixels are made once."""

    def __init__(self, eye, board, *, is_ir, seed=0, noise=2.5):
        self.eye, self.is_ir, self.noise = eye, is_ir, noise
        self.rng = np.random.default_rng(seed)
        self.texture, self.at = texture(board)
        self.rays = _rays(eye)

    def picture(self, R, t):
        """(H, W) uint8 of the board at this pose; the infrared one is inverted, dull and soft."""
        H = self.at @ np.linalg.inv(np.column_stack([R[:, 0], R[:, 1], t]))
        at = self.rays @ H.T.astype(np.float32)
        at = (at[:, :2] / at[:, 2:]).reshape(2 * self.eye.height, 2 * self.eye.width, 2)
        seen = cv2.remap(self.texture, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=110)
        seen = cv2.resize(seen, (self.eye.width, self.eye.height), interpolation=cv2.INTER_AREA).astype(np.float32)
        if self.is_ir:
            seen = cv2.GaussianBlur(170 - 0.5 * seen, (0, 0), 0.8)
        else:
            seen = cv2.GaussianBlur(25 + 0.8 * seen, (0, 0), 0.6)
        return np.clip(seen + self.rng.normal(0, self.noise, seen.shape) + 0.5, 0, 255).astype(np.uint8)


def rig_pictures(truth, board, count, seed, **options):
    """IR and VIS pictures of `count` poses, and the poses."""
    chosen = poses(truth, board, count, seed, **options)
    scenes = Scene(truth.ir, board, is_ir=True, seed=seed), Scene(truth.vis, board, is_ir=False, seed=seed + 1)
    pictures = [
        tuple(scene.picture(*pose) for scene, (_, pose) in zip(scenes, both(truth, R, t), strict=True))
        for R, t in chosen
    ]
    return pictures, chosen


def default_board():
    """A board large enough for its corners to fill the pictures."""
    return Board("acircles", 4, 11, 0.03)
