"""The form of valid answers, and the values that are read from them.

An unusable part (a box with crossed corners, a tag that is not a text) is left out and recorded with the reason. An
answer without any usable part is not an answer.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from umgclip.annotate.models.vlm.reading import Candidate, candidates

_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
_CORNERS = (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
_LONGEST_NAME = 200  # characters


class NoAnswerError(ValueError):
    """An unusable answer; `reason` is the word under which it is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Caption(_Schema):
    caption: str = Field(min_length=1)


class _Tags(_Schema):
    tags: list[str] = Field(max_length=200)


class _Negatives(_Schema):
    negatives: list[str] = Field(max_length=200)


class _Object(_Schema):
    label: str = Field(min_length=1)
    box: list[float] = Field(min_length=4, max_length=4)


class _Boxes(_Schema):
    objects: list[_Object] = Field(max_length=200)


@dataclass(frozen=True)
class Bad:
    """An unusable part of an answer, with the reason."""

    detail: str
    label: str | None = None


@dataclass(frozen=True)
class CaptionAnswer:
    """A description of the image in words."""

    schema: ClassVar[type[BaseModel]] = _Caption
    hint: ClassVar[str] = '{"caption": "..."}'
    caption: str

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is said in words."""
        return (self.caption,)

    @classmethod
    def read(cls, one: Candidate) -> CaptionAnswer:
        """Read `{"caption": TEXT}`, alone or as the only item of a list."""
        value = one.value
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        return cls(_text(_get(value, "caption"), "caption"))


@dataclass(frozen=True)
class TagsAnswer:
    """Names of what is visible; empty if the model saw nothing."""

    schema: ClassVar[type[BaseModel]] = _Tags
    hint: ClassVar[str] = '{"tags": ["...", "..."]}'
    tags: tuple[str, ...]
    bad: tuple[Bad, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is said in words."""
        return self.tags

    @classmethod
    def read(cls, one: Candidate) -> TagsAnswer:
        """Read `{"tags": [NAME, ...]}`, or the list alone; blank names are skipped."""
        items = _items(one, "tags")
        good, bad = _sorted_out([item for item in items if not _blank(item)], lambda item: _text(item, "tag"))
        return cls(tuple(dict.fromkeys(good)), bad)


@dataclass(frozen=True)
class NegativesAnswer:
    """Texts that are nearly right; an answer without any is not one."""

    schema: ClassVar[type[BaseModel]] = _Negatives
    hint: ClassVar[str] = '{"negatives": ["...", "..."]}'
    negatives: tuple[str, ...]
    bad: tuple[Bad, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is said in words."""
        return self.negatives

    @classmethod
    def read(cls, one: Candidate) -> NegativesAnswer:
        """Read `{"negatives": [TEXT, ...]}`, or the list alone; blank texts are skipped.

        Raises:
            NoAnswerError: there is no text.
        """
        items = [item for item in _items(one, "negatives") if not _blank(item)]
        good, bad = _sorted_out(items, lambda item: _text(item, "negative"))
        if not good:
            raise NoAnswerError("invalid_answer", "negatives: expected some texts, got none")
        return cls(tuple(dict.fromkeys(good)), bad)


@dataclass(frozen=True)
class GroundedObject:
    """One object and its box `x0, y0, x1, y1`, in order and finite, in the answer's own unit."""

    label: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class BoxesAnswer:
    """Objects with their boxes; empty if the model located nothing."""

    schema: ClassVar[type[BaseModel]] = _Boxes
    hint: ClassVar[str] = '{"objects": [{"label": "...", "box": [x0, y0, x1, y1]}]}'
    objects: tuple[GroundedObject, ...]
    bad: tuple[Bad, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is said in words."""
        return tuple(one.label for one in self.objects)

    @classmethod
    def read(cls, one: Candidate) -> BoxesAnswer:
        """Read `{"objects": [{"label": NAME, "box": [X0, Y0, X1, Y1]}, ...]}`, or the list alone."""
        good, bad = _sorted_out(_items(one, "objects"), _object)
        return cls(tuple(good), bad)


A = TypeVar("A", CaptionAnswer, TagsAnswer, NegativesAnswer, BoxesAnswer)
T = TypeVar("T")


def response_format(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - one of the answers
    """Return the `response_format` of OpenAI's API that allows only such an answer."""
    return {
        "type": "json_schema",
        "json_schema": {"name": kind.__name__, "strict": True, "schema": kind.schema.model_json_schema()},
    }


def parse(content: Any, kind: type[A]) -> A:  # noqa: ANN401 - what a server sends
    """Read an answer from the content of a message.

    Args:
        content: of the message: a text, parts of a text, or an object.
        kind: the class of the answer.

    Raises:
        NoAnswerError: the content holds no JSON, or none of this form; the message says where.
    """
    fault = None
    for one in candidates(content):
        try:
            return kind.read(one)
        except NoAnswerError as error:
            fault = fault or error
    if fault is not None:
        raise fault
    raise NoAnswerError("invalid_answer", f"expected JSON such as {kind.hint}, got {shown(content)}")


def shown(value: Any) -> str:  # noqa: ANN401 - anything that came
    """Return the beginning of a value for messages, without characters that a file cannot hold."""
    return repr(value if isinstance(value, str) else str(value))[:100]


def _get(value: Any, key: str) -> Any:  # noqa: ANN401
    if not isinstance(value, Mapping) or key not in value:
        raise NoAnswerError("invalid_answer", f"{key}: expected a field of that name, got {shown(value)}")
    return value[key]


def _items(one: Candidate, key: str) -> list[Any]:
    """Return the list under a key, or the value itself if it is a list and the whole answer."""
    value = one.value
    items = value if isinstance(value, list) and one.is_whole else _get(value, key)
    if not isinstance(items, list) or len(items) > 200:
        got = f"{len(items)} items" if isinstance(items, list) else shown(items)
        raise NoAnswerError("invalid_answer", f"{key}: expected a list of at most 200, got {got}")
    return items


def _sorted_out(items: Sequence[Any], read: Callable[[Any], T]) -> tuple[list[T], tuple[Bad, ...]]:
    """Split the items into those that can be read and the others, with the reason."""
    good, bad = [], []
    for item in items:
        try:
            good.append(read(item))
        except NoAnswerError as error:
            label = item.get("label") if isinstance(item, Mapping) else None
            bad.append(Bad(str(error), label if isinstance(label, str) and label.isprintable() else None))
    if bad and not good:
        raise NoAnswerError("bad_parts", f"none of {len(bad)} is of use: {bad[0].detail}")
    return good, tuple(bad)


def _blank(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) and not value.strip()


def _text(value: Any, name: str) -> str:  # noqa: ANN401
    """Return a text on one line without control characters."""
    if not isinstance(value, str):
        raise NoAnswerError("invalid_answer", f"{name}: expected a text, got {shown(value)}")
    if any(unicodedata.category(letter) == "Cs" for letter in value):
        raise NoAnswerError("invalid_answer", f"{name}: expected Unicode text, got half a character in {shown(value)}")
    plain = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in value)
    plain = " ".join(plain.split())
    if not plain:
        raise NoAnswerError("invalid_answer", f"{name}: expected some words, got {shown(value)}")
    if name not in ("caption", "negative") and len(plain) > _LONGEST_NAME:
        raise NoAnswerError("invalid_answer", f"{name}: expected a name, got {len(plain)} characters")
    return plain


def _object(value: Any) -> GroundedObject:  # noqa: ANN401
    if not isinstance(value, Mapping):
        raise NoAnswerError("invalid_answer", f"objects: expected an object, got {shown(value)}")
    label = _text(value.get("label"), "label")
    box = _numbers(value["box"] if "box" in value else value.get("bbox_2d"))
    x0, y0, x1, y1 = box
    if not (x0 < x1 and y0 < y1):
        raise NoAnswerError("invalid_answer", f"box: expected x0 < x1 and y0 < y1, got {list(box)}")
    return GroundedObject(label, box)


def _numbers(value: Any) -> tuple[float, float, float, float]:  # noqa: ANN401
    """Read four finite numbers from a list, two corners, a text, or named corners."""
    given = value
    if isinstance(value, str):
        value = _NUMBER.findall(value) if re.fullmatch(r"[\s\d.,;()\[\]eE+-]*", value) else []
    elif isinstance(value, Mapping):
        value = next(([value[k] for k in keys] for keys in _CORNERS if set(keys) == set(value)), [])
    elif isinstance(value, list) and len(value) == 2 and all(isinstance(v, list) and len(v) == 2 for v in value):
        value = [*value[0], *value[1]]
    numbers = [_number(v) for v in value] if isinstance(value, list) and len(value) == 4 else []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise NoAnswerError("invalid_answer", f"box: expected four finite numbers x0, y0, x1, y1, got {shown(given)}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _number(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
