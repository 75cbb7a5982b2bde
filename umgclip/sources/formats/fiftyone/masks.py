"""Masks of boxes as FiftyOne stores them: compressed arrays, which are stretched over their box."""

from __future__ import annotations

import base64
import io
import math
import zlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool

from umgclip.geometry import masks as mask_ops
from umgclip.literals import read_npy
from umgclip.records import Mask

_MOST_BYTES = 1 << 28  # of a mask that is unpacked
Box = tuple[float, float, float, float]


def inside(mask: Mask, box_xyxy: Box) -> Bool[np.ndarray, "h w"]:
    """Return the pixels of a mask within its box, which FiftyOne stretches over the box."""
    x0, y0 = math.floor(box_xyxy[0]), math.floor(box_xyxy[1])
    x1, y1 = math.ceil(box_xyxy[2]), math.ceil(box_xyxy[3])
    return mask_ops.decode(mask)[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def packed(mask: np.ndarray) -> dict[str, Any]:
    """Return an array as FiftyOne writes it: NumPy's file, compressed, as binary of MongoDB's extended JSON."""
    buffer = io.BytesIO()
    np.save(buffer, mask, allow_pickle=False)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(buffer.getvalue())).decode(), "subType": "00"}}


def unpacked(value: Mapping[str, Any]) -> Bool[np.ndarray, "h w"]:
    """Unpack the mask of a box.

    Raises:
        ValueError: it is no packed array of two dimensions.
    """
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(value["$binary"]["base64"]), _MOST_BYTES)
        mask = read_npy(data)
    except (zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"mask: expected a packed array, got {str(value)[:40]!r}") from error
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"mask: expected an array of height and width, got {mask.shape}")
    return mask > 0


def placed(mask: Bool[np.ndarray, "h w"], box_xyxy: Box, size_wh: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """Return the mask of a box as one of the image, stretched over the pixels that the box touches.

    Raises:
        ValueError: the box is outside the image.
    """
    width, height = size_wh
    tiny = 1e-6  # shares of the image do not come back to the last digit
    x0, y0 = max(0, math.floor(box_xyxy[0] + tiny)), max(0, math.floor(box_xyxy[1] + tiny))
    x1, y1 = min(width, math.ceil(box_xyxy[2] - tiny)), min(height, math.ceil(box_xyxy[3] - tiny))
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"bounding_box: expected a box inside {width} x {height} pixels")
    whole = np.zeros((height, width), bool)
    if mask.shape != (y1 - y0, x1 - x0):
        mask = cv2.resize(mask.astype(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST) > 0
    whole[y0:y1, x0:x1] = mask
    return whole
