"""What a file gives for a number, a size, a flag or a text, checked once, where it enters.

Each function gives the value, or None where there is no such value; `expected` says so in words.
"""

from __future__ import annotations

import math
from typing import Any

from umgclip.data.wording import tidy
from umgclip.safe_text import brief

_LARGEST_ID = 1 << 256  # programs write hashes as ids
LARGEST_SIDE = 1 << 24  # px; no image that can be read has such a side
_YES, _NO = frozenset(("1", "true", "yes", "y")), frozenset(("0", "false", "no", "n", ""))


def number(value: Any) -> float | None:  # noqa: ANN401 - what a file held
    """A finite number, also one that is written as text ("64.0"); a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def whole(value: Any) -> int | None:  # noqa: ANN401 - what a file held
    """A whole number, also as 64.0 or "64.0"; a whole number of any length stays exact."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    read = number(value)
    return int(read) if read is not None and read == int(read) else None


def share(value: Any) -> float | None:  # noqa: ANN401 - what a file held
    """A score from 0 to 1: a finite number, cut to that range."""
    read = number(value)
    return None if read is None else min(max(read, 0.0), 1.0)


def flag(value: Any) -> bool | None:  # noqa: ANN401 - what a file held
    """A truth value: true and false, 1 and 0, and these as text ("0" is false)."""
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _YES else False if word in _NO else None
    read = number(int(value) if isinstance(value, bool) else value)
    return bool(read) if read in (0.0, 1.0) else None


def ident(value: Any) -> str | None:  # noqa: ANN401 - what a file held
    """An id as text: a text, or a whole number, of which 7, 7.0 and "7" are one."""
    if isinstance(value, str):
        return value.strip() or None
    read = whole(value)
    return None if read is None else str(read) if abs(read) < _LARGEST_ID else None


def words(value: Any) -> str | None:  # noqa: ANN401 - what a file held
    """A text with words in it, tidy."""
    return (tidy(value) or None) if isinstance(value, str) else None


def side_px(value: Any) -> int | None:  # noqa: ANN401 - what a file held
    """A side of an image in whole pixels, at least 1."""
    read = whole(value)
    return read if read is not None and 0 < read < LARGEST_SIDE else None


def size_px(width: Any, height: Any) -> tuple[tuple[int, int] | None, str | None]:  # noqa: ANN401 - what a file held
    """Width and height in pixels, and what is wrong with them.

    Nothing, 0 and numbers below are as good as no size, as many files have them; anything else that is no size is told.
    """
    sides = side_px(width), side_px(height)
    if sides[0] is not None and sides[1] is not None:
        return (sides[0], sides[1]), None
    for name, value in (("width", width), ("height", height)):
        read = number(value)
        if value is not None and side_px(value) is None and (read is None or read > 0):
            return None, expected(name, "a whole number of pixels", value)
    return None, None


def expected(name: str, what: str, got: Any) -> str:  # noqa: ANN401 - what a file held
    """The message for a value that is not what it should be."""
    return f"{name}: expected {what}, got {brief(got)}"
