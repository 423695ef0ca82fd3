"""The command `live`: two cameras in, one fused stream out, until somebody ends it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from engines.base import Backend
from engines.classical import ClassicalMethod
from pipeline.align import Reference
from pipeline.commands.options import DepthOption, WorkHeightOption
from pipeline.live.loss import OnLoss
from pipeline.live.match import Side
from pipeline.live.status import View
from pipeline.voice import Voice

Text = str | None
Number = float | None


def live(
    ir: Annotated[Text, typer.Option(metavar="URL", help="Infrared: rtsp:// http:// udp:// tcp:// v4l2: file:")] = None,
    vis: Annotated[Text, typer.Option(metavar="URL", help="Visible: the same.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="live.yaml", help="All of this in a file.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print that file, complete, and end.")] = False,
    record: Annotated[Text, typer.Option(metavar="OUT", help="Record into this .mp4, .mkv or .ts.")] = None,
    segment: Annotated[Text, typer.Option(metavar="TIME", help="A new file every 10m, 1h, ...")] = None,
    keep_age: Annotated[Text, typer.Option(metavar="TIME", help="Delete segments older than this.")] = None,
    keep_bytes: Annotated[Text, typer.Option(metavar="SIZE", help="Delete the oldest beyond 20G, ...")] = None,
    min_free: Annotated[Text, typer.Option(metavar="SIZE", help="Of the disk, never used.  [default: 512M]")] = None,
    preview: Annotated[
        Text, typer.Option(metavar="HOST:PORT|off", help="Where the page is.  [default: 127.0.0.1:8080]")
    ] = None,
    preview_token: Annotated[Text, typer.Option(help="Of the page.  [default: a new one, where one is needed]")] = None,
    preview_host: Annotated[list[str] | None, typer.Option(help="Another name of the page; repeatable.")] = None,
    on_loss: Annotated[OnLoss | None, typer.Option(help="What is shown for a lost camera.  [default: hold]")] = None,
    master: Annotated[Side | None, typer.Option(help="Whose frames pace the output.  [default: vis]")] = None,
    offset: Annotated[Number, typer.Option(help="s added to infrared times.  [default: the rig's, or 0]")] = None,
    tolerance: Annotated[
        Text, typer.Option(metavar="TIME", help="Largest distance of a pair.  [default: half a period of the slower]")
    ] = None,
    age_limit: Annotated[
        Text, typer.Option(metavar="TIME", help="A frame is held at most.  [default: 2 periods, at least 0.5 s]")
    ] = None,
    model: Annotated[Text, typer.Option(help="auto, the name of a shipped model, or a model folder.")] = None,
    backend: Annotated[Backend | None, typer.Option(help="Where the network runs.  [default: auto]")] = None,
    method: Annotated[ClassicalMethod | None, typer.Option(help="A formula on the CPU instead of a model.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of network and encoder, 0: one per core.")] = None,
    reference: Annotated[
        Reference | None, typer.Option(help="Whose grid the output has.  [default: the rig's, or vis]")
    ] = None,
    size: Annotated[Text, typer.Option(metavar="WxH", help="Output size.  [default: the reference's]")] = None,
    rig: Annotated[
        Text, typer.Option(metavar="FILE", help="Calibrated cameras: infrared is warped onto visible.")
    ] = None,
    depth: DepthOption = None,
    work_height: WorkHeightOption = None,
    shift: Annotated[Text, typer.Option(metavar="X,Y", help="px to move infrared right and down.")] = None,
    view: Annotated[View | None, typer.Option(help="What is shown first; the page changes it.")] = None,
    palette: Annotated[Text, typer.Option(help="Of infrared: white hot, ironbow, ..., or a file.")] = None,
    agc: Annotated[Text, typer.Option(help="Thermal gain: percentile, plateau or fixed:LO,HI.")] = None,
    agc_region: Annotated[Text, typer.Option(metavar="X,Y,W,H", help="Part of infrared that sets it.")] = None,
    overlay: Annotated[bool | None, typer.Option(help="Time, rate and latency in the picture.")] = None,
    steady: Annotated[
        bool | None, typer.Option(help="Hold back gain steps of infrared and the grain of what rests.")
    ] = None,
    codec: Annotated[Text, typer.Option(help="Of the recording.  [default: libx264]")] = None,
    crf: Annotated[int | None, typer.Option(help="Quality of the recording, lower is better.")] = None,
    preset: Annotated[Text, typer.Option(help="Encoder speed.  [default: veryfast]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing recording.")] = False,
    duration: Annotated[Text, typer.Option(metavar="TIME", help="End after this time.")] = None,
    stats: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write times and counts here.")] = None,
) -> None:
    """Fuse two live cameras into one stream, to watch on a page and to record, whatever happens to either camera."""
    from pipeline.live.config import LiveConfig, config_text, load_config, with_options

    options: dict[str, Any] = {
        "ir": ir, "vis": vis, "duration": duration,
        "network.model": model, "network.backend": backend, "network.method": method, "network.threads": threads,
        "pairing.master": master, "pairing.offset": offset, "pairing.tolerance": tolerance,
        "pairing.age_limit": age_limit, "pairing.on_loss": on_loss,
        "geometry.reference": reference, "geometry.size": size, "geometry.shift": shift,
        "geometry.rig": rig, "geometry.depth": depth, "geometry.work_height": work_height,
        "picture.view": view, "picture.palette": palette, "picture.agc": agc, "picture.region": agc_region,
        "picture.overlay": overlay, "picture.steady": steady,
        "record.path": record, "record.segment": segment, "record.keep_age": keep_age,
        "record.keep_bytes": keep_bytes, "record.min_free": min_free, "record.codec": codec, "record.crf": crf,
        "record.preset": preset,
        "preview.address": preview, "preview.token": preview_token, "preview.hosts": preview_host or None,
    }  # fmt: skip
    base = load_config(config) if config else LiveConfig()
    wanted = with_options(base, {key: value for key, value in options.items() if value is not None})
    if print_config:
        Voice().print(config_text(wanted).rstrip())
        return
    from pipeline.live.session import Session

    session = Session(wanted, stats, may_replace=overwrite)
    code = session.run()
    if session.is_left_behind:  # at work in native code, which nothing but the end of the process ends
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)
