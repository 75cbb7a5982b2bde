"""Python's literals and NumPy's files, which threads may read at once.

Both are read by CPython's `ast`, which counts the depth of its tree once for all threads: two that meet in it may fail
with `SystemError: AST constructor recursion depth mismatch` (https://github.com/python/cpython/issues/106905).
"""

from __future__ import annotations

import ast
import io
import threading
from tokenize import TokenError

import numpy as np

_ALONE = threading.Lock()
_UNREADABLE = (
    ValueError,
    EOFError,
    OSError,
    SyntaxError,
    TokenError,
    RecursionError,
    MemoryError,
    TypeError,
    OverflowError,
)


def read_literal(text: str) -> object:
    """Read a literal in Python's notation.

    Raises:
        ValueError: it is none, or is nested too deeply.
    """
    try:
        with _ALONE:
            value: object = ast.literal_eval(text)
    except _UNREADABLE as error:
        raise ValueError(f"expected a literal of Python, got {text[:40]!r}") from error
    return value


def read_npy(data: bytes) -> np.ndarray:
    """Read an array in NumPy's format, version 1 to 3, without pickled objects.

    Raises:
        ValueError: the data is no such array, or only a part of one.
    """
    try:
        with _ALONE:
            return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except _UNREADABLE as error:
        raise ValueError(f"not a readable array ({type(error).__name__}: {error})") from error
