"""YAML read without its traps: no `off` that turns into False, no key twice, no object made; lines for messages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.frames import InputError
from pipeline.live.login import redact

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1_000_000
"""A run is described in a few dozen lines."""
_PLAIN = {
    "bool": r"true|false",
    "int": r"[-+]?(0|[1-9]\d*)",
    "float": r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?",
    "null": r"~|null|",
}
"""What is no text without quotes. YAML 1.1 has also `off`, `no`, 10:30 (630) and 010 (8)."""


@dataclass(frozen=True, slots=True)
class Places:
    """On which line of a file each key stands."""

    lines: dict[str, int] = field(default_factory=dict)
    """By dotted key, counted from 1."""

    def of(self, key: str) -> str:
        """`:7`, of the key or of the section that it would be in; empty if neither is in the file."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f":{self.lines[key]}" if key else ""


def read_yaml(path: Path) -> tuple[dict[str, Any], Places]:
    """The mapping in a file, and where its keys are. Raises InputError, which quotes no value."""
    yaml = _yaml(path.name)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES} bytes; give the description of one run")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give a YAML file, see deploy/live.yaml"
        ) from error
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it as such") from None
    try:
        loader = _loader(yaml, text)
        node = loader.get_single_node()
        places = Places()
        _walk(yaml, node, "", places)
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path.name}{line}: not YAML: {redact(error.problem or 'unreadable')}") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise InputError(f"{path.name}: not YAML: a control character, an endless number or sections") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise InputError(f"{path.name}: not a mapping; write `ir: ADDRESS` and so on, see deploy/live.yaml")
    return data, places


def yaml_text(data: dict[str, Any]) -> str:
    """The mapping as YAML, in its order."""
    return str(_yaml("--print-config").safe_dump(data, sort_keys=False, allow_unicode=True))


def _yaml(what: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise InputError(f"{what}: needs PyYAML, which is not installed; pip install 'crotalus[live]'") from error
    return yaml


def _loader(yaml: Any, text: str) -> Any:
    """A safe loader of `text` with the plain values above."""

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # as in the class it comes from

    for tag, pattern in _PLAIN.items():
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), None)
    Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<$"), ["<"])
    return Loader(text)


def _walk(yaml: Any, node: yaml.Node | None, prefix: str, places: Places) -> None:
    """Note the lines of all keys. Raises MarkedYAMLError for a key that comes twice: YAML would take the last."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        name = prefix + str(key.value)
        if name in places.lines:
            raise yaml.MarkedYAMLError(problem=f"{name} comes twice", problem_mark=key.start_mark)
        places.lines[name] = key.start_mark.line + 1
        _walk(yaml, value, f"{name}.", places)
