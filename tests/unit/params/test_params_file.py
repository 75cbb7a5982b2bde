"""The `params.yaml` that is shipped: every key written out, every value allowed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from umgclip.params import SECTIONS, AnnotateParams, load_section, read_params
from umgclip.sources.demo.classes import things

PARAMS = Path(__file__).parents[3] / "params.yaml"


def keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def has(content: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(content, dict) or part not in content:
            return False
        content = content[part]
    return True


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_loads(name):
    assert isinstance(load_section(PARAMS, SECTIONS[name]), SECTIONS[name])


def test_every_key_is_written_out():
    content = read_params(PARAMS)
    wanted = [key for name, model in SECTIONS.items() for key in keys(model, f"{name}.")]
    assert [key for key in wanted if not has(content, key)] == []


def test_the_held_out_classes_of_the_demo_are_held_out():
    held_out = [thing.name for thing in things() if thing.held_out]
    assert len(held_out) == 29
    assert load_section(PARAMS, AnnotateParams).held_out == held_out
