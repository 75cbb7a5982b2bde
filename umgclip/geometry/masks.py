"""Masks as boolean arrays (height, width), stored as compressed COCO run-length encodings.

Only this module calls pycocotools, whose C code trusts sizes, counts and coordinates: it reads past the
end of malformed text, and reserves memory by the length of an outline. So all of them are checked here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int64
from pycocotools import mask as coco_mask

from umgclip.errors import InputError
from umgclip.geometry.polygons import clipped, outline_px
from umgclip.records import MOST_PIXELS, Mask
from umgclip.safe_text import brief

MOST_OUTLINE_PX = 4_000_000  # of all polygons of a mask; pycocotools takes about 80 bytes a pixel
_MASKS_KEPT = 1024
FARTHEST = 1e12  # coordinate that can be cut at the image's border without loss
# 5 bits a character from "0" on, the next bit says whether more follow; 6 characters hold more than any image has
_COUNTS = re.compile(rb"(?:[P-o]{0,5}[0-O])+")


def encode(mask: Bool[np.ndarray, "h w"]) -> Mask:
    """Encode a mask as compressed COCO RLE.

    Example:
        >>> mask = np.array([[False, True], [False, True]])  # (2, 2)
        >>> encode(mask).size, bool((decode(encode(mask)) == mask).all())
        ((2, 2), True)
    """
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Mask(size=(mask.shape[0], mask.shape[1]), counts=rle["counts"].decode("ascii"))


def decode(mask: Mask) -> Bool[np.ndarray, "h w"]:
    """Decode a compressed COCO RLE to a mask.

    Raises:
        InputError: the counts do not describe `size` pixels, or there are more than 2^28 of them.
    """
    rle = _checked(mask)
    try:
        pixels = coco_mask.decode(rle)
    except (ValueError, MemoryError) as error:
        raise InputError(f"mask: expected a COCO RLE of size {mask.size}, got {mask.counts[:40]!r}") from error
    return pixels.astype(bool, order="C")  # OpenCV takes no other


def from_counts(counts: Sequence[object], size_hw: tuple[int, int]) -> Mask:
    """Read an uncompressed COCO RLE: runs outside and inside in turns, column by column.

    Raises:
        InputError: the counts are no whole numbers, or do not add up to the pixels of `size_hw`.
    """
    height, width = _size(size_hw)
    runs = [n for n in counts if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    if len(runs) < len(counts) or sum(runs) != height * width:
        raise InputError(f"mask: expected counts of {height * width} pixels together, got {brief(list(counts[:20]))}")
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return Mask(size=(height, width), counts=rle["counts"].decode("ascii"))


def from_polygons(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> Mask:
    """Rasterise polygons as COCO does; parts far outside the image are cut off first.

    Args:
        polygons: each as x, y, x, y and so on, three points or more.
        size_hw: of the mask.

    Raises:
        InputError: a coordinate is not finite or absurdly far away, or the outline is millions of pixels long.

    Example:
        >>> square = from_polygons([[1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0]], size_hw=(4, 4))
        >>> area(square), tight_box(square)
        (4, (1.0, 1.0, 3.0, 3.0))
    """
    height, width = _size(size_hw)
    usable = []
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2 or not all(math.isfinite(n) and abs(n) <= FARTHEST for n in polygon):
            raise InputError(f"mask: expected polygons of three points or more, x and y in turn, got {brief(polygon)}")
        near = clipped(polygon, width, height)
        if near:
            usable.append(near)
    length = sum(outline_px(polygon) for polygon in usable)
    if length > MOST_OUTLINE_PX:
        raise InputError(f"mask: expected outlines of at most {MOST_OUTLINE_PX} pixels together, got {length:.3g}")
    if not usable:
        return encode(np.zeros((height, width), bool))
    parts = coco_mask.frPyObjects(usable, height, width)
    merged = coco_mask.merge(parts) if len(parts) > 1 else parts[0]
    return Mask(size=(height, width), counts=merged["counts"].decode("ascii"))


def area(mask: Mask) -> int:
    """Count the pixels inside, without decoding.

    Raises:
        InputError: it is no COCO RLE.
    """
    return int(_checked_runs(mask)[1::2].sum())


def tight_box(mask: Mask) -> tuple[float, float, float, float] | None:
    """Return the tightest half-open box `xyxy` around an encoded mask, in pixels; None if it is empty.

    Raises:
        InputError: it is no COCO RLE.
    """
    rle = _checked(mask)
    if not coco_mask.area(rle):
        return None
    x, y, width, height = (float(side) for side in coco_mask.toBbox(rle))
    return x, y, x + width, y + height


def _checked(mask: Mask) -> dict[str, object]:
    """Check a mask and return it as pycocotools may read it."""
    _checked_runs(mask)
    return {"size": list(mask.size), "counts": mask.counts.encode("ascii")}


def _checked_runs(mask: Mask) -> Int64[np.ndarray, "n"]:
    """Check a mask and return the lengths of its runs."""
    return _checked_runs_of(mask.size, mask.counts)  # comparing a tuple and a text is faster than comparing two masks


@lru_cache(_MASKS_KEPT)
def _checked_runs_of(size_hw: tuple[int, int], rle: str) -> Int64[np.ndarray, "n"]:
    """Check a mask and return the lengths of its runs; a reader checks a record's masks before it uses them."""
    height, width = _size(size_hw)
    counts = rle.encode("ascii", "ignore")
    if len(counts) < len(rle) or _COUNTS.fullmatch(counts) is None:
        raise InputError(f"mask: expected a COCO RLE of size {size_hw}, got {rle[:40]!r}")
    runs = _runs(counts)
    if int(runs.sum()) != height * width or int(runs.min()) < 0:
        expected = f"a COCO RLE of {height * width} pixels ({height} x {width})"
        raise InputError(f"mask: expected {expected}, got runs of {int(runs.sum())}: {rle[:40]!r}")
    runs.flags.writeable = False
    return runs


def _runs(counts: bytes) -> Int64[np.ndarray, "n"]:
    """Return the lengths of a compressed RLE's runs, outside and inside in turns.

    pycocotools writes into memory that it has not cleared: of runs that end too early the rest would be what stood
    there before. A run is written as little-endian groups of 5 bits, two's complement, and from the fourth on as the
    difference to the one but one before it (`rleToString` of the COCO API).
    """
    groups = np.frombuffer(counts, np.uint8).astype(np.int64) - ord("0")
    ends = np.flatnonzero((groups & 0x20) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digit = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    runs = np.add.reduceat((groups & 0x1F) << (5 * digit), starts)
    negative = (groups[ends] & 0x10) != 0
    runs -= np.where(negative, np.int64(1) << (5 * (ends - starts + 1)), 0)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs


def _size(size_hw: tuple[int, int]) -> tuple[int, int]:
    height, width = size_hw
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise InputError(f"mask: expected a size of 1 to {MOST_PIXELS} pixels, got {height} x {width}")
    return height, width


def box_of(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
    """Return the tightest half-open box `xyxy` around a mask, in pixels.

    Raises:
        InputError: the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise InputError("mask: expected at least one pixel, got an empty mask")
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def iou(a: Bool[np.ndarray, "n h w"], b: Bool[np.ndarray, "m h w"]) -> Float[np.ndarray, "n m"]:
    """Compute pairwise intersection over union; 0 where both are empty."""
    flat_a = a.reshape(len(a), -1).astype(np.float32)
    flat_b = b.reshape(len(b), -1).astype(np.float32)
    shared = flat_a @ flat_b.T
    union = flat_a.sum(1)[:, None] + flat_b.sum(1)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def encoded_iou(one: Mask, others: Sequence[Mask]) -> Float[np.ndarray, "n"]:
    """Compute the intersection over union of a mask with each of the others, all of one size, without decoding.

    Raises:
        InputError: one of them is no COCO RLE.

    Example:
        >>> left, all_of_it = encode(np.array([[True, False]])), encode(np.array([[True, True]]))
        >>> encoded_iou(left, [left, all_of_it]).tolist()
        [1.0, 0.5]
    """
    if not others:
        return np.zeros(0)
    return np.asarray(coco_mask.iou([_checked(one)], [_checked(other) for other in others], [0] * len(others)))[0]


def enlarged(mask: Bool[np.ndarray, "h w"], size_hw: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """Enlarge a mask to a larger image: the edge runs where interpolation gives one half."""
    grey = cv2.resize(mask.astype(np.uint8) * 255, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return grey > 127


def to_grid(mask: Bool[np.ndarray, "h w"], grid_hw: tuple[int, int]) -> Float[np.ndarray, "gh gw"]:
    """Return the share of each grid cell that the mask covers (area resampling), 0 to 1.

    Example:
        >>> mask = np.array([[True, False, False, False], [True, True, False, False]])  # (2, 4)
        >>> to_grid(mask, (1, 2))
        array([[0.75, 0.  ]], dtype=float32)
    """
    return cv2.resize(mask.astype(np.float32), (grid_hw[1], grid_hw[0]), interpolation=cv2.INTER_AREA)


def encoded_to_grid(
    mask: Mask, window_xyxy: tuple[int, int, int, int], grid_hw: tuple[int, int]
) -> Float[np.ndarray, "gh gw"]:
    """Return the share of each cell of a window's grid that an encoded mask covers, 0 to 1, without decoding.

    It is `to_grid` of the part inside the window. The pixels inside before a place, column by column, grow evenly
    along a run, so counts between runs are exact, and a cell needs those at its borders only.

    Args:
        mask: compressed COCO RLE.
        window_xyxy: part of the image, in pixels, half-open.
        grid_hw: rows and columns that the window is divided into.

    Raises:
        InputError: it is no COCO RLE.

    Example:
        >>> mask = encode(np.array([[True, False, False, False], [True, True, False, False]]))  # (2, 4)
        >>> encoded_to_grid(mask, (0, 0, 4, 2), (1, 2)).tolist()
        [[0.75, 0.0]]
    """
    (x0, y0, x1, y1), (rows, columns), height = window_xyxy, grid_hw, mask.size[0]
    runs = _checked_runs(mask)
    ends = np.concatenate([[0], np.cumsum(runs)])
    before = np.concatenate([[0], np.cumsum(np.where(np.arange(len(runs)) % 2, runs, 0))])
    # columns of pixels that hold some of the mask
    low, high = max(x0, int(ends[1]) // height), min(x1, -(-int(ends[len(runs) // 2 * 2]) // height))
    if low >= high:
        return np.zeros(grid_hw)
    places = np.arange(low, high)[:, None] * height + (y0 + np.arange(rows + 1) * (y1 - y0) / rows)
    of_column = np.diff(np.interp(places, ends, before), axis=1)
    left_of = np.concatenate([np.zeros((1, rows)), np.cumsum(of_column, axis=0)])
    borders = np.clip(x0 + np.arange(columns + 1) * (x1 - x0) / columns - low, 0, high - low)
    whole = borders.astype(np.int64)
    rest = (borders - whole)[:, None]
    counts = left_of[whole] * (1 - rest) + left_of[np.minimum(whole + 1, high - low)] * rest
    return np.diff(counts, axis=0).T * (rows * columns / ((x1 - x0) * (y1 - y0)))


def boxes_to_grid(
    boxes_xyxy: Float[np.ndarray, "r 4"], window_xyxy: tuple[int, int, int, int], grid_hw: tuple[int, int]
) -> Float[np.ndarray, "r gh gw"]:
    """Return the share of each cell of a window's grid that boxes cover, 0 to 1.

    Args:
        boxes_xyxy: in pixels of the image.
        window_xyxy: part of the image, in pixels, half-open.
        grid_hw: rows and columns that the window is divided into.

    Example:
        >>> boxes_to_grid(np.array([[0.0, 0.0, 3.0, 2.0]]), (0, 0, 4, 2), (1, 2)).tolist()
        [[[1.0, 0.5]]]
    """
    x0, y0, x1, y1 = window_xyxy
    rows = _overlaps(boxes_xyxy[:, 1], boxes_xyxy[:, 3], y0, y1, grid_hw[0])
    columns = _overlaps(boxes_xyxy[:, 0], boxes_xyxy[:, 2], x0, x1, grid_hw[1])
    return rows[:, :, None] * columns[:, None, :]


def _overlaps(
    low: Float[np.ndarray, "r"], high: Float[np.ndarray, "r"], start: int, stop: int, cells: int
) -> Float[np.ndarray, "r cells"]:
    borders = start + np.arange(cells + 1) * (stop - start) / cells
    covered = np.minimum(high[:, None], borders[1:]) - np.maximum(low[:, None], borders[:-1])
    return np.clip(covered, 0, None) * (cells / (stop - start))
