"""The grammar `bbox_2d` of Qwen2.5-VL and Qwen3-VL: `[{"bbox_2d": [X0, Y0, X1, Y1], "label": NAME}, ...]`.

Qwen3-VL (Bai et al., 2025) counts in thousandths of the sides, Qwen2.5-VL in pixels of the image that it sees. The list
often stands in a fence. A single object without a list is one as well, and so are objects one after the other.
"""

from __future__ import annotations

from typing import Any

from umgclip.annotate.models.vlm.answers import NoAnswerError
from umgclip.annotate.models.vlm.boxes import BoxesAnswer
from umgclip.annotate.models.vlm.grammars.grammar import BoxGrammar, no_boxes, text_to_read
from umgclip.annotate.models.vlm.grammars.json_objects import JsonItem, joined_items, listed_items, read_items
from umgclip.annotate.models.vlm.nothing import says_none
from umgclip.annotate.models.vlm.positions import value_spans
from umgclip.annotate.models.vlm.reading import Candidate, answer_text, candidates
from umgclip.annotate.proposal import Box
from umgclip.params.vlm import BoxUnit

_KEY = "bbox_2d"


def read(content: Any, unit: BoxUnit) -> BoxesAnswer:  # noqa: ANN401 - what a server sends
    """Read the lists of objects, without drafts, or all objects if there is no list.

    Raises:
        NoAnswerError: there is neither, or none of the objects is of use.
    """
    del unit
    values = candidates(content)
    joined = joined_items(values)
    if joined:
        return read_items(joined, values[0].text, (_KEY,), needs_label=False)
    fault = None
    for one in values:
        if isinstance(one.value, list) and one.is_whole or isinstance(one.value, dict) and "objects" in one.value:
            try:
                return read_items(listed_items(one), one.text, (_KEY,), needs_label=False)
            except NoAnswerError as error:
                fault = fault or error
    singles = [one for one in values[::-1] if isinstance(one.value, dict) and _KEY in one.value]
    if singles and all(one.is_whole for one in singles):
        return read_items([_single(one) for one in singles], singles[0].text, (_KEY,), needs_label=False)
    if not values and says_none(answer_text(content)):
        return BoxesAnswer(())
    raise fault or no_boxes('[{"bbox_2d": [x0, y0, x1, y1], "label": "..."}]', text_to_read(content))


def _single(one: Candidate) -> JsonItem:
    return JsonItem(one.value, (), value_spans(one.text, one.start) if one.text else {})


def _write(box: Box, unit: BoxUnit) -> str:
    del unit
    return "[" + ", ".join(str(round(side)) for side in box) + "]"


BBOX_2D = BoxGrammar(read, _write, is_json=True)
"""The row of this grammar in the registry."""
