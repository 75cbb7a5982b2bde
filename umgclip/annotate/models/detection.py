"""Conversion of the boxes of a detector into proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from umgclip.annotate.proposal import Box, Proposal
from umgclip.annotate.rejected import Rejected
from umgclip.annotate.roles import Partly
from umgclip.annotate.rules.overlap import suppressed
from umgclip.records import Text


class Detection(NamedTuple):
    """One box in pixels with its score and its label, which is None for a class-agnostic box."""

    box_xyxy: Box
    score: float
    label: str | None = None
    is_stuff: bool = False


def to_proposals(
    detections: Sequence[Detection], image_hw: tuple[int, int], source: str, most: int, nms_iou: float | None = None
) -> list[Proposal]:
    """Return the best boxes of a detector by descending score, things before stuff, each with its label as a tag.

    Boxes that are not finite, or with less than a pixel inside the image, are refused and reported with the answer.

    Args:
        detections: boxes, which are clipped to the image here.
        image_hw: height and width in pixels.
        source: name of the model.
        most: the largest number of proposals.
        nms_iou: IoU above which boxes with the same label are duplicates; None: the model has removed duplicates.
    """
    refused = [_refused(one, "not_finite", source) for one in detections if not _is_finite(one)]
    finite = [one for one in detections if _is_finite(one)]
    boxes = np.array([one.box_xyxy for one in finite], np.float64).reshape(-1, 4)
    scores = np.array([one.score for one in finite], np.float64)
    duplicates = suppressed(boxes, scores, [one.label for one in finite], nms_iou, None)
    order = [int(row) for row in np.argsort(-scores, kind="stable") if row not in duplicates]
    proposals = []
    for row in order[:most]:
        one = finite[row]
        proposal = Proposal.of_box(one.box_xyxy, image_hw, one.score)
        if proposal is None:
            refused.append(_refused(one, "under_a_pixel", source))
            continue
        tags = (Text(text=one.label, score=proposal.score, source=source),) if one.label else ()
        proposals.append(replace(proposal, source=source, is_stuff=one.is_stuff, tags=tags))
    proposals.sort(key=lambda p: p.is_stuff)
    return Partly(proposals, refused) if refused else proposals


def _is_finite(one: Detection) -> bool:
    return bool(np.isfinite([*one.box_xyxy, one.score]).all())


def _refused(one: Detection, reason: str, source: str) -> Rejected:
    """Return a box that is refused because it is not a region of its image."""
    box = [round(float(side), 4) for side in one.box_xyxy]
    tag = Text(text=one.label, score=0.0, source=source) if one.label else None
    return Rejected("proposer", reason, tag, source=source, detail=f"box {box}")
