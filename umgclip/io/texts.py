"""Bytes to text: in the encoding that the first bytes name, else in the one that is said; no letter is replaced."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from umgclip.errors import InputError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD = 64
_BAD = "umgclip.bad"
_NO_TEXT = re.compile("[\ud800-\udfff]")


def check_encoding(name: str) -> None:
    """Refuse what is no encoding of texts.

    Raises:
        InputError: Python knows none of that name.
    """
    try:
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise InputError(f"encoding: expected a name such as latin-1, cp1252, gb18030, got {name!r}") from error


def encoding_of(head: bytes, default: str | None = None) -> str:
    """Return a text's encoding: by its byte order mark, or by zeros in every other byte (UTF-16); else the given one.

    Args:
        head: the first bytes.
        default: encoding of a text that does not tell its own; None: UTF-8.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    head = head[: len(head) // 2 * 2][:_HEAD]
    zeros = head[0::2].count(0), head[1::2].count(0)
    if len(head) >= 4 and max(zeros) > len(head) / 4 and not min(zeros):
        return "utf-16-le" if zeros[1] else "utf-16-be"
    return default or "utf-8"


def decode(data: bytes, default: str | None = None) -> str:
    """Decode bytes to a text in one encoding.

    Raises:
        UnicodeDecodeError: the bytes are no text of that encoding; names the encoding and the place.
    """
    return data.decode(encoding_of(data, default))


def open_text(path: Path, default: str | None = None) -> TextIOWrapper:
    """Open a text file with its line ends as they are; `is_text` tells which lines can be read."""
    with path.open("rb") as handle:
        head = handle.read(_HEAD)
    codecs.register_error(_BAD, _mark)
    return path.open(encoding=encoding_of(head, default), errors=_BAD, newline="")


def bounded_lines(handle: TextIOWrapper, most: int) -> Iterator[str]:
    """Yield the lines of a file, each cut to one character more than `most`."""
    while line := handle.readline(most + 1):
        rest = line
        while len(rest) > most and not rest.endswith(("\n", "\r")):  # pass over what is left of it
            rest = handle.readline(most + 1)
        yield line


def is_text(text: str) -> bool:
    """Return whether all of a text could be decoded: what could not is a lone surrogate, or no letter in any case."""
    return not _NO_TEXT.search(text)


def printable(text: str) -> str:
    """Return a text for a message, with undecodable bytes in hexadecimal."""
    return _NO_TEXT.sub(lambda bad: f"\\x{ord(bad[0]) & 0xFF:02x}", text)


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no text, each as a lone surrogate: file names on Linux come back as they were."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in bad), error.end
