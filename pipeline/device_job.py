"""What of a job runs on a GPU beside the network: decoding, encoding, and why not, each on its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from engines.base import Fuser
from engines.device_picture import Onto, PictureFuser
from pipeline.device_frames import Decoder
from pipeline.encoding import AUTO, DEFAULT_CODEC, ENCODERS, FORMATS, NVENC_CODECS, SinkSettings, stored_range
from pipeline.frames import Source, StreamInfo
from pipeline.hardware import USABLE, Nvdec, nvenc
from pipeline.luma import LIMITED
from pipeline.video_source import VideoSource

if TYPE_CHECKING:
    from pipeline.job import Job

Hwaccel = Literal["auto", "off"]
"""Whether the video units of the GPU that fuses are to be used where they can be."""

CODECS = NVENC_CODECS
"""Encoders that take frames from the device's memory; the first is taken where the user names none."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the output of a job is made."""

    settings: SinkSettings
    onto: Onto | None
    """Of fused pictures that stay on the device; None: they come to the host."""
    notices: list[str]


def decoder_of(job: Job, fuser: Fuser | None) -> Decoder | None:
    """What decodes the job's videos into the memory of the fuser's device; None where that is the host's."""
    is_wanted = job.hwaccel == "auto" and isinstance(fuser, PictureFuser)
    return Nvdec() if is_wanted and _needed_on_host(job) is None else None


def plan_output(job: Job, fuser: Fuser | None, ir: Source, vis: Source, info: StreamInfo) -> Plan:
    """Where and by what the output is encoded. info: of the output.

    Without a GPU that fuses, or with `--hwaccel off`, as the settings say and without a word.
    """
    settings, is_named = job.settings, job.settings.codec != AUTO
    suffix = job.out.suffix.lower()
    if job.hwaccel == "off" or not isinstance(fuser, PictureFuser):
        return Plan(settings, None, [])
    needed = _needed_on_host(job)
    if needed is not None:
        return Plan(settings, None, [f"hwaccel: decoded and encoded on the host ({needed} is made there)"])
    detours = _decoding_detours(job, ir, vis, info)
    if suffix not in FORMATS or job.out.is_dir():
        return Plan(settings, None, _told(detours))
    codec = settings.codec if is_named else CODECS[0]
    reason = _why_not_encoded(codec, replace(settings, codec=codec), suffix, info)
    if reason is not None:
        if not is_named:
            detours.append(("the output is encoded", reason))
        return Plan(settings, None, _told(detours))
    notices = [] if is_named else [_choice(codec, settings)]
    settings = replace(settings, codec=codec)
    detour = _why_not_from_device(job, vis, info)
    if detour is not None:
        detours.append(("fused frames pass", detour))
        return Plan(settings, None, notices + _told(detours))
    onto = Onto(None if info.colour.full_range else LIMITED, is_gray=job.tint == "gray")
    return Plan(replace(settings, is_on_device=True), onto, notices + _told(detours))


def _needed_on_host(job: Job) -> str | None:
    """What of the job looks into the pictures outside the fuser; None if nothing does."""
    if job.choice.view != "fused" or job.choice.divider is not None:
        return f"the view {job.choice.view}"
    if job.geometry.rigging is not None:
        return "the rig's warp"
    if job.geometry.work_height is not None:
        return "the full size of what is fused at a smaller height"
    if job.steady:
        return "a steady picture"
    return "the gain of 8-bit infrared" if job.gain.is_for_8bit else None


def _decoding_detours(job: Job, ir: Source, vis: Source, info: StreamInfo) -> list[tuple[str, str]]:
    """What is done by way of the host before the fuser, each with its reason."""
    detours = []
    size = info.width, info.height
    for side, source in (("ir", ir), ("vis", vis)):
        if not isinstance(source, VideoSource):
            continue
        if source.why_on_host:
            detours.append((f"{side} is decoded", source.why_on_host))
        elif (source.info.width, source.info.height) != size:
            detours.append((f"{side} is scaled", f"{source.info.width}x{source.info.height} to {size[0]}x{size[1]}"))
        elif side == "ir" and job.geometry.shift != (0.0, 0.0):
            detours.append(("ir is moved", "--shift"))
    return detours


def _why_not_encoded(codec: str, settings: SinkSettings, suffix: str, info: StreamInfo) -> str | None:
    """Why the output cannot be encoded on the device by `codec`; None if it can be. Opens a session to see."""
    if codec not in CODECS:
        return f"{codec} runs there"
    encoder = ENCODERS[codec]
    if settings.pixel_format not in encoder.pixel_formats:
        return f"{codec} does not take {settings.pixel_format}"
    if encoder.crf is not None and settings.crf is not None and settings.crf not in encoder.crf:
        return f"{codec} has no quality {settings.crf}"
    if suffix == ".webm":
        return f"{suffix} does not hold it"
    sides = (side + side % 2 for side in (info.width, info.height))
    found = nvenc(codec, *sides)
    return None if found == USABLE else found


def _why_not_from_device(job: Job, vis: Source, info: StreamInfo) -> str | None:
    """Why fused pictures cannot go from the fuser to the encoder within the device's memory; None if they can."""
    if info.width % 2 or info.height % 2:
        return f"{info.width}x{info.height} has an odd side"
    is_same = (vis.info.width, vis.info.height) == (info.width, info.height)
    if job.tint != "gray" and not (isinstance(vis, VideoSource) and vis.is_on_device and is_same):
        return "that is where the colour of vis is"
    encoder, kind = ENCODERS[CODECS[0]], FORMATS[job.out.suffix.lower()]
    full = stored_range(encoder, kind, job.settings.pixel_format, info.colour)
    return None if full == info.colour.full_range else "the range of its chroma is changed"


def _choice(codec: str, settings: SinkSettings) -> str:
    quality = "" if settings.crf is None else f", --crf {settings.crf} as its {ENCODERS[codec].quality}"
    return f"encoded on the GPU by {codec}{quality}; pass --codec {DEFAULT_CODEC} for the encoder of the CPU"


def _told(detours: list[tuple[str, str]]) -> list[str]:
    """All of them in one line, those of one reason together; none if there is none."""
    by_reason: dict[str, list[str]] = {}
    for what, reason in detours:
        by_reason.setdefault(reason, []).append(what)
    told = "; ".join(f"{', '.join(what)} on the host ({reason})" for reason, what in by_reason.items())
    return [f"hwaccel: {told}"] if told else []
