"""The grammar `molmo` of Molmo (Deitke et al., 2024), which gives points: `<point x="61.5" y="40.6" alt="cat">`.

The words of a point stand in its tag as well, `>cat</point>`. Several points are one tag,
`<points x1="1.0" y1="2.0" x2="3.0" y2="4.0" alt="cats">`, in percent of the sides. Molmo 2 writes thousandths, three
numbers a point (its number, x, y), after the number of the image: `<points coords="1 1 193 076 2 226 144" alt="cats">`.
"""

from __future__ import annotations

import math
import re
from typing import Any

from umgclip.annotate.models.vlm.answers import Bad, NoAnswerError, shown
from umgclip.annotate.models.vlm.boxes import BoxesAnswer, GroundedObject, boxes_answer, label_of
from umgclip.annotate.models.vlm.grammars.grammar import BoxGrammar, no_boxes, text_to_read
from umgclip.annotate.models.vlm.nothing import says_none
from umgclip.annotate.models.vlm.positions import Span, inner
from umgclip.params.vlm import BoxUnit

_TAG = re.compile(r"<points?\b([^<>]*+)>([^<>]*+)")
_CUT = re.compile(r"<points?\b[^<>]*+$")
_ATTRIBUTE = re.compile(r"(\w+)\s*=\s*(?:\"([^\"]*+)\"|'([^']*+)')")
_NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*", re.ASCII)
_COORDS = re.compile(r"\d+", re.ASCII)


def read(content: Any, unit: BoxUnit) -> BoxesAnswer:  # noqa: ANN401 - what a server sends
    """Read the points of a text, each with the text `alt` of its tag, or the words in the tag.

    Raises:
        NoAnswerError: there is neither a point nor a word for nothing, no point is of use, or they have another unit.
    """
    text = text_to_read(content)
    good: list[GroundedObject] = []
    bad: list[Bad] = []
    for match in _TAG.finditer(text):
        values = {one.group(1): _value_at(one) for one in _ATTRIBUTE.finditer(text, *match.span(1))}
        label_at = values.get("alt") or match.span(2)
        label_at = inner(text, label_at, " \t\r\n")
        try:
            label = label_of(text[slice(*label_at)]) if label_at[0] < label_at[1] else None
            points, faults = _coords(text, values, unit) if "coords" in values else _pairs(text, values, unit)
        except NoAnswerError as error:
            if error.reason == "box_scale":
                raise
            bad.append(Bad(str(error)))
            continue
        at = label_at if label else None
        good += [GroundedObject(label, (x, y, x, y), at, span, True, True) for x, y, span in points]
        bad += [Bad(fault, label if label and label.isprintable() else None) for fault in faults]
    bad += [Bad(f"point: cut off at {shown(one.group())}") for one in _CUT.finditer(text)]
    if not good and not bad and not says_none(text):
        raise no_boxes('<point x="..." y="...">, or None', text)
    return boxes_answer(good, bad, text)


def _value_at(attribute: re.Match[str]) -> Span:
    return attribute.span(2) if attribute.group(2) is not None else attribute.span(3)


def _pairs(text: str, values: dict[str, Span], unit: BoxUnit) -> tuple[list[tuple[float, float, Span]], list[str]]:
    """Return the points x, y or x1, y1, x2, y2, ..., and what is wrong with the others."""
    numbers = [name[1:] for name in values if re.fullmatch(r"x\d*", name, re.ASCII)]
    points, faults = [], []
    for number in numbers:
        pair = [values.get(f"{axis}{number}") for axis in "xy"]
        sides = [_NUMBER.fullmatch(text[slice(*at)]) if at else None for at in pair]
        (x_at, y_at), (x, y) = pair, sides
        if (
            x is None
            or y is None
            or x_at is None
            or y_at is None
            or not all(math.isfinite(float(s[1])) for s in (x, y))
        ):
            got = [text[slice(*at)] if at else None for at in pair]
            faults.append(f"point: expected numbers x{number} and y{number}, got {shown(got)}")
        else:
            points.append((float(x[1]), float(y[1]), (min(x_at[0], y_at[0]), max(x_at[1], y_at[1]))))
    if not numbers:
        raise NoAnswerError("invalid_answer", f"point: expected x and y, got {shown(sorted(values))}")
    if points and unit != "percent":
        raise NoAnswerError("box_scale", f"box_unit {unit}: expected coords, as Molmo 2 has, got x and y in percent")
    return points, faults


def _coords(text: str, values: dict[str, Span], unit: BoxUnit) -> tuple[list[tuple[float, float, Span]], list[str]]:
    """Return the points of Molmo 2, of the first image."""
    start, end = values["coords"]
    if unit != "thousandth":
        raise NoAnswerError("box_scale", f"box_unit {unit}: expected x and y, got coords, which are thousandths")
    numbers = [*_COORDS.finditer(text, start, end)]
    if re.sub(r"[\d\s]", "", text[start:end], flags=re.ASCII) or not numbers or len(numbers) % 3 == 2:
        raise NoAnswerError(
            "invalid_answer", f"point: expected the image, then number, x, y of each, got {shown(text[start:end])}"
        )
    numbers = numbers[len(numbers) % 3 :]
    return [
        (float(x.group()), float(y.group()), (x.start(), y.end()))
        for x, y in zip(numbers[1::3], numbers[2::3], strict=True)
        if len(x.group()) <= 4 and len(y.group()) <= 4
    ], [
        f"point: expected thousandths, got {shown(x.group())}, {shown(y.group())}"
        for x, y in zip(numbers[1::3], numbers[2::3], strict=True)
        if len(x.group()) > 4 or len(y.group()) > 4
    ]


MOLMO = BoxGrammar(read, None)
"""The row of this grammar in the registry."""
