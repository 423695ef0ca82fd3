from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration import register
from calibration import scene as module
from calibration.bend import raster
from calibration.gate import doubts, likely_off, most_off
from calibration.models import corner_distances, fitted, moved
from calibration.patches import Displacements
from calibration.register import Estimate
from calibration.scene import SceneError, calibrate_scene
from calibration.search import Start
from tests.calibration.scenery import SIZE, pair, similarity

IR_SIZE = 200, 160
H = similarity(1.8, -3, 20, 10, IR_SIZE)
START = Start(0.75, 0, 0, 0)


def believed(dx=0.0, **changes):
    """An estimate that nothing speaks against, dx px of VIS off `H`."""
    at = np.random.default_rng(0).uniform(0, 380, (60, 2))
    patches = Displacements(at, at.copy(), np.ones(60), np.zeros(60))
    shifted = np.array([[1, 0, dx], [0, 1, 0], [0, 0, 1.0]]) @ H
    good = Estimate(shifted, "similarity", overlap=1.0, share=0.9, score=50.0, lead=2.0, differ=1.0, sigma=0.5,
                    residual=0.5, patches=patches, to_grid=np.eye(3))  # fmt: skip
    return replace(good, **changes)


def calibrate(monkeypatch, estimates):
    """`calibrate_scene` on pictures that are found to lie as told, frame by frame."""
    told = iter(estimates)
    monkeypatch.setattr(module, "register", lambda *_, **__: next(told))
    picture = np.random.default_rng(1).integers(0, 255, (160, 200), np.uint8)
    vis = np.random.default_rng(2).integers(0, 255, (384, 480), np.uint8)
    return calibrate_scene([(picture, vis)] * len(estimates))


@pytest.fixture(scope="module")
def frames():
    """Three frames of one rig, the second of two different scenes."""
    return [pair(11, H, IR_SIZE), pair(12, H, IR_SIZE, ir_seed=13), pair(14, H, IR_SIZE)]


def test_a_frame_that_shows_nothing_in_common_is_left_out(frames, monkeypatch):
    monkeypatch.setattr(register, "LOOKS", (5, 10))  # a third of the time of the one without a place
    seen = []
    found = calibrate_scene(frames, start=START, on_frame=lambda number, verdict: seen.append((number, verdict)))
    assert found.agreeing == (0, 2)
    assert [bool(verdict.doubts) for _, verdict in seen] == [False, True, False]
    assert corner_distances(found.matrix, H, IR_SIZE).max() < 1.0
    assert found.quality["frames"] == 3
    assert found.quality["frames_agreeing"] == 2
    assert found.quality["corner_sigma_px"] < 1.0


def test_the_map_is_from_ir_to_vis_whoever_is_the_reference(frames):
    found = calibrate_scene(frames[:1], reference="ir", start=Start(1 / 0.75, 0, 0, 0))
    assert corner_distances(found.matrix, H, IR_SIZE).max() < 2.0  # one px of ir is 1.8 of vis


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"overlap": 0.2}, "share 20%"),
        ({"share": 0.3}, "30% of the parts agree"),
        ({"lead": 1.02}, "another place fits as well"),
        ({"differ": 40.0}, "two estimators differ by 40.0 px, 6.2 px are allowed"),
        ({"differ": np.inf}, "a second estimator finds no place"),
        ({"sigma": 5.0}, "known to 5.0 px only, 3.4 px are allowed"),
        ({"sigma": np.inf}, "in one part of the picture"),
        ({"patches": Displacements(np.zeros((5, 2)), np.zeros((5, 2)), np.ones(5), np.zeros(5))}, "5 parts show"),
    ],
)
def test_each_reason_not_to_believe_it_is_enough(monkeypatch, change, why):
    assert doubts(believed(), SIZE) == []
    assert len(doubts(believed(**change), SIZE)) == 1
    with pytest.raises(SceneError, match=why) as caught:
        calibrate(monkeypatch, [believed(**change)])
    assert caught.value.exit_code == 1


def test_a_place_that_was_not_found_is_not_believed(monkeypatch):
    with pytest.raises(SceneError, match="nothing that both pictures show"):
        calibrate(monkeypatch, [None])


def test_frames_that_disagree_give_no_map(monkeypatch):
    with pytest.raises(SceneError, match=r"frames disagree: 2 of 4 lie within 6\.2 px"):
        calibrate(monkeypatch, [believed(dx) for dx in (0, 2, 40, 80)])


def test_most_frames_outvote_one(monkeypatch):
    found = calibrate(monkeypatch, [believed(dx) for dx in (0, 1, 2, 60)])
    assert found.agreeing == (0, 1, 2)
    assert corner_distances(found.matrix, believed(1).matrix, IR_SIZE).max() < 0.5


def test_too_many_doubtful_frames_give_no_map(monkeypatch):
    with pytest.raises(SceneError, match="2 of 3 frames are not to be believed: 10% of the parts agree"):
        calibrate(monkeypatch, [believed(), believed(share=0.1), believed(share=0.1)])


@pytest.mark.parametrize("side", ["ir", "vis"])
def test_a_picture_that_shows_nothing_is_named(side):
    pictures = dict(zip(("ir", "vis"), pair(11, H, IR_SIZE), strict=True))
    pictures[side] = np.full_like(pictures[side], 90)
    with pytest.raises(SceneError, match=f"{side}: all pixels are within 0 levels"):
        calibrate_scene([(pictures["ir"], pictures["vis"])])


def test_a_picture_that_is_too_small_is_named():
    ir, vis = pair(11, H, IR_SIZE)
    with pytest.raises(SceneError, match="ir: 30x160 is too small, at least 32 px a side"):
        calibrate_scene([(ir[:, :30], vis)])


def test_patches_count_from_where_their_own_frame_was_laid(monkeypatch):
    """Two frames that were laid 2 px apart, and whose patches both say that the first is right."""
    late = believed(2.0)
    back = replace(late.patches, to=late.patches.at - (2.0, 0.0))
    found = calibrate(monkeypatch, [believed(), replace(late, patches=back)])
    assert found.agreeing == (0, 1)
    assert corner_distances(found.matrix, H, IR_SIZE).max() < 0.01
    assert found.quality["residual_px"] < 0.01


def bent(per_px):
    """An estimate whose patches lie on a tilted plane."""
    good = believed()
    tilt = np.array([[1, 0, 0], [0, 1, 0], [per_px, 0, 1.0]])
    return replace(good, patches=replace(good.patches, to=moved(tilt, good.patches.at)))


def test_three_frames_may_show_perspective_and_one_may_not(monkeypatch):
    found = calibrate(monkeypatch, [bent(1e-4)] * 3)
    assert found.model == "homography"
    tilted = np.array([[1, 0, 0], [0, 1, 0], [1e-4, 0, 1.0]]) @ H
    assert np.median(corner_distances(found.matrix, tilted, IR_SIZE)) < 0.5
    with pytest.raises(SceneError, match=r"homography fits better than similarity and differs by .*--model homo"):
        calibrate(monkeypatch, [bent(2e-4)])


def sheared(per_px):
    """An estimate whose patches follow an affine map that lays the corners a little elsewhere."""
    good = believed()
    at = good.patches.at
    shear = np.array([[1, per_px, -190 * per_px], [0, 1, 0], [0, 0, 1.0]])
    return replace(good, patches=replace(good.patches, to=moved(shear, at)))


def test_few_frames_that_a_freer_map_lays_elsewhere_give_no_map(monkeypatch):
    """Too little for another model to be chosen, and more than one frame may be off by; three frames may."""
    monkeypatch.setattr(module, "chosen", lambda *_: "similarity")
    for count, per_px in ((1, 0.007), (3, 0.04)):
        found = calibrate(monkeypatch, [sheared(per_px)] * count)
        assert len(found.agreeing) == count
        assert ("corner_off_px" in found.quality) == (count == 1)
        assert found.quality.get("corner_off_px", 0.5) == pytest.approx(0.5, abs=0.2)
    for count in (1, 2):
        with pytest.raises(SceneError, match=r"corners may be off by \d\.\d px: .* affine instead of similarity lays"):
            calibrate(monkeypatch, [sheared(0.04)] * count)


def test_of_small_pictures_no_more_is_asked_than_a_px_tells():
    assert [most_off(side) for side in (160, 1000)] == [1.2, 3.5]
    assert likely_off(3.0, 8.0) == 5.0  # half of what a freer map lays elsewhere


def test_one_frame_is_laid_as_it_was_found(monkeypatch):
    """Its patches that are clear enough to be judged by are not all that it was laid by."""
    late = believed(1.0)
    patches = replace(late.patches, to=late.patches.at - (0.8, 0.0))
    found = calibrate(monkeypatch, [replace(late, patches=patches)])
    np.testing.assert_allclose(found.matrix, late.matrix, atol=1e-9)


def test_perspective_that_hardly_matters_is_left(monkeypatch):
    assert calibrate(monkeypatch, [bent(1.5e-5)]).model == "similarity"


def test_perspective_is_found_in_pictures():
    tilted = similarity(1, 0, 18, 10, SIZE) @ similarity(2.2, 0, 5, 5, IR_SIZE)
    tilted = tilted @ np.array([[1, 0, 0], [0, 1, 0], [2.5e-4, 0, 1]])
    found = calibrate_scene([pair(seed, tilted, IR_SIZE) for seed in (8, 15, 16)], start=Start(0.9, 0, 0, 0))
    assert found.model == "homography"
    assert np.median(corner_distances(found.matrix, tilted, IR_SIZE)) < 2.0


def test_pictures_that_two_lenses_bend_differently_are_laid_right_all_over():
    """Visible is drawn in by 8 px at its corners: a map fitted to outlines alone is wider there than the best one."""
    steep = similarity(2.2, 2, 10, -5, IR_SIZE)
    ir, vis = pair(7, steep, IR_SIZE)
    middle = (np.array(SIZE) - 1) / 2
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float64)
    out = np.stack([x, y], axis=-1) - middle
    square = ((out / np.linalg.norm(middle)) ** 2).sum(axis=2, keepdims=True)
    at = (middle + out * (1 + 8 / np.linalg.norm(middle) * square)).astype(np.float32)
    bent = np.asarray(cv2.remap(vis, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    seen = []
    start = Start(2.2 * IR_SIZE[0] / SIZE[0], 0, 10, -5)
    scene = calibrate_scene([(ir, bent)], start=start, on_frame=lambda number, verdict: seen.append(verdict.estimate))
    truth = raster(steep, IR_SIZE, SIZE)
    off = truth - middle
    drawn_in = truth - off * 8 / np.linalg.norm(middle) * ((off / np.linalg.norm(middle)) ** 2).sum(1, keepdims=True)
    best = fitted(truth, drawn_in, np.ones(len(truth)), "similarity") @ steep
    for matrix in (seen[0].matrix, scene.matrix):
        assert np.median(corner_distances(matrix, best, IR_SIZE)) < 0.8
