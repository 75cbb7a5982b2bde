"""Override single parameters, as `{"train.lora.rank": 8}`, with checks before anything starts."""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from umgclip.errors import ParamsError
from umgclip.params import SECTIONS, parse_sections, read_params

_SCALAR = re.compile(r'^("(?:[^"\\]|\\.)*"|\'[^\']*\'|[^\s#,\]}]+)')
_PLAIN = re.compile(r"[\w./@-]+")
_NAME = Path("overrides")  # prefix of pydantic's messages


class _Representer(RoundTripRepresenter):
    """Writes `null`, which a reader understands, where ruamel writes nothing."""


_Representer.add_representer(
    type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def overridden(path: Path, overrides: Mapping[str, Any]) -> str:
    """Return the text of `params.yaml` with other values; comments and order stay.

    Args:
        path: the parameter file.
        overrides: values by dotted key, with the types of the sections in `umgclip.params`.

    Raises:
        ParamsError: a key is unknown (names the allowed ones), or a value has a wrong type or is out of range.
    """
    parse_sections(read_params(path), path)
    text = path.read_text(encoding="utf-8")
    if not overrides:
        return text
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 4096
    yaml.preserve_quotes = True
    content = yaml.load(text)
    for key, value in overrides.items():
        _set(content, locate(key), copy.deepcopy(value))
    parse_sections(content, _NAME)
    written = io.StringIO()
    yaml.dump(content, written)
    return written.getvalue()


def edited(path: Path, overrides: Mapping[str, Any]) -> str:
    """Return the same as `overridden` for a file that stays: lines without another value remain as they are.

    Raises:
        ParamsError: as `overridden` raises it.
    """
    whole, text = overridden(path, overrides), path.read_text(encoding="utf-8")
    lines, content, safe = text.splitlines(keepends=True), YAML().load(text), YAML(typ="safe")
    for key, value in overrides.items():
        *parents, last = locate(key)
        node = content
        for part in parents:
            node = node.get(part) or {}
        if last not in node or isinstance(value, dict | list) or isinstance(node[last], dict | list):
            return whole
        line, column = node.lc.value(last)
        before, rest = lines[line][:column], lines[line][column:]
        scalar = _SCALAR.match(rest)
        if scalar is None:
            return whole
        plain = isinstance(value, str) and _PLAIN.fullmatch(value) and safe.load(value) == value
        written = value if plain else json.dumps(value, ensure_ascii=False)
        lines[line] = f"{before}{written}{rest[scalar.end() :]}"
    changed = "".join(lines)
    return changed if safe.load(changed) == safe.load(whole) else whole


def locate(key: str) -> tuple[str, ...]:
    """Return the path to a value: `train.lora.rank` gives `("train", "lora", "rank")`.

    Below a mapping with free keys, such as `register.gates.floors`, the rest is one key, dots included.

    Raises:
        ParamsError: there is no such key; names the allowed ones.
    """
    parts = key.split(".")
    fields: Mapping[str, Any] = SECTIONS
    for depth, part in enumerate(parts):
        if part not in fields:
            raise ParamsError(f"overrides: unknown key {key}; expected one of {_choices(parts[:depth], fields)}")
        kind = fields[part]
        rest = parts[depth + 1 :]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = {name: field.annotation for name, field in kind.model_fields.items()}
        elif rest and get_origin(kind) is dict:
            return (*parts[: depth + 1], ".".join(rest))
        elif rest:
            raise ParamsError(f"overrides: unknown key {key}: {'.'.join(parts[: depth + 1])} has no keys below it")
        else:
            return tuple(parts)
    raise ParamsError(f"overrides: {key} is a group of values; expected one of {_choices(parts, fields)}")


def _choices(parents: Sequence[str], fields: Mapping[str, Any]) -> str:
    return ", ".join(".".join([*parents, name]) for name in sorted(fields))


def _set(content: Any, way: Sequence[str], value: Any) -> None:  # noqa: ANN401 - YAML's mappings
    *parents, last = way
    for part in parents:
        if content.get(part) is None:
            content[part] = {}
        content = content[part]
    content[last] = value


def read_assignments(words: Sequence[str]) -> dict[str, Any]:
    """Parse assignments of a command line: `["train.lora.rank=8"]` gives `{"train.lora.rank": 8}`; values are YAML.

    Raises:
        ParamsError: there is no `=`, or no valid YAML after it.
    """
    overrides: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ParamsError(f"overrides: expected KEY=VALUE, got {word!r}")
        try:
            overrides[key] = YAML(typ="safe").load(value)
        except YAMLError as error:
            raise ParamsError(f"overrides: {key}: expected a value in YAML, got {value!r}") from error
    return overrides
