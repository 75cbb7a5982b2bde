"""Masks as Label Studio stores brush strokes: rle-pack (thi.ng/umbrella, Apache-2.0) over RGBA pixels, row by row.

A header gives the number of values (32 bits), the bits of a value less one (5) and four sizes of run lengths less one
(4 each). Then come runs: a bit that says whether one value repeats, two bits that choose the size, the length less one,
and the value, or as many values as the length says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from umgclip.errors import InputError

_SIZES = (3, 4, 8, 16)  # bits of a run's length, as Label Studio writes them
_LONGEST = 1 << _SIZES[-1]
_CHANNELS, _ALPHA = 4, 3
_OPAQUE = 255
_HEADER_BITS = 32 + 5 + 4 * 4


def encode_brush(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """Return a mask as the bytes of a brush stroke: opaque white inside, transparent black outside.

    Example:
        >>> mask = np.array([[False, True], [True, True]])
        >>> bool((decode_brush(encode_brush(mask), (2, 2)) == mask).all())
        True
    """
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = [0, *edges.tolist()]
    ends = [*edges.tolist(), flat.size]
    bits = [f"{flat.size * _CHANNELS:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for start, end in zip(starts, ends, strict=True):
        value = f"{_OPAQUE if flat[start] else 0:08b}"
        left = (end - start) * _CHANNELS
        while left:
            length = min(left, _LONGEST)
            choice = next(i for i, size in enumerate(_SIZES) if length <= 1 << size)
            bits += ["1", f"{choice:02b}", f"{length - 1:0{_SIZES[choice]}b}", value]
            left -= length
    joined = "".join(bits)
    joined += "0" * (-len(joined) % 8)
    return list(int(joined, 2).to_bytes(len(joined) // 8, "big"))


def decode_brush(rle: Sequence[object], size_hw: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Return the pixels that a brush stroke covers, however lightly.

    Args:
        rle: bytes as whole numbers, such as `value.rle` of a result of `BrushLabels`.
        size_hw: height and width of the image in pixels.

    Raises:
        InputError: they are no bytes, end too early, or describe another number of pixels.
    """
    data = [n for n in rle if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 255]
    expected = size_hw[0] * size_hw[1] * _CHANNELS
    if len(data) < len(rle) or 8 * len(data) < _HEADER_BITS:
        raise InputError(f"rle: expected bytes of a brush stroke, got {str(list(rle[:8]))[:80]}")
    bits = _Bits(bytes(data))
    total, word = bits.read(32), bits.read(5) + 1
    sizes = [bits.read(4) + 1 for _ in range(4)]
    if total != expected or word > 8:
        raise InputError(f"rle: expected {expected} values of 8 bits ({size_hw[1]} x {size_hw[0]}), got {total}")
    values = np.zeros(total, np.uint8)
    place = 0
    while place < total:
        repeats = bits.read(1)
        end = place + 1 + bits.read(sizes[bits.read(2)])
        if end > total:
            raise InputError(f"rle: expected runs of {total} values together, got more")
        if repeats:
            values[place:end] = bits.read(word)
        else:
            values[place:end] = [bits.read(word) for _ in range(end - place)]
        place = end
    return values.reshape(*size_hw, _CHANNELS)[..., _ALPHA] > 0


class _Bits:
    """Numbers of any width, read from bytes one after the other."""

    def __init__(self, data: bytes) -> None:
        self._bits = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"
        self._place = 0

    def read(self, width: int) -> int:
        """Return the next number; raise an `InputError` if the bytes end before it."""
        end = self._place + width
        if end > len(self._bits):
            raise InputError("rle: expected more bytes, it ends within a run")
        value = int(self._bits[self._place : end], 2)
        self._place = end
        return value
