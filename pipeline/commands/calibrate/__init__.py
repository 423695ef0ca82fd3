"""The commands `calibrate ...`: from recordings of two cameras to a rig, and how good it is."""

from __future__ import annotations

import typer

from pipeline.commands.calibrate.board import board
from pipeline.commands.calibrate.check import check
from pipeline.commands.calibrate.clock import clock
from pipeline.commands.calibrate.report import report
from pipeline.commands.calibrate.scene import scene
from pipeline.commands.calibrate.target import target

app = typer.Typer(no_args_is_help=True, help="From recordings of both cameras to a rig that fuse and live apply.")
app.command()(target)
app.command()(board)
app.command()(scene)
app.command()(clock)
app.command()(check)
app.command()(report)
