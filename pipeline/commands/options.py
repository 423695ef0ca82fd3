"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from engines.base import Backend

Model = Annotated[str, typer.Option(help="auto, the name of a shipped model, or a model folder.")]
BackendOption = Annotated[Backend, typer.Option(help="Where the network runs.")]
Threads = Annotated[int, typer.Option(min=0, max=128, help="CPU threads of network and codecs, 0 for one per core.")]
