"""Reading of `params.yaml` into its sections; an unknown key or a wrong type is refused by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from umgclip.errors import ParamsError
from umgclip.params import overrides
from umgclip.params.annotate import AnnotateParams
from umgclip.params.base import BaseParams
from umgclip.params.data import DataParams
from umgclip.params.evaluate import EvaluateParams
from umgclip.params.register import RegisterParams
from umgclip.params.section import Section
from umgclip.params.segment import SegmentParams
from umgclip.params.train import TrainParams
from umgclip.params.typed_yaml import parse, read_mapping
from umgclip.params.validate import ValidateParams
from umgclip.suggestions import did_you_mean

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


FILE = Path("params.yaml")
"""The parameter file that commands read unless `--params` names another."""


def read_params(path: Path, *, may_be_missing: bool = False) -> dict[str, Any]:
    """Read all of `params.yaml` as plain values, with those of `--set` in place of the file's.

    Args:
        path: the file.
        may_be_missing: outside a project, where nobody named a file, use the defaults.

    Raises:
        ParamsError: no such file, no YAML, or sections that are not known.
    """
    missing = "expected a parameter file, found none; run where params.yaml is or --params; `umgclip init` makes one"
    if may_be_missing and path == FILE and not path.exists():
        return overrides.apply({}, SECTIONS)
    content = read_mapping(path, missing, of="sections")
    for name in content:
        if name not in SECTIONS:
            raise ParamsError(
                f"{path}: unknown section {name!r}; expected one of {', '.join(SECTIONS)}"
                f"{did_you_mean(str(name), SECTIONS)}"
            )
    return overrides.apply(content, SECTIONS)


def load_section(path: Path, kind: type[S], *, may_be_missing: bool = False) -> S:
    """Read one section of `params.yaml`; all other sections are checked as well.

    Args:
        path: the file.
        kind: the section's class.
        may_be_missing: as in `read_params`.

    Raises:
        ParamsError: naming the key, what was expected and what came.
    """
    parsed = _parsed(read_params(path, may_be_missing=may_be_missing), path)
    name = next(name for name, model in SECTIONS.items() if model is kind)
    overrides.use(name)
    section = parsed[name]
    assert isinstance(section, kind)  # noqa: S101 - for the type checker
    return section


def parse_sections(content: Mapping[str, Any], path: Path) -> dict[str, Section]:
    """Validate the content of a parameter file and return its sections; messages begin with `path`.

    Raises:
        ParamsError: naming the key, what was expected and what came.
    """
    overrides.use(*SECTIONS)
    return _parsed(content, path)


def _parsed(content: Mapping[str, Any], path: Path) -> dict[str, Section]:
    given = {name: {} if content.get(name) is None else content[name] for name in SECTIONS}
    return {name: parse(model, given[name], path, name) for name, model in SECTIONS.items()}
