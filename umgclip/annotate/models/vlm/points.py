"""Regions for points: a point is no box, so the segment that holds it becomes the region.

The segments are those of the built-in segment tree with its default parameters: of the things that hold the point, the
one with the best objectness. The point stays with the region, and SAM 2 as masker draws its mask from the point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from umgclip.annotate.models.detection import Detection
from umgclip.annotate.models.segment_tree import SegmentTree
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Rejected
from umgclip.params import ProposerParams
from umgclip.records import Text


def regions_at(pixels: Pixels, points: Sequence[Detection], source: str) -> tuple[list[Proposal], list[Rejected]]:
    """Return the region of each point by descending score, and the points that no segment holds.

    Args:
        pixels: the whole image.
        points: the points in pixels of the image; a point is a box without width and height.
        source: name of the model.
    """
    if not points:
        return [], []
    segments = SegmentTree(ProposerParams()).propose(pixels)
    masks = [segment.mask for segment in segments]
    proposals, refused = [], []
    height, width = pixels.shape[:2]
    for point in sorted(points, key=lambda one: -one.score):
        x, y = (min(max(int(at), 0), side - 1) for at, side in zip(point.box_xyxy[:2], (width, height), strict=True))
        row = next((i for i, s in enumerate(segments) if s.is_stuff == point.is_stuff and masks[i][y, x]), None)
        tag = None if point.label is None else Text(text=point.label, score=point.score, source=source)
        if row is None:
            refused.append(Rejected("proposer", "no_region", tag, source=source, detail=f"point [{x}, {y}]"))
        else:
            tags = () if tag is None else (tag,)
            at = (x + 0.5, y + 0.5)
            proposals.append(replace(segments[row], score=point.score, tags=tags, source=source, point_xy=at))
    return proposals, refused
