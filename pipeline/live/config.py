"""A live run in one file, `live.yaml`: every key checked, a wrong one named with its line, path and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from engines.base import Backend
from engines.classical import ClassicalMethod
from pipeline.align import Reference
from pipeline.arguments import parse_bytes, parse_duration, parse_shift, parse_size
from pipeline.encoding import SinkSettings
from pipeline.frames import InputError
from pipeline.live.address import parse_address
from pipeline.live.login import HIDDEN, redact
from pipeline.live.loss import OnLoss
from pipeline.live.match import Side
from pipeline.live.status import View
from pipeline.live.yaml_file import read_yaml, yaml_text
from pipeline.palettes import palette as parse_palette
from pipeline.preview.bind import parse_bind
from pipeline.preview.guard import MIN_TOKEN
from pipeline.thermal import parse_gain, parse_region
from pipeline.work_height import check_work_height

SECRET = {"ir", "vis", "preview.token"}
"""Keys whose values are never quoted."""
OPTION_NAMES = {"preview.address": "--preview", "preview.token": "--preview-token", "preview.hosts": "--preview-host",
                "record.path": "--record", "picture.region": "--agc-region"}  # fmt: skip
"""Options of the command line that are not called like the last part of their key."""
DEFAULT_PREVIEW = "127.0.0.1:8080"
_WORDS = {
    "int_type": "give a whole number", "float_type": "give a number", "bool_type": "give true or false",
    "string_type": "give a text; one that looks like a number in quotes", "list_type": "give a list, [a, b]",
    "greater_than": "give more than {gt}", "greater_than_equal": "give {ge} or more", "missing": "give two numbers",
    "less_than_equal": "give {le} or less", "string_too_short": "give {min_length} characters or more",
    "finite_number": "give a number", "model_type": "give keys and values",
    "tuple_type": "give two numbers", "too_long": "give two numbers",
}  # fmt: skip
"""What to do, by pydantic's type of error; its own words are for programmers."""


def _checked(check: Any) -> AfterValidator:
    """Runs a text through the parser of the command line, keeps it as it is."""

    def run(text: Any) -> Any:
        if text is not None:
            check(text)
        return text

    return AfterValidator(run)


def _short_for(key: str) -> BeforeValidator:
    """A section written as one text means this key; one with nothing in it is as if left out."""

    def run(value: Any) -> Any:
        return {} if value is None else {key: value} if isinstance(value, str) else value

    return BeforeValidator(run)


def _number_or(parse: Any) -> BeforeValidator:
    """Takes a number as it is and a text through a parser."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _point(value: Any) -> Any:
    return parse_shift(value) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Source = Annotated[str | None, _checked(parse_address)]
Seconds = Annotated[float, _number_or(parse_duration), Field(gt=0)]
Bytes = Annotated[int, _number_or(parse_bytes), Field(gt=0)]
Point = Annotated[tuple[float, float], BeforeValidator(_point)]
Size = Annotated[str | None, _checked(parse_size)]


class _Section(BaseModel):
    """A part of the file."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NetworkSection(_Section):
    """What fuses, see `chosen.open_chosen`."""

    model: str = "auto"
    backend: Backend = "auto"
    method: ClassicalMethod | None = None
    threads: int = Field(0, ge=0, le=128)


class PairingSection(_Section):
    """Which frames belong together, see `live.pairing.Pairing`, and what to do without one camera."""

    master: Side = "vis"
    offset: float | None = None
    """s added to infrared times; None: the rig's, or 0."""
    tolerance: Seconds | None = None
    age_limit: Seconds | None = None
    on_loss: OnLoss = "hold"


class GeometrySection(_Section):
    """How the pictures are laid over each other, see `align.Geometry`."""

    reference: Reference | None = None
    """Whose grid the output has; None: the rig's, or vis."""
    size: Size = None
    shift: Point = (0.0, 0.0)
    rig: str | None = None
    depth: Annotated[float, Field(gt=0, allow_inf_nan=True)] | None = None
    """m, see `rigging.Rigging`; `.inf` is far away."""
    work_height: Annotated[int | None, _checked(check_work_height)] = None


class PictureSection(_Section):
    """What the controls begin with, see `live.status.Controls`."""

    view: View = "fused"
    palette: Annotated[str, _checked(parse_palette)] = "white hot"
    agc: Annotated[str, _checked(parse_gain)] = "percentile"
    region: Annotated[str | None, _checked(parse_region)] = None
    nudge: Point = (0.0, 0.0)
    weight: float = Field(0.5, ge=0, le=1)
    hot_level: int = Field(200, ge=0, le=255)
    overlay: bool = False
    steady: bool = True


class RecordSection(_Section):
    """Where and how to record, see `live.reel.RecordSettings`."""

    path: str | None = None
    segment: Seconds | None = None
    keep_age: Seconds | None = None
    keep_bytes: Bytes | None = None
    min_free: Bytes | None = None
    codec: str = SinkSettings().codec
    crf: int | None = SinkSettings().crf
    preset: str | None = SinkSettings().preset


class PreviewSection(_Section):
    """The page, see `preview.server.open_preview`."""

    address: Annotated[str, _checked(parse_bind)] = DEFAULT_PREVIEW
    token: str | None = Field(None, min_length=MIN_TOKEN, repr=False)
    viewers: int = Field(16, ge=1, le=100)
    hosts: list[str] = []


class LiveConfig(_Section):
    """A whole live run. Its repr holds no login and no token."""

    ir: Source = Field(None, repr=False)
    vis: Source = Field(None, repr=False)
    duration: Seconds | None = None
    network: Annotated[NetworkSection, _short_for("model")] = NetworkSection()
    pairing: Annotated[PairingSection, _short_for("master")] = PairingSection()
    geometry: Annotated[GeometrySection, _short_for("rig")] = GeometrySection()
    picture: Annotated[PictureSection, _short_for("view")] = PictureSection()
    record: Annotated[RecordSection, _short_for("path")] = RecordSection()
    preview: Annotated[PreviewSection, _short_for("address")] = PreviewSection()


def load_config(path: Path) -> LiveConfig:
    """The run that a YAML file describes. Raises InputError: `live.yaml:7: pairing.on_los: not a key; use ...`."""
    data, places = read_yaml(path)
    return _validated(data, lambda key: f"{path.name}{places.of(key)}: {key}")


def with_options(config: LiveConfig, options: dict[str, Any]) -> LiveConfig:
    """A run changed by options of the command line: values by dotted key, only those given. Raises InputError."""
    data = config.model_dump(exclude_unset=True)
    for key, value in options.items():
        *sections, name = key.split(".")
        place = data
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return _validated(data, lambda key: OPTION_NAMES.get(key, f"--{key.rsplit('.', 1)[-1].replace('_', '-')}"))


def config_text(config: LiveConfig) -> str:
    """The whole run as a YAML file, defaults and all; logins and the token are replaced by `***`."""
    data = config.model_dump(mode="json")
    data |= {name: data[name] and redact(data[name]) for name in ("ir", "vis")}
    data["preview"]["token"] = data["preview"]["token"] and HIDDEN
    return yaml_text(data)


def _validated(data: Any, name_of: Callable[[str], str]) -> LiveConfig:
    """name_of: what messages call a dotted key."""
    try:
        return LiveConfig.model_validate(data)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        key = " ".join(redact(".".join(map(str, first["loc"]))).split())
        more = f" ({len(others)} more like it)" if others else ""
        raise InputError(f"{name_of(key)}{_complaint(key, first)}{more}") from None  # pydantic's own quotes secrets


def _complaint(key: str, error: Any) -> str:
    """What is wrong with a value, and what is allowed, after its name."""
    context, kind = error.get("ctx", {}), error["type"]
    if kind == "extra_forbidden":
        section, _, name = key.rpartition(".")
        allowed = list(_section(section).model_fields)
        near = get_close_matches(name, allowed, 1)
        return f": not a key; {f'did you mean {near[0]}? ' if near else ''}use {', '.join(allowed)}"
    given = "" if key in SECRET or not isinstance(error["input"], (str, int, float)) else f" {error['input']!r}"
    if kind == "value_error":  # of our parsers: `--size 3: give ...`, after a name that is not this one
        text = redact(str(context["error"]))
        return f"{given[:60]}: {text.partition(': ')[2] or text}"
    if kind == "literal_error":
        return f"{given}: use {context['expected'].replace(chr(39), '')}"
    return f"{given}: {_WORDS.get(kind, error['msg']).format_map(context)}"


def _section(key: str) -> type[_Section]:
    """The class of a section by its dotted key; the whole for an empty one."""
    return type(getattr(LiveConfig(), key)) if key else LiveConfig
