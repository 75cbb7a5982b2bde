"""The answers with places: objects with their boxes, or with points where a grammar has no boxes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from umgclip.annotate.models.vlm.answers import Bad, NoAnswerError, none_if_all_bad, one_line, shown
from umgclip.annotate.models.vlm.positions import Span

MOST_OBJECTS = 200
"""The most objects of one answer; an answer with more of them runs in a loop."""

_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
_CORNERS = (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))


@dataclass(frozen=True)
class GroundedObject:
    """One object of an answer and its place, in the answer's own unit.

    Attributes:
        label: its name as the answer has it; None: the answer has only the place.
        box: corners `x0, y0, x1, y1`, in order and finite; of a point, the point twice.
        label_at: span of the label in the text of the answer; None: it is not known, or there is no label.
        box_at: span of the coordinates, from the first digit to the last; None: it is not known.
        is_point: whether the place is a point.
        is_phrase: whether the label is the words of a sentence before the place, so that it may hold more than a name.
    """

    label: str | None
    box: tuple[float, float, float, float]
    label_at: Span | None = None
    box_at: Span | None = None
    is_point: bool = False
    is_phrase: bool = False


@dataclass(frozen=True)
class BoxesAnswer:
    """Objects with their boxes; empty if the model located nothing.

    Attributes:
        objects: those that can be used.
        bad: the other parts of the answer.
        text: the text of the answer, in which the spans of the objects lie.
    """

    objects: tuple[GroundedObject, ...]
    bad: tuple[Bad, ...] = ()
    text: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is said in words."""
        return tuple(one.label for one in self.objects if one.label)


def boxes_answer(objects: Sequence[GroundedObject], bad: Sequence[Bad], text: str) -> BoxesAnswer:
    """Return an answer with some objects, or with none of either.

    Raises:
        NoAnswerError: all its parts are bad, or there are more than 200.
    """
    none_if_all_bad(objects, bad)
    if len(objects) + len(bad) > MOST_OBJECTS:
        count = len(objects) + len(bad)
        raise NoAnswerError("invalid_answer", f"objects: expected a list of at most {MOST_OBJECTS}, got {count} items")
    return BoxesAnswer(tuple(objects), tuple(bad), text)


def label_of(value: Any) -> str:  # noqa: ANN401
    """Return a name on one line.

    Raises:
        NoAnswerError: the value is none.
    """
    return one_line(value, "label")


def ordered(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return a box whose corners are in order.

    Raises:
        NoAnswerError: they are crossed, or the box is flat.
    """
    if not (box[0] < box[2] and box[1] < box[3]):
        raise NoAnswerError("invalid_answer", f"box: expected x0 < x1 and y0 < y1, got {list(box)}")
    return box


def box_of(value: Any) -> tuple[float, float, float, float]:  # noqa: ANN401
    """Read four finite numbers from a list, two corners, a text, or named corners.

    Raises:
        NoAnswerError: there are other numbers, or their order is not that of a box.
    """
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
    return ordered((numbers[0], numbers[1], numbers[2], numbers[3]))


def _number(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
