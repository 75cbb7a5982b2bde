"""The grammar `json`: `{"objects": [{"label": NAME, "box": [X0, Y0, X1, Y1]}, ...]}`, which servers can enforce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from umgclip.annotate.models.vlm.answers import Bad, NoAnswerError, items, shown
from umgclip.annotate.models.vlm.boxes import MOST_OBJECTS, BoxesAnswer, GroundedObject, box_of, boxes_answer, label_of
from umgclip.annotate.models.vlm.forms import parse
from umgclip.annotate.models.vlm.grammars.grammar import BoxGrammar
from umgclip.annotate.models.vlm.nothing import says_none
from umgclip.annotate.models.vlm.positions import Path, Span, inner, value_spans
from umgclip.annotate.models.vlm.reading import Candidate, answer_text, candidates, without_drafts
from umgclip.annotate.proposal import Box
from umgclip.params.vlm import BoxUnit


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Object(_Strict):
    label: str = Field(min_length=1)
    box: list[float] = Field(min_length=4, max_length=4)


class _Objects(_Strict):
    objects: list[_Object] = Field(max_length=MOST_OBJECTS)


@dataclass(frozen=True)
class JsonItem:
    """One item of a JSON list of objects, with its path in the answer and the spans of all values there."""

    value: Any
    path: Path = ()
    spans: Mapping[Path, Span] | None = None


class JsonBoxes:
    """The form of answers in the grammar `json`, as `forms.parse` takes it."""

    hint: ClassVar[str] = '{"objects": [{"label": "...", "box": [x0, y0, x1, y1]}]}'

    @classmethod
    def read(cls, one: Candidate) -> BoxesAnswer:
        """Read the objects, or the list of them alone."""
        return read_items(listed_items(one), one.text, ("box", "bbox_2d"), needs_label=True)


def listed_items(one: Candidate) -> list[JsonItem]:
    """Return the objects of an answer, under the key `objects` or as the list alone.

    Raises:
        NoAnswerError: there is no list, or it has more than 200 items.
    """
    prefix: Path = () if isinstance(one.value, list) and one.is_whole else ("objects",)
    spans = value_spans(one.text, one.start) if one.text else {}
    return [JsonItem(value, (*prefix, row), spans) for row, value in enumerate(items(one, "objects"))]


def joined_items(values: Sequence[Candidate]) -> list[JsonItem]:
    """Return the objects of all lists of an answer that is several lists among words; none if it is not.

    Drafts are left out, and so are lists without objects. An object that an earlier list has as well counts once.

    Args:
        values: of the answer.
    """
    lists = [
        one
        for one in values
        if (isinstance(one.value, list) and one.is_whole and all(isinstance(item, Mapping) for item in one.value))
        or (isinstance(one.value, Mapping) and isinstance(one.value.get("objects"), list))
    ]
    if len(lists) < 2:
        return []
    joined: list[JsonItem] = []
    for one in without_drafts(lists):
        seen = [item.value for item in joined]
        joined += [item for item in listed_items(one) if item.value not in seen]
    return joined


def read_items(listed: Sequence[JsonItem], text: str, keys: Sequence[str], *, needs_label: bool) -> BoxesAnswer:
    """Read objects with a label and a box.

    Args:
        listed: the objects.
        text: of the answer, in which their spans lie.
        keys: of the box, the first that is there.
        needs_label: whether an object without the key `label` is bad.

    Raises:
        NoAnswerError: none can be read.
    """
    good: list[GroundedObject] = []
    bad: list[Bad] = []
    for item in listed:
        try:
            good.append(_object(item, text, keys, needs_label))
        except NoAnswerError as error:
            label = item.value.get("label") if isinstance(item.value, Mapping) else None
            bad.append(Bad(str(error), label if isinstance(label, str) and label.isprintable() else None))
    return boxes_answer(good, bad, text)


def _object(item: JsonItem, text: str, keys: Sequence[str], needs_label: bool) -> GroundedObject:
    value, spans = item.value, item.spans or {}
    if not isinstance(value, Mapping):
        raise NoAnswerError("invalid_answer", f"objects: expected an object, got {shown(value)}")
    label = label_of(value.get("label")) if needs_label or "label" in value else None
    key = next((key for key in keys if key in value), keys[0])
    label_at, box_at = spans.get((*item.path, "label")), spans.get((*item.path, key))
    return GroundedObject(
        label, box_of(value.get(key)), label_at and inner(text, label_at, "\"'"), box_at and inner(text, box_at)
    )


def _write(box: Box, unit: BoxUnit) -> str:
    return "[" + ", ".join(f"{side:.3f}" if unit == "share" else str(round(side)) for side in box) + "]"


def read(content: Any, unit: BoxUnit) -> BoxesAnswer:  # noqa: ANN401 - what a server sends
    """Read the objects of an answer, or none if it says in words that there are none.

    Raises:
        NoAnswerError: it says neither, or no object is of use.
    """
    del unit
    values = candidates(content)
    if not values and says_none(answer_text(content)):
        return BoxesAnswer(())
    joined = joined_items(values)
    if joined:
        return read_items(joined, values[0].text, ("box", "bbox_2d"), needs_label=True)
    return parse(content, JsonBoxes)


JSON = BoxGrammar(read, _write, JsonBoxes.hint, schema=_Objects, is_json=True)
"""The row of this grammar in the registry."""
