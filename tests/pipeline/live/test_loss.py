"""What is shown for a lost camera, when one counts as lost, and what is said of it."""

import math

import pytest

from pipeline.live.loss import HOLD_LIMIT, REPEAT, START_GRACE, CameraLostError, Silence, Watch, shown
from pipeline.live.match import Match
from pipeline.live.pairing import Pairer, Pairing
from pipeline.live.status import CameraStatus
from tests.pipeline.live.clockwork import live_frame


def match(kind, pace="vis", ir=1.0, vis=1.0):
    frames = {"ir": ir, "vis": vis}
    time = frames[pace]
    skew = math.nan if ir is None or vis is None else ir - vis
    ir, vis = (None if at is None else live_frame(at) for at in (ir, vis))
    return Match(pace, kind, ir, vis, time, skew, time)


@pytest.mark.parametrize("policy", ["hold", "passthrough", "blank", "stop"])
@pytest.mark.parametrize("kind", ["paired", "held"])
def test_a_match_with_a_partner_shows_both_whatever_the_policy(policy, kind):
    assert shown(match(kind, ir=0.8), policy) == "both"


@pytest.mark.parametrize(
    ("policy", "age", "expected"),
    [
        ("hold", HOLD_LIMIT - 0.1, "both"),
        ("hold", HOLD_LIMIT + 0.1, "vis"),
        ("hold", None, "vis"),
        ("passthrough", 1.0, "vis"),
        ("passthrough", None, "vis"),
        ("blank", 1.0, "blank"),
        ("blank", None, "blank"),
    ],
)
def test_a_frame_alone_is_shown_by_policy(policy, age, expected):
    assert shown(match("alone", ir=None if age is None else 50 - age, vis=50.0), policy) == expected


def test_the_camera_that_paces_is_the_one_shown_alone():
    assert shown(match("alone", pace="ir", ir=50.0, vis=1.0), "hold") == "ir"


def watch(policy="hold"):
    said = []
    return Watch(policy, 100.0, say=said.append), said


def test_a_camera_is_lost_after_the_limit_and_back_with_its_next_frame():
    guard, said = watch()
    guard.seen("ir", 100.0)
    guard.seen("vis", 100.5)
    guard.look(100.5, 0.5)
    assert not guard.lost
    guard.look(100.6, 0.5)
    assert guard.lost == {"ir"}
    guard.look(100.7, 0.5)
    guard.seen("ir", 107.0)
    assert not guard.lost
    assert said == [
        "ir lost: no frame for 0.6 s; its last frame is held for 10 s, then vis is shown alone",
        "ir is back after 7.0 s",
    ]


def test_a_camera_gets_longer_for_its_first_frame():
    guard, said = watch("passthrough")
    guard.seen("vis", 100.0 + START_GRACE)
    guard.look(100.0 + START_GRACE, 0.5)
    assert not guard.lost
    guard.look(100.1 + START_GRACE, 0.5)
    assert guard.lost == {"ir"}
    assert said == ["ir: no frame at all yet; vis is shown alone"]


@pytest.mark.parametrize("side", ["ir", "vis"])
def test_stop_raises_one_line_that_names_the_camera(side):
    guard, _ = watch("stop")
    for each in ("ir", "vis"):
        guard.seen(each, 100.0)
    guard.seen("ir" if side == "vis" else "vis", 101.0)
    with pytest.raises(CameraLostError, match=rf"^{side} lost: no frame for 1\.0 s; check the camera, or .*--on-loss"):
        guard.look(101.0, 0.5)
    assert CameraLostError.exit_code == 1


def silence_after(ir_at, vis_at, now, state="retrying", reason="connection refused"):
    guard, _ = watch()
    for side, at in (("ir", ir_at), ("vis", vis_at)):
        if at is not None:
            guard.seen(side, at)
    pairer = Pairer(Pairing(tolerance=0.02))
    return Silence(100.0).look(now, pairer, guard, lambda side: CameraStatus(side, "label", state, reason))


def test_silence_names_the_missing_side_how_long_and_why():
    assert silence_after(101.0, 103.9, 104.0) == (
        "no pair for 4.0 s: ir sent its last frame 3.0 s ago (retrying: connection refused)")  # fmt: skip
    assert silence_after(103.9, None, 104.0) == (
        "no pair for 4.0 s: vis has sent no frame yet (retrying: connection refused)")  # fmt: skip
    both = silence_after(101.0, 102.0, 104.0, "stalled", "")
    assert both.endswith("ir sent its last frame 3.0 s ago (stalled); vis sent its last frame 2.0 s ago (stalled)")


def test_silence_is_said_after_two_seconds_and_again_after_a_minute():
    guard, _ = watch()
    guard.seen("vis", 100.0)
    pairer, silence = Pairer(Pairing()), Silence(100.0)

    def said(now):
        return silence.look(now, pairer, guard, lambda side: CameraStatus(side, "label", "running")) is not None

    assert [said(100.0 + after) for after in (1.9, 2.0, 2.1, 30, 2 + REPEAT - 0.1, 2 + REPEAT)] == [
        False, True, False, False, False, True]  # fmt: skip
    pairer.paired = 163.0
    assert not said(163.1)
    assert silence.line == ""
    assert said(165.0)
