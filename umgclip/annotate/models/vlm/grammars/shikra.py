"""The grammar `shikra` of Shikra (Chen et al., 2023): `two cats [0.230,0.334,0.826,0.482;0.1,0.1,0.2,0.3] on a mat`.

Coordinates are shares of the sides. A box follows the words that it belongs to; several boxes of one phrase are joined
by `;`.
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
    phrase_before,
    text_to_read,
)
from umgclip.annotate.models.vlm.nothing import says_none
from umgclip.annotate.models.vlm.positions import Span, inner
from umgclip.params.vlm import BoxUnit

_BRACKETS = re.compile(r"\[([^\[\]]*+)\]")
_CUT = re.compile(r"\[(?=[^\[\]]*\d)[^\[\]]*+$")
_SIDE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*", re.ASCII)


def read(content: Any, unit: BoxUnit) -> BoxesAnswer:  # noqa: ANN401 - what a server sends
    """Read the boxes of a text, each with the phrase before it.

    Raises:
        NoAnswerError: there is neither a box nor `None`, or no box is of use.
    """
    del unit
    text = text_to_read(content)
    good: list[GroundedObject] = []
    bad: list[Bad] = []
    end = 0
    for match in _BRACKETS.finditer(text):
        if not any(letter.isdigit() for letter in match.group(1)):
            continue  # brackets of a text
        label_at = phrase_before(text, (end, match.start()))
        end, at = match.end(), match.start(1)
        for part in match.group(1).split(";"):
            try:
                good.append(_object(text, label_at, (at, at + len(part))))
            except NoAnswerError as error:
                bad.append(bad_part(text, label_at, str(error)))
            at += len(part) + 1
    if (cut := _CUT.search(text, end)) is not None:
        bad.append(bad_part(text, phrase_before(text, (end, cut.start())), f"box: cut off at {shown(cut.group())}"))
    if not good and not bad and not says_none(text):
        raise no_boxes("words [x0,y0,x1,y1], or None", text)
    return boxes_answer(good, bad, text)


def _object(text: str, label_at: Span, part: Span) -> GroundedObject:
    sides = [_SIDE.fullmatch(side) for side in text[slice(*part)].split(",")]
    numbers = [float(side.group(1)) for side in sides if side is not None]
    if len(sides) != 4 or len(numbers) != 4:
        raise NoAnswerError(
            "invalid_answer", f"box: expected four numbers x0, y0, x1, y1, got {shown(text[slice(*part)])}"
        )
    phrase = text[slice(*label_at)]
    box = ordered((numbers[0], numbers[1], numbers[2], numbers[3]))
    label = label_of(phrase) if phrase else None
    return GroundedObject(label, box, label_at if phrase else None, inner(text, part), is_phrase=True)


SHIKRA = BoxGrammar(read, lambda box, _unit: decimals(box))
"""The row of this grammar in the registry."""
