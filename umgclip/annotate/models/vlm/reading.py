"""JSON values in the content of a message: models wrap their JSON in reasoning, words and fences.

Only what cannot mean anything else is repaired: a fence, words around the JSON, reasoning before the answer, one comma
too many, quotes of Python. JSON that is cut off stays unreadable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from umgclip.literals import read_literal

_LONGEST = 1 << 17  # characters that are searched; answers have some hundred tokens
_MOST_STARTS = 256  # brackets that are tried as the start of JSON
_THINKS = re.compile(r"<(/?)(?:think|thinking|thought|reasoning|reflection)>")
_FENCE = re.compile(r"```\w*")
# possessive, and a string that is not closed extends to the end: linear time for any text
_STRING_OR_COMMA = re.compile(r'("(?:\\.|[^"\\])*+"?)|,(?=\s*+[}\]])', re.DOTALL)
_BRACKET = re.compile(r"[{\[]")
_CORRECTS = re.compile(
    r"\b(?:final|finally|answer|correct\w*|wait|actually|instead|revis\w+|rather|hmm|oops|sorry|mistake\w*|refin\w+|"
    r"updat\w+|adjust\w*|better|result|output|therefore|so|but|however)\b",
    re.IGNORECASE,
)
_NO_JSON = (ValueError, RecursionError, OverflowError, MemoryError)


@dataclass(frozen=True)
class Candidate:
    """A value in an answer, and where it stands.

    Attributes:
        value: parsed JSON.
        is_whole: all brackets before it were read, so it is not a part of a larger value.
        text: the text in which it stands; empty if the server sent the value itself.
        start: offset of the value in the text.
        end: offset of what follows it, if it stands among words.
    """

    value: Any
    is_whole: bool
    text: str = ""
    start: int = 0
    end: int = 0


def text_of(content: Any) -> str:  # noqa: ANN401 - what a server sends
    """Return the content of a message, a text or parts of one, as text; an empty text if it is neither."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def spoken(text: str) -> str:
    """Remove the reasoning before the answer from a text.

    The reasoning may begin with the text, without a tag, or have no end.
    """
    tags = [*_THINKS.finditer(text)]
    if not tags:
        return text.strip()
    last = next((tag.end() for tag in reversed(tags) if tag.group(1)), 0)
    after = text[last : next((tag.start() for tag in tags if tag.start() >= last), None)].strip()
    return after or text[: tags[0].start()].strip() if not tags[0].group(1) else after


def answer_text(content: Any) -> str:  # noqa: ANN401 - what a server sends
    """Return the text of a message without reasoning; an empty text if it has none. Very long texts are cut."""
    return spoken(text_of(content)[:_LONGEST])


def candidates(content: Any) -> list[Candidate]:  # noqa: ANN401 - what a server sends
    """Return the JSON values in an answer, the likeliest first: the whole of it, else the last objects, then lists."""
    if isinstance(content, Mapping):
        return [Candidate(content, True)]
    text = text_of(content)[:_LONGEST]
    whole = _loaded(text)
    if whole is not None:
        return [whole]
    text = spoken(text)
    bare = _FENCE.sub("", text).strip()
    whole = _loaded(bare) or _literal(bare)
    if whole is not None:
        return [whole]
    last_first = [*_scanned(text)][::-1]
    return sorted(last_first, key=lambda one: not isinstance(one.value, dict))


def without_drafts(values: Sequence[Candidate]) -> list[Candidate]:
    """Return values in the order of the text, without those before words such as "final" or "wait"."""
    ordered = sorted(values, key=lambda one: one.start)
    first = 0
    for row in range(1, len(ordered)):
        if _CORRECTS.search(ordered[row].text, ordered[row - 1].end, ordered[row].start):
            first = row
    return ordered[first:]


def _loaded(text: str) -> Candidate | None:
    for attempt in (text, _without_commas(text)):
        try:
            value = json.loads(attempt)
        except _NO_JSON:
            continue
        if isinstance(value, dict | list):
            return Candidate(value, True, text)
    return None


def _literal(text: str) -> Candidate | None:
    """Read an object as Python prints it, with single quotes."""
    if not text.startswith(("{", "[")) or "'" not in text or "\\" in text:
        return None
    try:
        value = read_literal(text)
    except ValueError:
        return None
    return Candidate(value, True, text) if isinstance(value, dict | list) else None


def _scanned(text: str) -> Iterator[Candidate]:
    """Yield the values among words, in order."""
    repaired = _without_commas(text)
    decoder, at, is_whole = json.JSONDecoder(), 0, True
    for _ in range(_MOST_STARTS):
        start = _BRACKET.search(repaired, at)
        if start is None:
            return
        try:
            value, at = decoder.raw_decode(repaired, start.start())
        except _NO_JSON:
            at, is_whole = start.end(), False
            continue
        yield Candidate(value, is_whole, text, start.start(), at)


def _without_commas(text: str) -> str:
    """Replace commas before a closing bracket by blanks, so that offsets stay; quoted texts stay as they are."""
    return _STRING_OR_COMMA.sub(lambda match: match.group(1) or " ", text)
