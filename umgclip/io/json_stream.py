"""JSON files of any length, an element at a time: arrays, JSON lines, and objects whose values are long arrays."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from umgclip.errors import DataError

_PIECE = 1 << 20
_SPACE = " \t\r\n"


def read_elements(path: Path) -> Iterator[tuple[str, Any]]:
    """The elements of a file with the name of the array that they stand in.

    Of an object, the elements of each value that is an array, and each other value whole; of an array or of JSON
    lines, every element with the name "".

    Raises:
        DataError: it is no JSON, or is cut off; names the file and the place.
    """
    with path.open("rb") as handle:
        text = _Text(handle, path)
        first = text.peek()
        if first == "[":
            yield from (("", value) for value in _array(text))
        elif first == "{" and not _is_lines(path):
            yield from _members(text)
        else:
            while text.peek():
                yield "", text.value()


def _is_lines(path: Path) -> bool:
    """Whether the first line is a whole object and another one follows."""
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return True
    with path.open("rb") as handle:
        first, second = handle.readline(_PIECE), handle.readline(_PIECE)
    try:
        json.loads(first)
    except ValueError:
        return False
    return second.lstrip()[:1] == b"{"


def _members(text: _Text) -> Iterator[tuple[str, Any]]:
    text.take("{")
    while text.peek() != "}":
        name = text.value()
        text.take(":")
        if text.peek() == "[":
            yield from ((name, value) for value in _array(text))
        else:
            yield name, text.value()
        if text.peek() != "}":
            text.take(",")
    text.take("}")


def _array(text: _Text) -> Iterator[Any]:
    text.take("[")
    while text.peek() != "]":
        yield text.value()
        if text.peek() != "]":
            text.take(",")
    text.take("]")


class _Text:
    """A window on a file's text, as far as it is needed."""

    def __init__(self, handle: Any, path: Path) -> None:  # noqa: ANN401 - a file
        self._handle, self._path = handle, path
        self._decode = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode
        self._parse = json.JSONDecoder().raw_decode
        self._text, self._at, self._before, self._ended = "", 0, 0, False

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        """Pass over a character that must come next."""
        if self.peek() != character:
            raise self._error(f"expected {character!r}, got {self.peek() or 'the end'!r}")
        self._at += 1

    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except ValueError as error:
                if self._more():
                    continue
                raise self._error(str(error)) from error
            # a number at the window's end may go on
            if end < len(self._text) or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        """Read on, a piece or as much as is waiting, whichever is more; false at the end."""
        if self._ended:
            return False
        data = self._handle.read(max(_PIECE, len(self._text) - self._at))
        self._ended = not data
        self._before += self._at
        self._text, self._at = self._text[self._at :] + self._decode(data, self._ended), 0
        return not self._ended

    def _error(self, message: str) -> DataError:
        return DataError(f"{self._path}: not valid JSON at character {self._before + self._at}: {message}")
