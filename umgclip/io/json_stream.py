"""JSON files of any length, an element at a time: arrays, JSON lines, and objects whose values are long arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from umgclip.errors import DataError
from umgclip.io.json_text import TooDeepError, parse, parse_at
from umgclip.io.texts import bounded_lines, is_text, open_text, printable

_PIECE = 1 << 20
_ELEMENT = 32 << 20  # characters of an element; Python's objects take many times as much
_SPACE = " \t\r\n"


def read_elements(
    path: Path, broken: Callable[[str, str], None] | None = None, encoding: str | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield the elements of a file, each with the name of the array that contains it.

    Of an object, the elements of each value that is an array, and each other value whole; of an array or of JSON
    lines, every element with the name "".

    Args:
        path: the file.
        broken: told of lines of a file of JSON lines that are no JSON (the line, what is wrong with it), which are
            passed over; None: they are an error.
        encoding: of a file whose first bytes do not tell it; None: UTF-8. Bytes that are no text become lone
            surrogates.

    Raises:
        DataError: it is no JSON, or is cut off; names the file and the place.
    """
    named = path.suffix.lower() in (".jsonl", ".ndjson")
    if _are_lines(path, encoding, named):
        yield from _lines(path, broken, encoding)
        return
    with open_text(path, encoding) as handle:
        text = _Text(handle, path)
        first = "" if named else text.peek()
        if first == "[":
            yield from (("", value) for value in _array(text))
        elif first == "{":
            yield from _members(text)
        else:
            while text.peek():
                yield "", text.value()
        text.end()


def _are_lines(path: Path, encoding: str | None, named: bool) -> bool:
    """Return whether each line is a value: the first is complete, and the file's name or a second line says so."""
    with open_text(path, encoding) as handle:
        lines = (line for line in iter(partial(handle.readline, _PIECE), "") if line.strip("\ufeff \t\r\n"))
        first, second = next(lines, ""), next(lines, "")
    goes_on = second.lstrip()[:1] in ("{", "[")
    try:
        parse(first.lstrip("\ufeff"))
    except ValueError:
        return named and (goes_on or len(first) >= _PIECE)
    return named or goes_on


def _lines(path: Path, broken: Callable[[str, str], None] | None, encoding: str | None) -> Iterator[tuple[str, Any]]:
    with open_text(path, encoding) as handle:
        for number, line in enumerate(bounded_lines(handle, _ELEMENT), 1):
            if not line.strip():
                continue
            try:
                if len(line) > _ELEMENT:
                    raise ValueError(f"a line of more than {_ELEMENT} characters")
                if not is_text(line):
                    raise ValueError("bytes that are no text; --encoding names the right one")
                value = parse(line)
            except ValueError as error:
                if broken is None:
                    raise DataError(f"{path}: not valid JSON at line {number}: {error}") from error
                broken(f"line {number}", f"expected JSON, got {printable(line.strip())[:80]!r} ({error})")
            else:
                yield "", value


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

    def __init__(self, handle: TextIOWrapper, path: Path) -> None:
        self._handle, self._path = handle, path
        self._text, self._at, self._before, self._ended = "", 0, 0, False

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
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

    def end(self) -> None:
        """Check that nothing follows but white space."""
        if self.peek():
            raise self._error(
                f"expected the end, got {self.peek()!r}; several values stand in an array, or a line each"
            )

    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """Parse and return the next value."""
        self.peek()
        while True:
            try:
                value, end = parse_at(self._text, self._at)
            except TooDeepError as error:
                raise self._error(str(error)) from error
            except ValueError as error:
                if len(self._text) - self._at > _ELEMENT:
                    raise self._error(f"no value that ends within {_ELEMENT} characters ({error})") from error
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
        more = self._handle.read(max(_PIECE, len(self._text) - self._at))
        self._ended = not more
        self._before += self._at
        self._text, self._at = self._text[self._at :] + more, 0
        return not self._ended

    def _error(self, message: str) -> DataError:
        return DataError(f"{self._path}: not valid JSON at character {self._before + self._at}: {message}")
