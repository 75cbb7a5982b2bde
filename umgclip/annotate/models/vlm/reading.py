"""What a server calls the content of an answer, as JSON values: models wrap JSON in thoughts, words and fences.

Nothing is mended that could mean something else: a fence, words around, what a model thought before it spoke, one comma
too many, quotes of Python. What is cut off stays unreadable.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LONGEST = 1 << 17  # characters that are looked through; answers have some hundred tokens
_MOST_STARTS = 256  # brackets at which JSON may begin
_THINKS = re.compile(r"<(/?)(?:think|thinking|thought|reasoning|reflection)>")
_FENCE = re.compile(r"```\w*")
# possessive, and a string that does not close goes on to the end: linear, whatever the text
_STRING_OR_COMMA = re.compile(r'("(?:\\.|[^"\\])*+"?)|,(?=\s*+[}\]])', re.DOTALL)
_BRACKET = re.compile(r"[{\[]")
_NO_JSON = (ValueError, RecursionError, OverflowError, MemoryError)
_NO_LITERAL = (ValueError, SyntaxError, RecursionError, MemoryError, TypeError, OverflowError)


@dataclass(frozen=True)
class Candidate:
    """A value in an answer; `is_whole`: no bracket before it was left unread, so it is no part of a larger one."""

    value: Any
    is_whole: bool


def text_of(content: Any) -> str:  # noqa: ANN401 - what a server sends
    """The content of a message as text: a text, parts of one, or nothing."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def spoken(text: str) -> str:
    """A text without what its model thought before it spoke; thoughts may begin with the answer, or not end."""
    tags = [*_THINKS.finditer(text)]
    if not tags:
        return text.strip()
    last = next((tag.end() for tag in reversed(tags) if tag.group(1)), 0)
    after = text[last : next((tag.start() for tag in tags if tag.start() >= last), None)].strip()
    return after or text[: tags[0].start()].strip() if not tags[0].group(1) else after


def candidates(content: Any) -> list[Candidate]:  # noqa: ANN401 - what a server sends
    """JSON values that an answer holds, the likeliest first: the whole of it, else the last objects, then lists."""
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
    found = [*_scanned(text)][::-1]
    return sorted(found, key=lambda one: not isinstance(one.value, dict))


def _loaded(text: str) -> Candidate | None:
    for attempt in (text, _without_commas(text)):
        try:
            value = json.loads(attempt)
        except _NO_JSON:
            continue
        if isinstance(value, dict | list):
            return Candidate(value, True)
    return None


def _literal(text: str) -> Candidate | None:
    """What Python prints for an object: single quotes."""
    if not text.startswith(("{", "[")) or "'" not in text or "\\" in text:
        return None
    try:
        value = ast.literal_eval(text)
    except _NO_LITERAL:
        return None
    return Candidate(value, True) if isinstance(value, dict | list) else None


def _scanned(text: str) -> Iterator[Candidate]:
    """Values among words, in order."""
    text = _without_commas(text)
    decoder, at, is_whole = json.JSONDecoder(), 0, True
    for _ in range(_MOST_STARTS):
        start = _BRACKET.search(text, at)
        if start is None:
            return
        try:
            value, at = decoder.raw_decode(text, start.start())
        except _NO_JSON:
            at, is_whole = start.end(), False
            continue
        yield Candidate(value, is_whole)


def _without_commas(text: str) -> str:
    """Without commas before a closing bracket; texts in quotes stay."""
    return _STRING_OR_COMMA.sub(lambda match: match.group(1) or "", text)
