"""Positions of the values in a JSON text, which the parser of the standard library does not tell."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[str | int, ...]
Span = tuple[int, int]

_PIECE = re.compile(r'"(?:\\.|[^"\\])*+"|\'[^\']*+\'|[{}\[\],:]|[^\s{}\[\],:"\']++', re.DOTALL)
_AROUND_NUMBERS = " \t\r\n[](){}\"'"


@dataclass
class _Open:
    """An object or a list whose end has not come yet."""

    path: Path
    start: int
    is_list: bool
    count: int = 0
    key: str | None = None

    def next_path(self) -> Path:
        """Return the path of the value that comes next."""
        if self.is_list:
            self.count += 1
            return (*self.path, self.count - 1)
        key, self.key = self.key, None
        return (*self.path, key or "")


def value_spans(text: str, start: int) -> Mapping[Path, Span]:
    """Return the half-open spans of a JSON value and of all values in it, by their keys and indices.

    Args:
        text: a text with a valid JSON value, or one that Python prints.
        start: offset of that value, an object or a list.
    """
    spans: dict[Path, Span] = {}
    stack: list[_Open] = []
    for match in _PIECE.finditer(text, start):
        piece, top = match.group(), stack[-1] if stack else None
        if piece in "]}":
            if top is None:
                break
            stack.pop()
            spans[top.path] = top.start, match.end()
            if not stack:
                break
        elif piece in ",:":
            continue
        elif piece not in "[{" and top is not None and not top.is_list and top.key is None:
            top.key = _key(piece)
        else:
            path = () if top is None else top.next_path()
            if piece in "[{":
                stack.append(_Open(path, match.start(), piece == "["))
            else:
                spans[path] = match.span()
    return spans


def _key(piece: str) -> str:
    if piece.startswith('"'):
        try:
            return str(json.loads(piece, strict=False))
        except ValueError:
            pass
    return piece.strip("\"'")


def inner(text: str, span: Span, around: str = _AROUND_NUMBERS) -> Span:
    """Return a span without the quotes and brackets around its value."""
    start, end = span
    while start < end and text[start] in around:
        start += 1
    while start < end and text[end - 1] in around:
        end -= 1
    return start, end
