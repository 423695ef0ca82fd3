"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.base import Backend
from engines.classical import ClassicalMethod
from engines.trt import Precision
from pipeline.device_job import Hwaccel
from pipeline.palettes import PALETTES
from pipeline.views import View

Model = Annotated[
    str, typer.Option(help="auto (light on a CPU, full on a GPU), a shipped model's name, or a model folder.")
]
MethodOption = Annotated[
    ClassicalMethod | None,
    typer.Option(help="Instead of a model, a published formula on the CPU, the same in every run; csr is slow."),
]
BackendOption = Annotated[Backend, typer.Option(help="Where the network runs.")]
Threads = Annotated[int, typer.Option(min=0, max=128, help="Of network and codecs on the CPU, 0 for what fits it.")]
PrecisionOption = Annotated[Precision, typer.Option(help="Of the network on a GPU; on a CPU it is fp32 always.")]
SteadyOption = Annotated[
    bool | None,
    typer.Option(
        "--steady/--no-steady",
        help="Hold back gain steps of infrared and the grain of what rests.  [default: steady, for videos on the host]",
    ),
]
HwaccelOption = Annotated[Hwaccel, typer.Option(help="Whether a GPU that fuses is to decode and encode as well.")]
ViewOption = Annotated[
    View,
    typer.Option(help="fused; ir; vis; blend; pip: ir inset in vis; edges: of vis over ir; hot: warm ir over vis."),
]
PaletteOption = Annotated[
    str, typer.Option(metavar="NAME|FILE", help=f"Colours of infrared: {', '.join(PALETTES)}, or a table of 256.")
]
WeightOption = Annotated[float, typer.Option(min=0, max=1, help="Share of infrared in blend; strength in edges.")]
HotOption = Annotated[int, typer.Option(min=0, max=255, help="Luma of infrared from which hot shows it.")]
AgcOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODE",
        help="Gain of infrared: percentile, plateau or fixed:LO,HI.  [default: percentile for 16 bits, none for 8]",
    ),
]
RegionOption = Annotated[
    str | None, typer.Option(metavar="X,Y,W,H", help="What sets the gain, px or fractions.  [default: all of it]")
]
RigOption = Annotated[
    Path | None, typer.Option("--rig", metavar="FILE", help="Calibrated cameras: infrared is warped onto visible.")
]
WorkHeightOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Fuse at this height where it is less; detail of visible keeps its full size."),
]
DepthOption = Annotated[
    float | None, typer.Option(metavar="M", help="Distance at which a rig's pictures meet, m, or inf.")
]
