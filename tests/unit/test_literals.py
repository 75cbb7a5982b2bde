"""Literals and arrays of files: what cannot be read is a `ValueError`, from any number of threads."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from umgclip.literals import read_literal, read_npy


def stored(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_arrays_come_as_they_were_stored():
    for array in (np.arange(6, dtype=np.float16).reshape(2, 3), np.zeros((0, 4)), np.asfortranarray(np.eye(3))):
        np.testing.assert_array_equal(read_npy(stored(array)), array, strict=True)


def test_a_damaged_array_is_a_value_error_or_an_array():
    good = stored(np.arange(6, dtype=np.float16).reshape(2, 3))
    refused = 0
    for at in range(128):  # the head
        for flip in (1, 4, 16, 64, 255):
            try:
                read_npy(good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :])
            except ValueError:
                refused += 1
    assert refused > 200
    for size in range(len(good)):
        with pytest.raises(ValueError):  # noqa: PT011 - NumPy's texts, of which there are many
            read_npy(good[:size])


def test_objects_and_archives_are_no_arrays():
    for data in (stored(np.array([{}], dtype=object)), b"PK\x03\x04" + bytes(40)):
        with pytest.raises(ValueError):  # noqa: PT011 - NumPy's texts
            read_npy(data)


def test_literals_are_read_and_nothing_else():
    assert read_literal("['a', b'b', {1: (2.5, None)}]") == ["a", b"b", {1: (2.5, None)}]
    for text in ("print(1)", "[1", "(" * 5000, "{[]: 1}", "1" * 5000, "\0"):
        with pytest.raises(ValueError, match="expected a literal of Python, got"):
            read_literal(text)


def test_threads_may_read_at_once():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            shapes = list(pool.map(lambda size: read_npy(stored(np.zeros((size, 2)))).shape, range(400)))
    finally:
        sys.setswitchinterval(before)
    assert shapes == [(size, 2) for size in range(400)]
