"""The common part of the grammars of boxes: a row of the registry, and the words before a box in a text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from umgclip.annotate.models.vlm.answers import Bad, NoAnswerError, shown
from umgclip.annotate.models.vlm.boxes import BoxesAnswer
from umgclip.annotate.models.vlm.positions import Span
from umgclip.annotate.models.vlm.reading import answer_text
from umgclip.annotate.proposal import Box
from umgclip.params.vlm import BoxUnit

_LEADS = re.compile(
    r"(?:[\s,;&]|(?:there (?:is|are)|and|or|with|on|in|at|by|near|under|over|behind|beside|next to)\b)*+", re.IGNORECASE
)
_LONGEST_LABEL = 200  # characters
_ARTICLE = re.compile(r"(?:an?|the)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class BoxGrammar:
    """One row of the registry: how an answer in the grammar is read, and how a prompt names a region.

    Attributes:
        read: reads the content of a message, whose coordinates are declared to have this unit; raises `NoAnswerError`.
        write_box: writes a box of this unit as the model's own prompts do; None: the grammar has no boxes.
        hint: an example for the prompt of models that are not trained on the grammar; empty: none is sent.
        schema: of the `response_format` that is asked for; None: the grammar is no JSON, or the model's own.
        is_json: whether answers are JSON, which cannot be confused with reasoning.
    """

    read: Callable[[Any, BoxUnit], BoxesAnswer]
    write_box: Callable[[Box, BoxUnit], str] | None
    hint: str = ""
    schema: type[BaseModel] | None = None
    is_json: bool = False


def text_to_read(content: Any) -> str:  # noqa: ANN401 - what a server sends
    """Return the text of a message without reasoning.

    Raises:
        NoAnswerError: there is no text.
    """
    text = answer_text(content)
    if not text:
        raise NoAnswerError("invalid_answer", f"expected a text, got {shown(content)}")
    return text


def no_boxes(expected: str, text: str) -> NoAnswerError:
    """Return the error of a text with neither a box nor a word for nothing."""
    return NoAnswerError("invalid_answer", f"expected {expected}, got {shown(text)}")


def bad_part(text: str, label_at: Span | None, detail: str) -> Bad:
    """Return a part of a text that is of no use, with its label if that can be shown."""
    label = text[slice(*label_at)] if label_at else ""
    return Bad(detail[:300], label if label and len(label) <= _LONGEST_LABEL and label.isprintable() else None)


def trimmed(text: str, span: Span, left: str, right: str) -> Span:
    """Return a span without these characters at its ends."""
    start, end = span
    while start < end and text[start] in left:
        start += 1
    while start < end and text[end - 1] in right:
        end -= 1
    return start, end


def phrase_before(text: str, span: Span) -> Span:
    """Return the words right before a box, without an article and what joins them to the words before.

    They begin at the end of the sentence, part of a sentence or line before.

    Args:
        text: of the answer.
        span: from the end of the box before, or the start of the text, to the box.
    """
    start, end = trimmed(text, span, "", " \t\r\n:,;-=(")
    start = max(start, 1 + max(text.rfind(mark, start, end) for mark in ".!?;:,\n"))
    for skip in (_LEADS, _ARTICLE):
        if (match := skip.match(text, start, end)) is not None:
            start = match.end()
    return trimmed(text, (start, end), "\"'`*-•[(", "\"'`*")


def decimals(box: Box) -> str:
    """Write a box of shares with three decimals, as Griffon and Shikra do."""
    return "[" + ",".join(f"{side:.3f}" for side in box) + "]"
