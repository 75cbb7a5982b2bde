"""What answers have to look like, and what is made of those that do."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

_FENCE = re.compile(r"^```(?:json)?\s*|\s*```$")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CaptionAnswer(_Answer):
    """A description."""

    caption: str = Field(min_length=1)


class TagsAnswer(_Answer):
    """Names; an empty list: nothing was seen."""

    tags: list[str] = Field(max_length=200)


class GroundedObject(_Answer):
    """One object and its box `x0, y0, x1, y1`."""

    label: str = Field(min_length=1)
    box: list[float] = Field(min_length=4, max_length=4)

    @field_validator("box")
    @classmethod
    def _corners_are_in_order(cls, box: list[float]) -> list[float]:
        if not (box[0] < box[2] and box[1] < box[3] and min(box) >= 0):
            raise ValueError(f"expected 0 <= x0 < x1 and 0 <= y0 < y1, got {box}")
        return box


class BoxesAnswer(_Answer):
    """Objects with their boxes; an empty list: nothing was found."""

    objects: list[GroundedObject] = Field(max_length=200)


A = TypeVar("A", bound=_Answer)
HINTS: dict[type[BaseModel], str] = {
    CaptionAnswer: '{"caption": "..."}',
    TagsAnswer: '{"tags": ["...", "..."]}',
    BoxesAnswer: '{"objects": [{"label": "...", "box": [x0, y0, x1, y1]}]}',
}


def response_format(kind: type[BaseModel]) -> dict[str, Any]:
    """OpenAI's `response_format` that allows nothing but such an answer."""
    return {
        "type": "json_schema",
        "json_schema": {"name": kind.__name__, "strict": True, "schema": kind.model_json_schema()},
    }


def parse(content: str, kind: type[A]) -> A:
    """An answer's text as the answer; a fence around the JSON is no fault.

    Raises:
        ValueError: it is no JSON, or not such; says where.
    """
    try:
        return kind.model_validate(json.loads(_FENCE.sub("", content.strip())))
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON such as {HINTS[kind]}, got {content[:80]!r}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}, got {str(first.get('input'))[:80]!r}") from error
