"""The hierarchical grouping of selective search: the most similar neighbours are joined until none are left.

Similarity is by colour, size and fill, as in selective search (Uijlings et al., IJCV 2013); the last two keep regions
small and compact. A union is a set of segments, so nothing here grows with the pixels but the first counts.
"""

from __future__ import annotations

import heapq

import numpy as np
from jaxtyping import Bool, Float, Int

_BINS = 8  # per colour channel of Lab
_COLOURS = _BINS**3


def segment_boxes(segments: Int[np.ndarray, "h w"], count: int) -> Int[np.ndarray, "count 4"]:
    """Return the tightest half-open box `xyxy` around each segment, in pixels; every number below `count` occurs."""
    height, width = segments.shape
    rows = np.bincount((segments * height + np.arange(height)[:, None]).ravel(), minlength=count * height) > 0
    columns = np.bincount((segments * width + np.arange(width)).ravel(), minlength=count * width) > 0
    (y0, y1), (x0, x1) = (_ends(one.reshape(count, -1)) for one in (rows, columns))
    return np.stack([x0, y0, x1, y1], axis=1)


def _ends(occupied: Bool[np.ndarray, "n length"]) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    return occupied.argmax(axis=1), occupied.shape[1] - occupied[:, ::-1].argmax(axis=1)


def grouped(
    segments: Int[np.ndarray, "h w"],
    things: Int[np.ndarray, "t"],
    boxes_xyxy: Int[np.ndarray, "n 4"],
    lab: Float[np.ndarray, "h w 3"],
) -> Bool[np.ndarray, "u n"]:
    """Return which segments each union holds: those of one segment first, then in the order of the grouping.

    Args:
        segments: the number of the segment that each pixel belongs to.
        things: numbers of the segments that are grouped, ascending; the others stay out.
        boxes_xyxy: box of each segment.
        lab: colours, OpenCV's 8-bit Lab as float.
    """
    members = np.zeros((max(2 * len(things) - 1, 0), len(boxes_xyxy)), bool)
    members[np.arange(len(things)), things] = True
    if not len(things):
        return members
    place = np.full(len(boxes_xyxy), -1)
    place[things] = np.arange(len(things))
    groups = _Groups(place[segments], boxes_xyxy[things], lab)
    count = len(things)
    for a, b in groups.joins():
        members[count] = members[a] | members[b]
        count += 1
    return members[:count]


class _Groups:
    """Groups that can be joined, with their sizes, colour histograms, boxes and neighbours; segments come first."""

    def __init__(
        self, segments: Int[np.ndarray, "h w"], boxes_xyxy: Int[np.ndarray, "t 4"], lab: Float[np.ndarray, "h w 3"]
    ) -> None:
        """Count pixels and colours of the segments; a segment of -1 is left out."""
        count, self._pixels = len(boxes_xyxy), segments.size
        inside = segments >= 0
        levels = np.clip(lab[inside] / (256 / _BINS), 0, _BINS - 1).astype(int)
        bins = (levels[:, 0] * _BINS + levels[:, 1]) * _BINS + levels[:, 2]
        histograms = np.bincount(segments[inside] * _COLOURS + bins, minlength=count * _COLOURS)
        most = 2 * count - 1
        self._size, self._colour, self._box = np.zeros(most), np.zeros((most, _COLOURS)), np.zeros((most, 4))
        self._size[:count] = np.bincount(segments[inside], minlength=count)
        self._colour[:count] = histograms.reshape(count, -1) / self._size[:count, None]
        self._box[:count] = boxes_xyxy
        self._near: list[set[int]] = [set() for _ in range(count)]
        self._pairs: list[tuple[float, int, int]] = []
        edges = _edges(segments, count)
        for a, b in edges.tolist():
            self._near[a].add(b)
            self._near[b].add(a)
        for a in range(count):
            self._compare(a, edges[edges[:, 0] == a, 1])

    def joins(self) -> list[tuple[int, int]]:
        """Join the most similar neighbours until there are none, and return the pairs in order."""
        joined: list[tuple[int, int]] = []
        gone: set[int] = set()
        while self._pairs:
            _, a, b = heapq.heappop(self._pairs)
            a, b = -a, -b
            if a not in gone and b not in gone:
                self._join(a, b)
                gone |= {a, b}
                joined.append((a, b))
        return joined

    def _join(self, a: int, b: int) -> None:
        c, both = len(self._near), self._size[a] + self._size[b]
        self._colour[c] = (self._colour[a] * self._size[a] + self._colour[b] * self._size[b]) / both
        self._size[c] = both
        self._box[c, :2] = np.minimum(self._box[a, :2], self._box[b, :2])
        self._box[c, 2:] = np.maximum(self._box[a, 2:], self._box[b, 2:])
        near = (self._near[a] | self._near[b]) - {a, b}
        self._near.append(near)
        for other in near:
            self._near[other] -= {a, b}
            self._near[other].add(c)
        self._compare(c, np.array(sorted(near), int))

    def _compare(self, a: int, others: Int[np.ndarray, "o"]) -> None:
        """Queue pairs: the most similar comes first, of equal ones that with the highest numbers."""
        for value, other in zip(self._similarities(a, others).tolist(), others.tolist(), strict=True):
            heapq.heappush(self._pairs, (-value, -min(a, other), -max(a, other)))

    def _similarities(self, a: int, others: Int[np.ndarray, "o"]) -> Float[np.ndarray, "o"]:
        low = np.minimum(self._box[a, :2], self._box[others, :2])
        high = np.maximum(self._box[a, 2:], self._box[others, 2:])
        both = self._size[a] + self._size[others]
        fill = 1 - ((high - low).prod(axis=1) - both) / self._pixels
        colour = np.minimum(self._colour[a], self._colour[others]).sum(axis=1)
        return colour + 3 * (1 - both / self._pixels) + 3 * fill


def _edges(segments: Int[np.ndarray, "h w"], count: int) -> Int[np.ndarray, "e 2"]:
    """Return the pairs of segments that touch, the lower number first, ascending."""
    codes = []
    for a, b in ((segments[:, :-1], segments[:, 1:]), (segments[:-1], segments[1:])):
        touch = (a != b) & (a >= 0) & (b >= 0)
        one, other = a[touch], b[touch]
        codes.append(np.minimum(one, other) * count + np.maximum(one, other))
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), count), axis=1)
