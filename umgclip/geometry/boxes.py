"""Boxes as `xyxy` rows in absolute pixels, half-open: `[x0, y0, x1, y1)`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

Boxes = Float[np.ndarray, "n 4"]


def area(boxes_xyxy: Boxes) -> Float[np.ndarray, "n"]:
    """Return areas in square pixels; an inverted box has area 0."""
    sides = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def clip(boxes_xyxy: Boxes, width: int, height: int) -> Boxes:
    """Clip boxes to an image of `width` x `height` pixels."""
    limit = np.array([width, height, width, height], dtype=boxes_xyxy.dtype)
    return np.clip(boxes_xyxy, 0, limit)


def intersection(a_xyxy: Float[np.ndarray, "n 4"], b_xyxy: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Return the areas of all pairwise intersections in square pixels."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    return sides[..., 0] * sides[..., 1]


def iou(a_xyxy: Float[np.ndarray, "n 4"], b_xyxy: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Compute pairwise intersection over union; 0 where both are empty.

    Example:
        >>> first, second = np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])  # (1, 4), (2, 4)
        >>> iou(first, second).round(3)  # (1, 2)
        array([[0.333, 0.   ]])
    """
    shared = intersection(a_xyxy, b_xyxy)
    union = area(a_xyxy)[:, None] + area(b_xyxy)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def nms(boxes_xyxy: Boxes, scores: Float[np.ndarray, "n"], threshold: float) -> Int[np.ndarray, "kept"]:
    """Suppress non-maxima greedily; return the indices that stay, best score first; ties keep the earlier row.

    Example:
        >>> boxes = np.array([[0.0, 0, 2, 2], [0, 0, 2, 2.1], [5, 5, 6, 6]])  # (3, 4)
        >>> nms(boxes, np.array([0.6, 0.9, 0.5]), threshold=0.5)
        array([1, 2])
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = iou(boxes_xyxy, boxes_xyxy)
    chosen: list[int] = []
    for index in order:
        if all(overlaps[index, other] <= threshold for other in chosen):
            chosen.append(int(index))
    return np.array(chosen, dtype=np.int64)


def expand(boxes_xyxy: Boxes, factor: float) -> Boxes:
    """Scale boxes by `factor` around their centres; they are not clipped to the image.

    Example:
        >>> expand(np.array([[1.0, 1, 3, 3]]), 2.0)  # (1, 4)
        array([[0., 0., 4., 4.]])
    """
    centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * (factor / 2)
    return np.concatenate([centre - half, centre + half], axis=1)
