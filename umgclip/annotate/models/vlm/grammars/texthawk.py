"""The grammar `texthawk` of TextHawk2 (Yu et al., 2024): `<ref>a cat</ref><box><230><334>,<826><482></box>`.

Coordinates are thousandths of the sides. Without `<ref>` the words before a box are its phrase. Corners in brackets,
`<box>(230,334),(826,482)</box>` as Qwen-VL and InternVL write them, are read as well.
"""

from __future__ import annotations

import re
from typing import Any

from umgclip.annotate.models.vlm.answers import Bad, NoAnswerError, shown
from umgclip.annotate.models.vlm.boxes import BoxesAnswer, GroundedObject, boxes_answer, label_of, ordered
from umgclip.annotate.models.vlm.grammars.grammar import BoxGrammar, bad_part, no_boxes, phrase_before, text_to_read
from umgclip.annotate.models.vlm.nothing import says_none
from umgclip.annotate.models.vlm.positions import Span
from umgclip.annotate.proposal import Box
from umgclip.params.vlm import BoxUnit

_BOX = re.compile(r"<box>((?:(?!</?box>).)*)</box>", re.DOTALL)
_OPEN = re.compile(r"<box>(?!(?:(?!</?box>).)*</box>)", re.DOTALL)
_REF = re.compile(r"<ref>([^<>]*+)</ref>\s*+$")
_CORNERS = re.compile(
    r"<(\d{1,4})><(\d{1,4})>\s*,\s*<(\d{1,4})><(\d{1,4})>"
    r"|\(\s*(\d{1,4})\s*,\s*(\d{1,4})\s*\)\s*,\s*\(\s*(\d{1,4})\s*,\s*(\d{1,4})\s*\)",
    re.ASCII,
)
_LAST = 999  # of the tokens <0> to <999>


def read(content: Any, unit: BoxUnit) -> BoxesAnswer:  # noqa: ANN401 - what a server sends
    """Read the boxes of a text, each with the phrase before it; boxes in a row share one.

    Raises:
        NoAnswerError: there is neither a box nor `None`, or no box is of use.
    """
    del unit
    text = text_to_read(content)
    good: list[GroundedObject] = []
    bad: list[Bad] = []
    label_at: Span | None = None
    is_phrase, end = False, 0
    for match in _BOX.finditer(text):
        between = end, match.start()
        if end == 0 or text[slice(*between)].strip(" \t\r\n,;&"):
            label_at, is_phrase = _label_before(text, between)
        end = match.end()
        label = text[slice(*label_at)] if label_at else None
        try:
            good += _objects(match, label, label_at, is_phrase)
        except NoAnswerError as error:
            bad.append(bad_part(text, label_at, str(error)))
    bad += [Bad(f"box: cut off at {shown(text[one.start() : one.start() + 100])}") for one in _OPEN.finditer(text)]
    if not good and not bad and not says_none(text):
        raise no_boxes("<box><x0><y0>,<x1><y1></box>, or None", text)
    return boxes_answer(good, bad, text)


def _label_before(text: str, span: Span) -> tuple[Span | None, bool]:
    """Return the span of the label before a box, and whether it is words of a sentence rather than marked."""
    if (match := _REF.search(text, text.rfind("<ref>", *span), span[1])) is not None and match.start() >= span[0]:
        return match.span(1), False
    phrase = phrase_before(text, span)
    return (phrase, True) if phrase[0] < phrase[1] else (None, True)


def _objects(match: re.Match[str], label: str | None, label_at: Span | None, is_phrase: bool) -> list[GroundedObject]:
    inside = match.group(1)
    corners = [*_CORNERS.finditer(inside)]
    if not corners or _CORNERS.sub("", inside).strip(" \t\r\n,;"):
        raise NoAnswerError("invalid_answer", f"box: expected <x0><y0>,<x1><y1>, got {shown(inside)}")
    name = label_of(label) if label is not None else None
    objects = []
    for one in corners:
        x0, y0, x1, y1 = (float(number) for number in one.groups() if number is not None)
        box_at = match.start(1) + one.start() + 1, match.start(1) + one.end() - 1
        objects.append(GroundedObject(name, ordered((x0, y0, x1, y1)), label_at, box_at, is_phrase=is_phrase))
    return objects


def _write(box: Box, unit: BoxUnit) -> str:
    del unit
    x0, y0, x1, y1 = (min(_LAST, round(side)) for side in box)
    return f"<box><{x0}><{y0}>,<{x1}><{y1}></box>"


TEXTHAWK = BoxGrammar(read, _write)
"""The row of this grammar in the registry."""
