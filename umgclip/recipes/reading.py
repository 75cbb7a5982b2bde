"""Recipes as they are stored: facts about a run, and the parameters in which it differs from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from umgclip.errors import InputError
from umgclip.params.typed_yaml import parse, read_mapping
from umgclip.suggestions import did_you_mean

_FACTS = "recipe"


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PublishedMark(_Closed):
    """A published number: of which model, what it measures, and where it is published."""

    model: str
    mark: str
    value: float
    source: str


class Estimated(_Closed):
    """Cost that `umgclip.recipes.cost` computes from the parameters; nothing of it was measured."""

    train_gpu_hours: float
    embed_gpu_hours: float
    memory_gb: float
    segment_gpu_hours: float = 0.0


class RecipeFacts(_Closed):
    """Facts that a user should know of a recipe before running it.

    Attributes:
        title: one line.
        images: training images.
        crops: proposals of an image that the base embeds in `annotate`.
        gpus: how many the batch is meant for.
        estimate: GPU hours, and memory of one GPU.
        published: marks to stand beside.
        protocol: how they were measured.
        data: commands that import the data.
        run: commands that come after.
    """

    title: str
    images: int = Field(gt=0)
    crops: int = Field(ge=0)
    gpus: int = Field(gt=0)
    estimate: Estimated
    published: list[PublishedMark] = Field(min_length=1)
    protocol: str
    data: list[str]
    run: list[str]


@dataclass(frozen=True)
class ShippedRecipe:
    """A recipe: its name, the comment above it, its facts, and the changed parameters by section."""

    name: str
    about: str
    facts: RecipeFacts
    changes: Mapping[str, Mapping[str, Any]]


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    files = resources.files("umgclip.recipes").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load(name: str) -> ShippedRecipe:
    """Read the recipe of a name.

    Raises:
        InputError: there is no recipe of this name; lists those there are.
    """
    if name not in names():
        raise InputError(
            f"recipe: expected one of {', '.join(names())}, got {name!r}; `umgclip recipe list` shows them"
            f"{did_you_mean(name, names())}"
        )
    with resources.as_file(resources.files("umgclip.recipes") / f"{name}.yaml") as path:
        return read(path)


def read(path: Path) -> ShippedRecipe:
    """Read the file of a recipe.

    Raises:
        ParamsError: it is no YAML, or its facts lack a key.
    """
    content = read_mapping(path, "expected a recipe, found no file", of="sections")
    facts = parse(RecipeFacts, content.pop(_FACTS, {}), path, _FACTS)
    head = path.read_text(encoding="utf-8").split(f"\n{_FACTS}:", 1)[0]
    about = "\n".join(line.removeprefix("# ") for line in head.splitlines() if line.startswith("#"))
    return ShippedRecipe(path.stem, about, facts, content)
