"""Decoding of the masks of a request, PNG files and COCO run-length encodings, from untrusted clients."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image

from umgclip.errors import DataError, InputError
from umgclip.geometry.masks import to_grid
from umgclip.inference.request_values import file_bytes, is_number, short

_ZERO, _CHARS, _CHARS_OF_COUNT = 48, 64, 6  # a character holds 5 bits of a count; 6 hold more pixels than any image has


def masks_on_grid(
    masks: Sequence[Any], size_hw: tuple[int, int], grid_hw: tuple[int, int], where: str
) -> Float32[np.ndarray, "m gh gw"]:
    """Return masks on the patch grid; each is decoded and reduced before the next."""
    cells = np.zeros((len(masks), *grid_hw), np.float32)
    for index, value in enumerate(masks):
        field = f"{where}: masks[{index}]"
        mask = _decode_rle(value, size_hw, field) if isinstance(value, Mapping) else _decode_png(value, size_hw, field)
        if not mask.any():
            raise InputError(f"{field}: expected at least one pixel inside, got an empty mask")
        cells[index] = to_grid(mask, grid_hw)
    return cells


def _decode_png(value: Any, size_hw: tuple[int, int], where: str) -> Bool[np.ndarray, "h w"]:  # noqa: ANN401 - any value of a request
    if not isinstance(value, str | bytes):
        raise InputError(f"{where}: expected a COCO run-length encoding or a PNG file as base64, got {short(value)}")
    try:
        with Image.open(io.BytesIO(file_bytes(value, where)), formats=("PNG",)) as image:
            _check_size((image.height, image.width), size_hw, where)
            if image.mode.startswith("I"):  # 16-bit grey
                return np.asarray(image) > 0
            if (
                image.mode in ("1", "L") and "transparency" not in image.info
            ):  # this takes a quarter of the memory of the general case
                return np.asarray(image) > 0
            pixels = np.asarray(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: not a readable PNG file ({type(error).__name__}: {error})") from error
    inside = (pixels[..., 0] | pixels[..., 1] | pixels[..., 2]) > 0  # numpy's `any` over three values is slow
    return inside & (pixels[..., 3] > 0)


def _decode_rle(value: Mapping[str, Any], size_hw: tuple[int, int], where: str) -> Bool[np.ndarray, "h w"]:
    """Decode a compressed COCO run-length encoding, without pycocotools, which reads past the end of malformed text.

    Counts alternate between outside and inside, column by column. From the fourth on, a count is stored as the
    difference to the count two before, with 5 bits per character, lowest first, in two's complement.
    """
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(is_number(side) for side in size):
        raise InputError(f"{where}: size: expected [height, width], got {short(size)}")
    _check_size((size[0], size[1]), size_hw, f"{where}: size")
    if not isinstance(counts, str | bytes) or not counts:
        raise InputError(f"{where}: counts: expected the text of a compressed COCO encoding, got {short(counts)}")
    text = counts if isinstance(counts, bytes) else counts.encode("utf-8", "replace")
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - _ZERO
    ends = np.flatnonzero(digits & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1 if len(ends) else np.zeros(0, np.int64)
    whole = len(ends) > 0 and ends[-1] == len(digits) - 1 and lengths.max() <= _CHARS_OF_COUNT
    if not whole or digits.min() < 0 or digits.max() >= _CHARS:
        raise InputError(f"{where}: counts: expected the text of a compressed COCO encoding, got {short(counts)}")
    position = np.arange(len(digits)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((digits & 31) << (5 * position), starts)
    runs -= np.where(digits[ends] & 16, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    height, width = size_hw
    if runs.min() < 0 or runs.sum() != height * width:
        raise InputError(f"{where}: counts: expected runs of {height} x {width} pixels in all, got {short(counts)}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _check_size(got_hw: tuple[int, int], wanted_hw: tuple[int, int], where: str) -> None:
    if tuple(got_hw) != wanted_hw:
        height, width = wanted_hw
        raise InputError(
            f"{where}: expected the image's height {height} and width {width}, got {got_hw[0]} and {got_hw[1]}"
        )
