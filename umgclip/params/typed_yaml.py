"""YAML files as typed models; messages name the file, the dotted key and what is allowed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.errors import ParamsError

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
    if error["type"] != "extra_forbidden":
        return f"{path}: {where}: {error['msg']}, got {error['input']!r}"
    owner: Any = model
    for part in error["loc"][:-1]:
        if hasattr(owner, "model_fields"):
            owner = owner.model_fields[part].annotation
        else:  # a mapping of models by names that users choose, or a list of models
            owner = get_args(owner)[-1] if get_origin(owner) in (dict, list) else None
    allowed = ", ".join(sorted(owner.model_fields)) if hasattr(owner, "model_fields") else "?"
    return f"{path}: unknown key {where}; expected one of {allowed}"
