"""The grammar `griffon` of Griffon-G (Zhan et al., 2024): `person-[0.001,0.345,0.111,0.678]&T-shirt-[...]`.

Coordinates are shares of the sides with exactly three decimals. Names may hold dashes and `&`: a box begins at the last
`-[` before its numbers, and a name after the box before it. `None` means that there is nothing. Griffon leaves the name
out where the question is about a single thing.
"""

from __future__ import annotations

import re
from typing import Any

from umgclip.annotate.models.vlm.answers import Bad, NoAnswerError, shown
from umgclip.annotate.models.vlm.boxes import BoxesAnswer, GroundedObject, boxes_answer, label_of, ordered
from umgclip.annotate.models.vlm.grammars.grammar import (
    BoxGrammar,
    bad_part,
    decimals,
    no_boxes,
    text_to_read,
    trimmed,
)
from umgclip.annotate.models.vlm.nothing import says_none
from umgclip.annotate.models.vlm.positions import Span, inner
from umgclip.params.vlm import BoxUnit

_BOX = re.compile(r"(-?)\[([^\[\]]*+)\]")
_CUT = re.compile(r"-\[[^\[\]]*+$")
_NUMBERS = re.compile(r"\s*(\d+\.\d{3})\s*,\s*(\d+\.\d{3})\s*,\s*(\d+\.\d{3})\s*,\s*(\d+\.\d{3})\s*", re.ASCII)
_LEAD = re.compile(r"\s*(?:sure|certainly|of course|okay|ok|yes|answer)\s*+[,:!.]\s+", re.IGNORECASE)
_EXPECTED = "name-[x0,y0,x1,y1] joined by &, or None"


def read(content: Any, unit: BoxUnit) -> BoxesAnswer:  # noqa: ANN401 - what a server sends
    """Read the boxes of a text, each with the name before it.

    Raises:
        NoAnswerError: there is neither a box nor `None`, or no box is of use.
    """
    del unit
    text = text_to_read(content)
    good: list[GroundedObject] = []
    bad: list[Bad] = []
    end = 0
    for match in _BOX.finditer(text):
        if not any(letter.isdigit() for letter in match.group(2)):
            continue  # brackets of a text
        name_at = _name_before(text, (end, match.start()))
        end = match.end()
        try:
            good.append(_object(text, name_at, match))
        except NoAnswerError as error:
            bad.append(bad_part(text, name_at, str(error)))
    if (cut := _CUT.search(text, end)) is not None:
        bad.append(bad_part(text, _name_before(text, (end, cut.start())), f"box: cut off at {shown(cut.group())}"))
    if not good and not bad and not says_none(text):
        raise no_boxes(_EXPECTED, text)
    return boxes_answer(good, bad, text)


def _name_before(text: str, span: Span) -> Span:
    """Return the name before a box: the last line, without what joins it to the box before."""
    start, end = trimmed(text, span, "", " \t\r\n")
    if (lead := _LEAD.match(text, start, end)) is not None:
        start = lead.end()
    return trimmed(text, (max(start, text.rfind("\n", start, end) + 1), end), ' \t\r\n&,;*•`"', '`"*')


def _object(text: str, name_at: Span, match: re.Match[str]) -> GroundedObject:
    name = text[slice(*name_at)]
    if name and not match.group(1):
        raise NoAnswerError("invalid_answer", f"box: expected {_EXPECTED}, got {shown(name + match.group())}")
    numbers = _NUMBERS.fullmatch(match.group(2))
    if numbers is None:
        raise NoAnswerError("invalid_answer", f"box: expected four numbers with three decimals, got {match.group()!r}")
    x0, y0, x1, y1 = map(float, numbers.groups())
    label = label_of(name) if name else None
    return GroundedObject(label, ordered((x0, y0, x1, y1)), name_at if name else None, inner(text, match.span(2)))


GRIFFON = BoxGrammar(read, lambda box, _unit: decimals(box))
"""The row of this grammar in the registry."""
