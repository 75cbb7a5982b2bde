"""Masks as boolean arrays (height, width), stored as compressed COCO run-length encodings."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float
from pycocotools import mask as coco_mask

from umgclip.errors import InputError
from umgclip.records import Mask


def encode(mask: Bool[np.ndarray, "h w"]) -> Mask:
    """A mask as compressed COCO RLE."""
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Mask(size=(mask.shape[0], mask.shape[1]), counts=rle["counts"].decode("ascii"))


def decode(mask: Mask) -> Bool[np.ndarray, "h w"]:
    """A compressed COCO RLE as a mask.

    Raises:
        InputError: the counts do not describe `size` pixels.
    """
    try:
        pixels = coco_mask.decode({"size": list(mask.size), "counts": mask.counts.encode("ascii")})
    except (ValueError, MemoryError, UnicodeEncodeError) as error:
        raise InputError(f"mask: expected a COCO RLE of size {mask.size}, got {mask.counts[:40]!r}") from error
    return pixels.astype(bool, order="C")  # OpenCV takes no other


def area(mask: Mask) -> int:
    """Pixels inside, without decoding."""
    return int(coco_mask.area({"size": list(mask.size), "counts": mask.counts.encode("ascii")}))


def tight_box(mask: Mask) -> tuple[float, float, float, float] | None:
    """The tightest half-open box `xyxy` around an encoded mask, in pixels, without decoding; None: it is empty."""
    rle = {"size": list(mask.size), "counts": mask.counts.encode("ascii")}
    if not coco_mask.area(rle):
        return None
    x, y, width, height = (float(side) for side in coco_mask.toBbox(rle))
    return x, y, x + width, y + height


def box_of(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
    """The tightest half-open box `xyxy` around a mask, in pixels.

    Raises:
        InputError: the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise InputError("mask: expected at least one pixel, got an empty mask")
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def iou(a: Bool[np.ndarray, "n h w"], b: Bool[np.ndarray, "m h w"]) -> Float[np.ndarray, "n m"]:
    """Pairwise intersection over union; 0 where both are empty."""
    flat_a = a.reshape(len(a), -1).astype(np.float32)
    flat_b = b.reshape(len(b), -1).astype(np.float32)
    shared = flat_a @ flat_b.T
    union = flat_a.sum(1)[:, None] + flat_b.sum(1)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def to_grid(mask: Bool[np.ndarray, "h w"], grid_hw: tuple[int, int]) -> Float[np.ndarray, "gh gw"]:
    """The share of each grid cell that the mask covers (area resampling), 0 to 1."""
    return cv2.resize(mask.astype(np.float32), (grid_hw[1], grid_hw[0]), interpolation=cv2.INTER_AREA)
