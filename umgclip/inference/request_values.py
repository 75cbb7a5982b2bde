"""Checks of single values of a request, and how errors show them."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from umgclip.errors import DataError, InputError


def short(value: Any) -> str:  # noqa: ANN401 - any value of a request
    """Return a value as text of at most 80 characters; large arrays and texts are cut first."""
    return repr(value[:80] if isinstance(value, str | bytes | list | tuple) else value)[:80]


def is_absent(value: Any) -> bool:  # noqa: ANN401 - a cell of a table
    """Return True if a cell of a table is empty."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def flag(value: Any, where: str) -> bool:  # noqa: ANN401 - any value of a request
    """Return a value that has to be true or false.

    Raises:
        InputError: it is neither.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{where}: expected true or false, got {short(value)}")
    return bool(value)


def is_list(value: Any) -> bool:  # noqa: ANN401 - any value of a request
    """Return True for a list, a tuple or an array with a dimension."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def items(value: Any, where: str, kind: str) -> Sequence[Any]:  # noqa: ANN401 - any value of a request
    """Return a value as a list, of items of a kind that errors name.

    Raises:
        InputError: it is not a list.
    """
    if not is_list(value):
        raise InputError(f"{where}: expected a list of {kind}, got {short(value)}")
    return list(value)


def is_number(value: Any) -> bool:  # noqa: ANN401 - any value of a request
    """Return True for a finite number."""
    try:
        return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def file_bytes(value: Any, where: str) -> bytes:  # noqa: ANN401 - any value of a request
    """Return the bytes of a file given as bytes, base64 text or a `data:` URL.

    Raises:
        InputError: it is neither bytes nor text.
        DataError: the text is not base64.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: expected bytes or base64 text, got {type(value).__name__}")
    text = value.partition(";base64,")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: not valid base64 ({error})") from error
