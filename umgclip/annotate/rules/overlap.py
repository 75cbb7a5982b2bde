"""Class-aware non-maximum suppression, containment, and overlap with regions of the source."""

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
    """Return the rows of boxes to remove, with the reason; of equal scores the earlier box stays.

    Args:
        boxes_xyxy: boxes in pixels.
        scores: scores of the boxes.
        labels: labels of the boxes; only boxes with the same label compete; None is a label like any other.
        nms_iou: a box whose IoU with a better one is larger is removed (`nms`); None: no such rule.
        containment: a box of which a larger share lies inside a better one is removed (`contained`); None: no such
            rule.
    """
    reasons: dict[int, str] = {}
    if nms_iou is None and containment is None:
        return reasons
    order = np.argsort(-scores, kind="stable")
    for label in dict.fromkeys(labels):
        rows = [int(i) for i in order if labels[i] == label]
        boxes = boxes_xyxy[rows]
        overlaps = box_ops.iou(boxes, boxes)
        inside = box_ops.intersection(boxes, boxes) / np.maximum(box_ops.area(boxes), 1e-9)[:, None]
        better: list[int] = []
        for position, row in enumerate(rows):
            if nms_iou is not None and any(overlaps[position, other] > nms_iou for other in better):
                reasons[row] = "nms"
            elif containment is not None and any(inside[position, other] > containment for other in better):
                reasons[row] = "contained"
            else:
                better.append(position)
    return reasons


def best_overlap(boxes_xyxy: Float[np.ndarray, "n 4"], given_xyxy: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n"]:
    """Return the largest IoU of each box with the boxes that came with the image; 0 where none came."""
    if not len(given_xyxy):
        return np.zeros(len(boxes_xyxy))
    return box_ops.iou(boxes_xyxy, given_xyxy).max(axis=1)
