"""Texts from outside: made well-formed on input, harmless on a terminal and free of secrets on output.

A text may hold halves of an emoji (lone surrogates, which no UTF-8 can hold), control characters, and marks that turn
the direction of neighbouring text. The first two never enter a record; all of them are written out as escapes where
a text is printed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_REPLACED = "\N{REPLACEMENT CHARACTER}"
_SURROGATES = re.compile("[\ud800-\udfff]")
# what moves a cursor, colours, rings, hides or turns: controls, line separators, marks of direction, surrogates
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SPACE = re.compile("[\t\n]+")
_ADDRESS = re.compile(r" ?<[\w.]+ object at 0x[0-9a-fA-F]+>")
_PACKAGE = f"{Path(__file__).parent}{os.sep}"
_HIDDEN = "***"
# what stands before the host of a URL: a name, a password, a token. The second form is a password with `/` in it
_USER = re.compile(
    r"\b([A-Za-z][\w+.-]{0,30}://)"
    r"(?:[^\s/?#\"'<>]{1,2000}|[^\s/?#@:\[]{0,200}:(?!\d{1,5}[/?#])[^\s\"'<>]{1,2000})@"
)
_NAMES = (
    r"token|secret|passw(?:or)?d|pwd|signature|credential|api[_-]?key|access[_-]?key|auth(?:orization)?|sig|key|sas"
)
_PARAMETER = re.compile(rf"([?&;#](?:AWS|[\w.-]{{1,40}}[_.-])?(?:{_NAMES})(?:[_-]?id)?=)[^&;#\s\"'`<>]+", re.IGNORECASE)
_HEADER = re.compile(
    r"(\bbearer\s+(?=[A-Za-z.~+/=_-]{0,2000}\d)|\bauthorization[\"']?\s{0,9}[:=]\s{0,9}[\"']?\w{1,20}\s+)"
    r"[\w.~+/=-]{8,}",
    re.IGNORECASE,
)


def well_formed(text: str) -> str:
    """Replace each lone surrogate by U+FFFD; combine whole pairs into their character."""
    if _SURROGATES.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Make a text safe for a terminal: control characters are written out, as `\x1b`.

    Args:
        text: from anywhere.
        lines: keep line breaks and tabs; otherwise they become spaces.
    """
    escaped = _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
    return escaped if lines else _SPACE.sub(" ", escaped)


def without_secrets(text: str) -> str:
    """Remove names, passwords and tokens from URLs in a text, and keys from HTTP headers.

    Whatever is printed, logged or recorded of an address goes through here; `git@` and the like of ssh stay.
    """
    if "://" in text:
        text = _USER.sub(_hide_user, text)
    if "=" in text:
        text = _PARAMETER.sub(rf"\1{_HIDDEN}", text)
    return _HEADER.sub(rf"\1{_HIDDEN}", text)


def _hide_user(match: re.Match[str]) -> str:
    user = match[0][len(match[1]) : -1]
    plain = user.isalnum() and match[1].lower().endswith("ssh://")
    return match[0] if plain else f"{match[1]}{_HIDDEN}@"


def brief(value: object, most: int = 60) -> str:
    """Return a value's `repr` for a message, cut after `most` characters."""
    try:
        message = repr(value)
    except (ValueError, RecursionError):  # a whole number of more digits than Python prints; a list without end
        message = f"a {type(value).__name__}"
    return message if len(message) <= most else f"{message[:most]}..."


def cause(error: BaseException) -> str:
    """Return an error's type and message, the same in every run: without the addresses of objects."""
    message = _ADDRESS.sub("", str(error)).rstrip()
    return f"{type(error).__name__}: {message}"


def line_of(error: BaseException) -> str:
    """Return an exception in one line, with the last line of this package in its trace: `TypeError: ... (x.py:7)`."""
    message = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
    places, trace = [], error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if path.startswith(_PACKAGE):  # a checkout's folder may have the package's name, so the whole path decides
            places.append(f"umgclip/{path.removeprefix(_PACKAGE)}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{message} ({places[-1]})" if places else message


def in_markdown(text: str) -> str:
    """Return a text on one line that Markdown shows as it is: no markup, HTML or control sequence takes effect."""
    shown = re.sub(r"([\\`*_\[\]])", r"\\\1", " ".join(printable(text).split()))
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")
