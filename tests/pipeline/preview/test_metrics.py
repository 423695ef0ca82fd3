"""The names, labels and values that dashboards are built on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

pytest.importorskip("prometheus_client", reason="the extra `live` is not installed")

from prometheus_client.parser import text_string_to_metric_families

from pipeline.live.status import CameraStatus, LiveStatus, Panel
from pipeline.preview.hub import Hub
from pipeline.preview.metrics import Metrics

IR = CameraStatus(
    "ir", "rtsp://***@h/ir", "retrying", reason="no answer", since=90.0, frames=7, reconnects=2,
    drops={"queue full": 3, 'odd\n"one': 1}, fps=8.5, last_frame=95.0,
)  # fmt: skip
VIS = CameraStatus("vis", "file:vis.mp4", "connecting", since=60.0)
STATUS = LiveStatus(
    {"ir": IR, "vis": VIS}, pairs=6, drops={"no partner": 4}, fps=8.25, backend='jcae on "cpu"', uptime=12.5,
    recording={"bytes": 2048, "error": ""},
)  # fmt: skip


@pytest.fixture
def hub():
    made = Hub(Panel(), clock=lambda: 100.0)
    made.status = lambda: STATUS
    return made


def values(hub):
    """name and labels to value, as Prometheus reads the text."""
    families = text_string_to_metric_families(Metrics(hub).text().decode())
    return {(item.name, *sorted(item.labels.items())): item.value for family in families for item in family.samples}


def test_the_promised_names_hold_the_values(hub):
    found = values(hub)
    ir = ("source", "ir")
    assert found["fusion_source_fps", ir] == 8.5
    assert math.isnan(found["fusion_source_fps", ("source", "vis")])
    assert found["fusion_frames_total", ir] == 7
    assert found["fusion_reconnects_total", ir] == 2
    assert found["fusion_dropped_total", ("reason", "queue full"), ir] == 3
    assert found["fusion_dropped_total", ("reason", "no partner"), ("source", "line")] == 4
    assert found["fusion_engine_backend_info", ("backend", 'jcae on "cpu"')] == 1
    assert found["fusion_pairs_total",] == 6
    assert found["fusion_output_fps",] == 8.25
    assert found["fusion_recording",] == 1
    assert found["fusion_recording_bytes",] == 2048
    assert found["process_resident_memory_bytes",] > 1e6


def test_odd_reasons_do_not_break_the_text(hub):
    assert values(hub)["fusion_dropped_total", ("reason", 'odd\n"one'), ("source", "ir")] == 1


def test_the_age_counts_from_the_last_frame_or_from_the_beginning(hub):
    found = values(hub)
    assert found["fusion_last_frame_age_seconds", ("source", "ir")] == 5
    assert found["fusion_last_frame_age_seconds", ("source", "vis")] == 40


def test_exactly_one_state_of_a_source_is_1(hub):
    found = {
        key[2][1]: value for key, value in values(hub).items() if key[0] == "fusion_source_state" and key[1][1] == "ir"
    }
    assert found == {"connecting": 0, "running": 0, "stalled": 0, "retrying": 1, "stopped": 0}


def test_histograms_hold_what_was_observed(hub):
    for latency in (0.06, 0.3):
        hub.observe(latency=latency, skew=-0.003, stages={"fuse": 0.03})
    found = values(hub)
    assert found["fusion_latency_seconds_bucket", ("le", "0.1")] == 1
    assert found["fusion_latency_seconds_count",] == 2
    assert found["fusion_latency_seconds_sum",] == pytest.approx(0.36)
    assert found["fusion_pair_offset_seconds_bucket", ("le", "-0.005")] == 0
    assert found["fusion_pair_offset_seconds_bucket", ("le", "-0.002")] == 2
    assert found["fusion_stage_seconds_count", ("stage", "fuse")] == 2


def test_output_frames_are_those_published(hub):
    assert values(hub)["fusion_output_frames_total",] == 0


def test_a_failed_recording_is_0(hub):
    hub.status = lambda: replace(STATUS, recording={"bytes": 5, "error": "no space left"})
    assert values(hub)["fusion_recording",] == 0


def test_what_the_pictures_lie_apart_is_there_while_it_is_known(hub):
    assert ("fusion_alignment_residual_pixels",) not in values(hub)
    hub.status = lambda: replace(STATUS, alignment={"residual_px": 2.5, "dx_px": 1.5, "dy_px": 2.0, "confidence": 9.0})
    assert values(hub)["fusion_alignment_residual_pixels",] == 2.5
