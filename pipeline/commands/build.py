"""The command `build`: engines for NVIDIA GPUs into the user's cache."""

from __future__ import annotations

from typing import Annotated

import typer

from engines.trt import EngineBackend, Precision
from pipeline.voice import Voice


def build(
    model: Annotated[
        str, typer.Argument(help="auto (the full one), the name of a shipped model, or a model folder.")
    ] = "auto",
    backend: Annotated[
        EngineBackend, typer.Option(help="tensorrt builds for the GPU here, rtx for others, too.")
    ] = "tensorrt",
    precision: Annotated[Precision, typer.Option(help="Of features and weights.")] = "fp16",
    size: Annotated[
        list[str] | None,
        typer.Option(metavar="WxH", help="Repeatable; or smallest/typical/largest for a range.  [default: 640x480]"),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Largest number of pictures at once.")] = 1,
    target: Annotated[
        list[str] | None, typer.Option(metavar="sm_XX", help="Repeatable: GPUs to build for.  [default: the one here]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build anew what is there.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only list the engines in the cache.")] = False,
    clear: Annotated[bool, typer.Option("--prune", help="Only remove those that will not be used again.")] = False,
) -> None:
    """Build the engines of a model for NVIDIA GPUs into the user's cache, where `fuse` finds them."""
    from engines import build as engine_build
    from engines import inventory
    from engines.cache import engine_folder
    from engines.model import load_model
    from engines.profile import parse_profile

    voice = Voice()
    voice.print(f"engines are in {engine_folder()}")
    if clear:
        voice.print(f"{len(inventory.prune(on_progress=voice.print))} files removed")
    if show:
        voice.print("\n".join(map(str, inventory.list_engines())) or "none")
    if show or clear:
        return
    info = load_model(model)
    for profile in [parse_profile(text) for text in size or ["640x480"]]:
        for engine in engine_build.build_engines(
            info, backend=backend, precision=precision, profile=profile, batch=batch, targets=target or (),
            force=force, on_progress=voice.print,
        ):  # fmt: skip
            voice.print(str(engine))
