"""The engines for one picture size: those of the cache that take it, else built for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engines.build import BuiltEngine, build_engines, key_of, networks, shared_scratch
from engines.cache import Tell, engine_folder, open_folder
from engines.model import ModelInfo
from engines.profile import Profile, ProfileError, Size, padded, stored_profile
from engines.record import RECIPE, SUFFIX, EngineKey, Record, StaleError, read_plan
from engines.trt import Compiler, Network, Precision


def fitting_engines(
    info: ModelInfo, size: Size, *, compiler: Compiler, precision: Precision, target: str, on_progress: Tell
) -> list[BuiltEngine]:
    """Engines that take pictures of a padded size, in the order of `build_engines`: cached, else built, for it alone.

    Of several sets in the cache, the one that needs least memory. Raises what `build_engines` does.
    """
    profile = unpadded(size, info)
    parts = networks(info, precision, profile)
    if stored := stored_engines(info, size, parts, compiler=compiler, precision=precision, target=target):
        return stored
    patience = ", which takes minutes, once" if compiler.flavour == "tensorrt" else ""
    on_progress(
        f"no engines for {profile} in the cache: building {len(parts)}{patience}; `build` makes them beforehand"
    )
    return build_engines(
        info, backend=compiler.flavour, precision=precision, profile=profile, targets=[target], compiler=compiler,
        on_progress=on_progress,
    )  # fmt: skip


def stored_engines(
    info: ModelInfo, size: Size, parts: Sequence[Network], *, compiler: Compiler, precision: Precision, target: str
) -> list[BuiltEngine]:
    """Of the sets in the cache that are whole and take a padded size, the one with least scratch; or none."""
    folder = open_folder(engine_folder())
    keys = [
        key_of(part, compiler, precision=precision, profile=str(unpadded(size, info)), batch=1, target=target)
        for part in parts
    ]
    first = keys[0]
    like = f"{first.graph}.{precision}.*.{target}.r{RECIPE}.{first.flavour}-{first.version}.{first.onnx}{SUFFIX}"
    sets = []
    for path in sorted(folder.glob(like)):
        profile, batch = path.name.split(".")[2:4]
        if _takes(profile, size, info) and batch[1:].isdigit():
            changed = {"profile": profile, "batch": int(batch[1:])}
            sets.append([_stored(key.model_copy(update=changed)) for key in keys])
    whole = [[engine for engine in engines if engine] for engines in sets if all(engines)]
    return min(whole, key=_needs, default=[])


def unpadded(size: Size, info: ModelInfo) -> Profile:
    """The largest picture size that is padded to this one: one name for all of them."""
    return Profile.fixed(*(side - 2 * info.margin for side in size))


def _takes(profile: str, size: Size, info: ModelInfo) -> bool:
    try:
        stored = stored_profile(profile)
    except ProfileError:
        return False
    low, high = padded(stored.smallest, info), padded(stored.largest, info)
    return all(a <= side <= b for a, side, b in zip(low, size, high, strict=True))


def _stored(key: EngineKey) -> BuiltEngine | None:
    path = engine_folder() / key.name
    try:
        record: Record = read_plan(path)[0]
    except StaleError:
        return None
    return BuiltEngine(path, record, False)


def _needs(engines: Sequence[BuiltEngine]) -> float:
    scratch = shared_scratch(engines)
    return math.inf if scratch is None else scratch
