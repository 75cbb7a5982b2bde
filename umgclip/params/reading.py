"""`params.yaml` as its sections: an unknown key or a wrong type ends with its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.errors import ParamsError
from umgclip.params.annotate import AnnotateParams
from umgclip.params.base import BaseParams
from umgclip.params.data import DataParams
from umgclip.params.evaluate import EvaluateParams
from umgclip.params.register import RegisterParams
from umgclip.params.train import TrainParams
from umgclip.params.validate import ValidateParams
from umgclip.section import Section
from umgclip.segment_params import SegmentParams

SECTIONS: dict[str, type[Section]] = {
    "data": DataParams,
    "base": BaseParams,
    "annotate": AnnotateParams,
    "validate": ValidateParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "register": RegisterParams,
    "segment": SegmentParams,
}


S = TypeVar("S", bound=Section)


def read_params(path: Path) -> dict[str, Any]:
    """All of `params.yaml` as plain values.

    Raises:
        ParamsError: no such file, no YAML, or sections that are not known.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: expected a parameter file, found none; run from the repository's root or --params")
    try:
        with path.open(encoding="utf-8") as handle:
            content = YAML(typ="safe").load(handle)
    except YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, got {type(content).__name__}")
    for name in content:
        if name not in SECTIONS:
            raise ParamsError(f"{path}: unknown section {name!r}; expected one of {', '.join(SECTIONS)}")
    return content


def load_section(path: Path, kind: type[S]) -> S:
    """One section of `params.yaml`; every other section is checked too.

    Raises:
        ParamsError: naming the key, what was expected and what came.
    """
    parsed = parse_sections(read_params(path), path)
    section = parsed[next(name for name, model in SECTIONS.items() if model is kind)]
    assert isinstance(section, kind)  # noqa: S101 - for the type checker
    return section


def parse_sections(content: Mapping[str, Any], path: Path) -> dict[str, Section]:
    """Every section of what a parameter file holds; `path` stands before the messages.

    Raises:
        ParamsError: naming the key, what was expected and what came.
    """
    return {name: _parse(path, name, model, content.get(name)) for name, model in SECTIONS.items()}


def _parse(path: Path, name: str, model: type[Section], value: Any) -> Section:  # noqa: ANN401 - what YAML held
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise ParamsError("\n".join(_explain(path, name, model, e) for e in error.errors())) from error


def _explain(path: Path, name: str, model: type[BaseModel], error: Any) -> str:  # noqa: ANN401 - pydantic's dict
    where = ".".join([name, *(str(part) for part in error["loc"])])
    if error["type"] == "extra_forbidden":
        owner: Any = model
        for part in error["loc"][:-1]:
            owner = owner.model_fields[part].annotation if hasattr(owner, "model_fields") else None
        allowed = ", ".join(sorted(owner.model_fields)) if hasattr(owner, "model_fields") else "?"
        return f"{path}: unknown key {where}; expected one of {allowed}"
    return f"{path}: {where}: {error['msg']}, got {error['input']!r}"
