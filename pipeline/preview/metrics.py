"""A run in the words of Prometheus. Names and labels are a promise: dashboards are built on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from pipeline.live.status import CameraStatus, LiveStatus, State
from pipeline.preview.hub import Hub
from pipeline.preview.tally import Tally

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics(Collector):
    """Asked for the numbers of a hub at each scrape; counts nothing itself. A registry of its own, no global one."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)  # memory, processor time, open files

    def text(self) -> bytes:
        """All metrics, in the text format that `CONTENT_TYPE` names."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        status = self._hub.status()
        yield from _cameras(status, self._hub.clock())
        yield _dropped(status)
        yield CounterMetricFamily("fusion_pairs", "Pairs fused.", value=status.pairs)
        yield CounterMetricFamily("fusion_output_frames", "Frames put out.", value=self._hub.published)
        yield GaugeMetricFamily("fusion_output_fps", "Frames put out per second, of late.", value=status.fps)
        yield GaugeMetricFamily("fusion_uptime_seconds", "Since the start of the run.", value=status.uptime)
        yield InfoMetricFamily("fusion_engine_backend", "What fuses.", value={"backend": status.backend})
        yield _histogram("fusion_latency_seconds", "Capture to output.", self._hub.latency)
        yield _histogram("fusion_pair_offset_seconds", "IR minus VIS within a pair.", self._hub.skew)
        yield _stages(dict(self._hub.stages))
        yield _alignment(status)
        yield from _recording(status)
        yield GaugeMetricFamily("fusion_preview_viewers", "Who have the stream open.", value=self._hub.viewers)
        yield CounterMetricFamily("fusion_preview_pictures", "Pictures encoded for them.", value=self._hub.encoded)


def _cameras(status: LiveStatus, now: float) -> Iterator[Metric]:
    fps = GaugeMetricFamily("fusion_source_fps", "Frames per second of a source, of late.", labels=["source"])
    frames = CounterMetricFamily("fusion_frames", "Frames decoded.", labels=["source"])
    reconnects = CounterMetricFamily("fusion_reconnects", "Times a source was opened again.", labels=["source"])
    age = GaugeMetricFamily("fusion_last_frame_age_seconds", "Since a source's last frame.", labels=["source"])
    state = GaugeMetricFamily("fusion_source_state", "1 for the state a source is in.", labels=["source", "state"])
    for name, camera in status.cameras.items():
        fps.add_metric([name], camera.fps)
        frames.add_metric([name], camera.frames)
        reconnects.add_metric([name], camera.reconnects)
        age.add_metric([name], _age(camera, now))
        for each in get_args(State):
            state.add_metric([name, each], float(each == camera.state))
    yield from (fps, frames, reconnects, age, state)


def _age(camera: CameraStatus, now: float) -> float:
    """s since the last frame; without one, since the state began: an alert on it must not sleep."""
    return max(0.0, now - (camera.since if camera.last_frame is None else camera.last_frame))


def _dropped(status: LiveStatus) -> Metric:
    family = CounterMetricFamily("fusion_dropped", "Frames lost, by where and why.", labels=["source", "reason"])
    lost = {name: camera.drops for name, camera in status.cameras.items()} | {"line": status.drops}
    for source, drops in lost.items():
        for reason, count in drops.items():
            family.add_metric([source, reason], count)
    return family


def _histogram(name: str, help_text: str, tally: Tally) -> Metric:
    buckets, total = tally.buckets()
    family = HistogramMetricFamily(name, help_text)
    family.add_metric([], buckets, total)
    return family


def _stages(stages: dict[str, Tally]) -> Metric:
    family = HistogramMetricFamily("fusion_stage_seconds", "What each stage takes a frame.", labels=["stage"])
    for stage, tally in stages.items():
        buckets, total = tally.buckets()
        family.add_metric([stage], buckets, total)
    return family


def _alignment(status: LiveStatus) -> Metric:
    """Without a sample while the pictures do not tell: no number is better than an old one."""
    family = GaugeMetricFamily("fusion_alignment_residual_pixels", "What IR and VIS lie apart, of late.", labels=[])
    if status.alignment is not None:
        family.add_metric([], status.alignment["residual_px"])
    return family


def _recording(status: LiveStatus) -> Iterator[Metric]:
    recording = status.recording or {}
    running = bool(recording) and not recording.get("error")
    yield GaugeMetricFamily("fusion_recording", "1 while a recording is written.", value=float(running))
    yield GaugeMetricFamily("fusion_recording_bytes", "Written to it so far.", value=recording.get("bytes") or 0)
