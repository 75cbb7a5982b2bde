"""Removal of duplicates: of regions that overlap the best one stays, and parts of a thing are not things again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from umgclip.geometry import boxes as box_ops
from umgclip.inference.detecting.candidates import Candidates

_SAMPLED_PX = 256  # masks are compared on a grid of about this longer side


def distinct(
    candidates: Candidates,
    scores: Float[np.ndarray, " n"],
    label_ids: Int[np.ndarray, " n"],
    overlap: float,
    part: float,
) -> Int[np.ndarray, " m"]:
    """Return the rows that are no duplicate of a better one, best first; of equal scores the earlier row stays.

    Args:
        candidates: regions; masks are compared where there are any, else boxes.
        scores: of each region.
        label_ids: label of each region.
        overlap: IoU above which two regions are the same thing, whatever their labels.
        part: share of the smaller one of two regions with the same label, inside the larger one, above which they are
            the same thing: a part of it, or it together with something else.

    Example:
        >>> boxes = np.array([[0.0, 0, 8, 8], [0, 0, 4, 4], [0, 0, 4, 4]])  # (3, 4): a thing, and its corner twice
        >>> regions = Candidates(boxes, None, np.ones(3))
        >>> distinct(regions, np.array([0.9, 0.8, 0.7]), np.array([0, 0, 1]), overlap=0.5, part=0.7)
        array([0, 2])
    """
    shared, areas = _intersections(candidates)
    chosen: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        both = shared[row, chosen]
        iou = both / np.maximum(areas[row] + areas[chosen] - both, 1e-9)
        inside = both / np.maximum(np.minimum(areas[row], areas[chosen]), 1e-9)
        same = label_ids[chosen] == label_ids[row]
        if not (iou > overlap).any() and not (same & (inside > part)).any():
            chosen.append(int(row))
    return np.array(chosen, dtype=np.int64)


def _intersections(candidates: Candidates) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, " n"]]:
    """Return the areas of all pairwise intersections, and of the regions, on the scale of the comparison."""
    if candidates.masks is None or not candidates.masks:
        boxes = candidates.boxes_xyxy
        return box_ops.intersection(boxes, boxes), box_ops.area(boxes)
    flat = _sampled(candidates.masks).reshape(len(candidates.masks), -1).astype(np.float32)
    shared = (flat @ flat.T).astype(np.float64)
    return shared, shared.diagonal().copy()


def _sampled(masks: Sequence[Bool[np.ndarray, "height width"]]) -> Bool[np.ndarray, "n h w"]:
    """Return every n-th pixel of each mask; a mask that none of them hits gets one pixel."""
    step = max(1, -(-max(masks[0].shape) // _SAMPLED_PX))
    sampled = np.stack([mask[::step, ::step] for mask in masks])
    for row in np.flatnonzero(~sampled.any(axis=(1, 2))).tolist():
        y, x = np.argwhere(masks[row])[0]
        sampled[row, min(y // step, sampled.shape[1] - 1), min(x // step, sampled.shape[2] - 1)] = True
    return sampled
