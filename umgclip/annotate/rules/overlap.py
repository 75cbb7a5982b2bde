"""Class-aware non-maximum suppression, containment, and regions that came with the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from umgclip.geometry import boxes as box_ops


def suppressed(
    boxes_xyxy: Float[np.ndarray, "n 4"],
    scores: Float[np.ndarray, "n"],
    labels: Sequence[str | None],
    nms_iou: float | None,
    containment: float | None,
) -> dict[int, str]:
    """Boxes to leave out, with the reason; the best of each label are kept first, ties keep the earlier.

    Args:
        boxes_xyxy: in pixels.
        scores: of the boxes.
        labels: only boxes with the same label compete; None is a label of its own.
        nms_iou: a box with a larger IoU with a better one goes (`nms`); None: no such rule.
        containment: a box of which a larger share lies inside a better one goes (`contained`); None: no such rule.
    """
    reasons: dict[int, str] = {}
    if nms_iou is None and containment is None:
        return reasons
    order = np.argsort(-scores, kind="stable")
    for label in dict.fromkeys(labels):
        rows = [int(i) for i in order if labels[i] == label]
        own = boxes_xyxy[rows]
        overlaps = box_ops.iou(own, own)
        inside = box_ops.intersection(own, own) / np.maximum(box_ops.area(own), 1e-9)[:, None]
        kept: list[int] = []
        for position, row in enumerate(rows):
            if nms_iou is not None and any(overlaps[position, other] > nms_iou for other in kept):
                reasons[row] = "nms"
            elif containment is not None and any(inside[position, other] > containment for other in kept):
                reasons[row] = "contained"
            else:
                kept.append(position)
    return reasons


def best_overlap(boxes_xyxy: Float[np.ndarray, "n 4"], given_xyxy: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n"]:
    """Of each box, the largest IoU with one that came with the image; 0 where none came."""
    if not len(given_xyxy):
        return np.zeros(len(boxes_xyxy))
    return box_ops.iou(boxes_xyxy, given_xyxy).max(axis=1)
