"""YAML files as typed models; messages name the file, the dotted key and what is allowed there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.errors import ParamsError
from umgclip.params import overrides
from umgclip.suggestions import did_you_mean

M = TypeVar("M", bound=BaseModel)


def read_mapping(path: Path, missing: str, of: str) -> dict[str, Any]:
    """Read a YAML file as plain values.

    Args:
        path: the file.
        missing: the message if there is no such file.
        of: the things that the file maps, for messages.

    Raises:
        ParamsError: there is no such file, or it is not YAML, or not a mapping.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: {missing}")
    try:
        with path.open(encoding="utf-8") as handle:
            content = YAML(typ="safe").load(handle)
    except YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected a mapping of {of}, got {type(content).__name__}")
    return content


def parse(model: type[M], content: Any, path: Path, *under: str) -> M:  # noqa: ANN401 - what YAML held
    """Validate values as a model; messages begin with `path` and the keys `under` which the values are.

    Raises:
        ParamsError: an unknown key, with the allowed ones, or a wrong value; one line each.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ParamsError("\n".join(_explain(model, path, under, one) for one in error.errors())) from error


def _explain(model: type[BaseModel], path: Path, under: tuple[str, ...], error: Any) -> str:  # noqa: ANN401 - a dict
    where = ".".join([*under, *(str(part) for part in error["loc"])])
    speaker = overrides.origin(where, path) if under else str(path)
    if error["type"] != "extra_forbidden":
        return f"{speaker}: {where}: {error['msg']}, got {error['input']!r}{_nearest_value(error)}"
    names = sorted({name for owner in _owners(model, error["loc"][:-1]) for name in owner.model_fields})
    hint = did_you_mean(str(error["loc"][-1]), names)
    return f"{speaker}: unknown key {where}; expected one of {', '.join(names) or '?'}{hint}"


def _owners(model: type[BaseModel], loc: tuple[Any, ...]) -> list[type[BaseModel]]:
    """Return the models that the value at a place in a file may be; of a union, the one with the tag that it has."""
    owners = [model]
    for part in loc:
        fields = [owner.model_fields[part].annotation for owner in owners if part in owner.model_fields]
        if fields:
            owners = [inner for kind in fields for inner in overrides.models_of(kind)]
        else:  # a position in a list, a name in a mapping, or the tag of a union
            tagged = [owner for owner in owners if any(_default(owner, name) == part for name in owner.model_fields)]
            owners = tagged or owners
    return owners


def _default(model: type[BaseModel], name: str) -> Any:  # noqa: ANN401 - any value
    return model.model_fields[name].default


def _nearest_value(error: Any) -> str:  # noqa: ANN401 - a dict
    """Return a suggestion for a value that is none of those listed."""
    listed = error.get("ctx", {}).get("expected", error.get("ctx", {}).get("expected_tags", ""))
    value = error["input"]
    if error["type"] == "union_tag_invalid":
        value = error.get("ctx", {}).get("tag", value)
    if not isinstance(value, str) or not isinstance(listed, str):
        return ""
    return did_you_mean(value, re.findall(r"'([^']*)'", listed))
