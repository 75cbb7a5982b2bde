"""Proposals with masks: the hierarchical grouping of selective search over the foreground.

Selective search (Uijlings et al., IJCV 2013) starts from a graph segmentation (Felzenszwalb and Huttenlocher, IJCV
2004) and joins the most similar neighbours until one region is left; every region on the way is a proposal. OpenCV's
version gives boxes only. This one gives masks, and leaves the background out of the grouping: what looks like the
image's border is not an object. That reduces the candidates to a third, separates objects that touch, and ends regions
where the background begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from umgclip.geometry import masks as mask_ops
from umgclip.geometry.background import smooth_lab
from umgclip.params import ProposerParams
from umgclip.proposals.foreground import foreground
from umgclip.proposals.grouping import grouped, segment_boxes


class ProposedMask(NamedTuple):
    """A class-agnostic region of an image.

    Attributes:
        mask: its pixels, at the size of the image.
        score: objectness, 0 to 1.
        is_stuff: whether it is the background.
    """

    mask: Bool[np.ndarray, "height width"]
    score: float
    is_stuff: bool = False


class MaskTree:
    """A source of segments, their unions on the way up, and connected pieces of the foreground."""

    def __init__(self, params: ProposerParams) -> None:
        self._params = params

    def masks(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Iterator[ProposedMask]:
        """Yield class-agnostic things by descending score, then the background as one stuff region.

        An image larger than `working_px` is segmented at a smaller scale and its masks are enlarged one by one, so it
        costs no more time than a small one.
        """
        height, width = pixels.shape[:2]
        if not self.shrinks((height, width)):
            yield from self._propose(pixels)
            return
        scale = self._params.working_px / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        for small in self._propose(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)):
            mask = mask_ops.enlarged(small.mask, (height, width))
            if mask.any():
                yield small._replace(mask=mask)

    def shrinks(self, size_hw: tuple[int, int]) -> bool:
        """Return whether an image of this size is segmented at a smaller scale."""
        return max(size_hw) > self._params.working_px

    def _propose(self, pixels: UInt8[np.ndarray, "h w 3"]) -> list[ProposedMask]:
        height, width = pixels.shape[:2]
        front = foreground(pixels, self._params.background_distance, self._params.min_area)
        cut = _cut_to(self._segments(pixels), front)
        low, high = self._params.min_area * height * width, self._params.max_area * height * width
        boxes = segment_boxes(cut.segments, len(cut.piece))
        unions = grouped(cut.segments, np.flatnonzero(cut.piece), boxes, smooth_lab(pixels))
        pieces = cut.piece == np.arange(1, cut.piece.max(initial=0) + 1)[:, None]
        members = np.concatenate([pieces, unions])
        # all is known of a union before it has pixels, which are drawn for the best alone
        areas = members @ np.bincount(cut.segments.ravel(), minlength=len(cut.piece))
        distinct = {members[row].tobytes(): row for row in np.flatnonzero((areas >= low) & (areas <= high))[::-1]}
        scored = [
            (_objectness(int(areas[row]), boxes[members[row]], front.size), row) for row in sorted(distinct.values())
        ]
        scored.sort(key=lambda one: -one[0])
        things = [ProposedMask(members[row][cut.segments], score) for score, row in scored[: self._params.most]]
        ground = ~front
        stuff = [ProposedMask(ground, 1.0, is_stuff=True)] if ground.sum() >= low else []
        return [*things, *stuff]

    def _segments(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
        minimum = max(4, int(self._params.min_segment * pixels.shape[0] * pixels.shape[1]))
        graph = cv2.ximgproc.segmentation.createGraphSegmentation(0.5, self._params.graph_scale, minimum)
        return graph.processImage(pixels)


class _CutSegments(NamedTuple):
    """Segments of the foreground, numbered from 0, and the background as one more.

    Attributes:
        segments: the number of each pixel's segment.
        piece: the connected piece of the foreground that a segment belongs to, from 1; 0: it is the background.
    """

    segments: Int[np.ndarray, "h w"]
    piece: Int[np.ndarray, "n"]


def _cut_to(segments: Int[np.ndarray, "h w"], front: Bool[np.ndarray, "h w"]) -> _CutSegments:
    """Cut segments to the foreground, because the borders of segments alone miss the edges of objects.

    Segments that are mostly foreground keep their share of it; the rest of the foreground goes to the nearest of them.
    Pieces of the foreground that do not touch stay apart. The whole background becomes one segment.
    """
    is_thing = np.bincount(segments.ravel(), front.ravel()) > 0.5 * np.bincount(segments.ravel())
    sure = is_thing[segments] & front
    if sure.any():
        _, nearest = cv2.distanceTransformWithLabels(
            (~sure).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        segment_of = np.zeros(nearest.max() + 1, int)
        segment_of[nearest[sure]] = segments[sure]
        segments = segment_of[nearest]
    count, pieces = cv2.connectedComponents(front.astype(np.uint8), connectivity=4)
    parts = np.where(
        front, segments * count + pieces, 0
    )  # no part of the foreground has the number 0: its piece is not
    is_part = np.bincount(parts.ravel()) > 0
    return _CutSegments((np.cumsum(is_part) - 1)[parts], np.flatnonzero(is_part) % count)


def _objectness(pixels: int, boxes_xyxy: Int[np.ndarray, "n 4"], image_pixels: int) -> float:
    """Score how compact and large a union of segments is, by its pixels and the boxes of its segments.

    The score is its share of its box times the fourth root of its share of the image, 0 to 1.
    """
    x0, y0 = boxes_xyxy[:, :2].min(axis=0).tolist()
    x1, y1 = boxes_xyxy[:, 2:].max(axis=0).tolist()
    return min(pixels / ((x1 - x0) * (y1 - y0)) * (pixels / image_pixels) ** 0.25, 1.0)
