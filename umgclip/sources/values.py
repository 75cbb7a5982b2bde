"""Checks for numbers, sizes, flags and texts at the point where they are read from a file.

Each function returns the value, or None where it is unusable; `expected` builds the message for that case.
"""

from __future__ import annotations

import math
from typing import Any

from umgclip.data.wording import tidy
from umgclip.safe_text import brief

_LARGEST_ID = 1 << 256  # programs write hashes as ids
LARGEST_SIDE = 1 << 24  # px; no readable image has such a side
_YES, _NO = frozenset(("1", "true", "yes", "y")), frozenset(("0", "false", "no", "n", ""))


def number(value: Any) -> float | None:  # noqa: ANN401 - what a file held
    """Return a finite number, also from text ("64.0"); None for a Boolean and everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def whole(value: Any) -> int | None:  # noqa: ANN401 - what a file held
    """Return a whole number, also from 64.0 or "64.0"; integers of any length stay exact."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    read = number(value)
    return int(read) if read is not None and read == int(read) else None


def share(value: Any) -> float | None:  # noqa: ANN401 - what a file held
    """Return a score clipped to 0 to 1; None if it is not a finite number."""
    read = number(value)
    return None if read is None else min(max(read, 0.0), 1.0)


def flag(value: Any) -> bool | None:  # noqa: ANN401 - what a file held
    """Return a Boolean from true and false, 1 and 0, or these as text ("0" is false)."""
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _YES else False if word in _NO else None
    read = number(int(value) if isinstance(value, bool) else value)
    return bool(read) if read in (0.0, 1.0) else None


def ident(value: Any) -> str | None:  # noqa: ANN401 - what a file held
    """Return an id as text: a text, or a whole number, so that 7, 7.0 and "7" are the same id."""
    if isinstance(value, str):
        return value.strip() or None
    read = whole(value)
    return None if read is None else str(read) if abs(read) < _LARGEST_ID else None


def words(value: Any) -> str | None:  # noqa: ANN401 - what a file held
    """Return a text with whitespace normalised; None if it has no words."""
    return (tidy(value) or None) if isinstance(value, str) else None


def side_px(value: Any) -> int | None:  # noqa: ANN401 - what a file held
    """Return an image side in whole pixels, at least 1 and below 2**24."""
    read = whole(value)
    return read if read is not None and 0 < read < LARGEST_SIDE else None


def size_px(width: Any, height: Any) -> tuple[tuple[int, int] | None, str | None]:  # noqa: ANN401 - what a file held
    """Return width and height in pixels, and a message if they are wrong.

    A missing size, 0 and negative numbers count as no size, since many files have them; any other bad value gets a
    message.
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
    """Build the message for a value that is not what it should be."""
    return f"{name}: expected {what}, got {brief(got)}"
