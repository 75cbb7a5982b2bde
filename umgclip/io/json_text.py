"""JSON that others wrote: its texts come out well formed, and whatever is wrong with it is a `ValueError`.

Numbers may be what JSON does not know (`NaN`, `Infinity`, `1e999`), and whole numbers of thousands of digits are
infinite: what may be done with a value is for those to say who know what it means.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from umgclip.safe_text import well_formed


class TooDeepError(ValueError):
    """Lists or objects stand in each other hundreds deep."""


_MOST_DIGITS = 4000  # Python reads no more at once
_plain = json.JSONDecoder().raw_decode


def _whole(digits: str) -> int | float:
    if len(digits) <= _MOST_DIGITS:
        return int(digits)
    return -math.inf if digits.startswith("-") else math.inf


_patient: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(parse_int=_whole).raw_decode


def parse(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse the one value that a text holds.

    Raises:
        TooDeepError: its lists or objects stand in each other hundreds deep.
        ValueError: it is no JSON.
    """
    start = len(text) - len(text.lstrip(" \t\r\n"))
    value, end = parse_at(text, start)
    if text[end:].strip(" \t\r\n"):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def parse_at(text: str, at: int) -> tuple[Any, int]:
    """Parse the value that begins at a character; return it and the position of its end.

    Raises:
        TooDeepError, ValueError: as `parse`.
    """
    try:
        value, end = _read(text, at)
    except RecursionError as error:
        raise TooDeepError("too many brackets inside each other") from error
    return (_mended(value) if _may_hold_halves(text, at, end) else value), end


def _read(text: str, at: int) -> tuple[Any, int]:
    try:
        return _plain(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a whole number of more digits than Python reads
        return _patient(text, at)


def _may_hold_halves(text: str, at: int, end: int) -> bool:
    return text.find("\\ud", at, end) >= 0 or text.find("\\uD", at, end) >= 0


def _mended(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [_mended(inner) for inner in value]
    if isinstance(value, dict):
        return {well_formed(name): _mended(inner) for name, inner in value.items()}
    return value
