"""Proposals with masks: the hierarchical grouping of selective search over the foreground.

Selective search (Uijlings et al., IJCV 2013) starts from a graph segmentation (Felzenszwalb and Huttenlocher, IJCV
2004) and joins the most similar neighbours until one region is left; every region on the way is a proposal. OpenCV's
version gives boxes only. This one gives masks, and leaves the background out of the grouping: what looks like the
image's border is not an object. That reduces the candidates to a third, separates objects that touch, and ends regions
where the background begins.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from umgclip.annotate.models.foreground import foreground
from umgclip.annotate.proposal import Pixels
from umgclip.annotate.roles import Proposal
from umgclip.geometry import masks as mask_ops
from umgclip.geometry.background import smooth_lab
from umgclip.params import ProposerParams

_BINS = 8  # per colour channel of Lab


class SegmentTree:
    """A proposer of segments, their unions on the way up, and connected pieces of the foreground."""

    name = "segment-tree/2"

    def __init__(self, params: ProposerParams) -> None:
        self._params = params

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal]]:
        """Return the proposals of each image; captions are ignored."""
        del captions
        return [self.propose(pixels) for pixels in images]

    def propose(self, pixels: UInt8[np.ndarray, "h w 3"]) -> list[Proposal]:
        """Return class-agnostic things by descending score, then the background as one stuff region.

        An image larger than `working_px` is segmented at a smaller scale and its masks are enlarged, so it costs no
        more time and memory than a small one.
        """
        height, width = pixels.shape[:2]
        scale = self._params.working_px / max(height, width)
        if scale >= 1:
            return self._propose(pixels)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = self._propose(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
        enlarged = [(p, mask_ops.enlarged(p.mask, (height, width))) for p in small]
        return [Proposal(mask_ops.encode(mask), p.score, is_stuff=p.is_stuff) for p, mask in enlarged if mask.any()]

    def _propose(self, pixels: UInt8[np.ndarray, "h w 3"]) -> list[Proposal]:
        height, width = pixels.shape[:2]
        front = foreground(pixels, self._params.background_distance, self._params.min_area)
        segments = _cut_to(self._segments(pixels), front)
        is_thing = np.bincount(segments.ravel(), front.ravel()) > 0
        low, high = self._params.min_area * height * width, self._params.max_area * height * width
        distinct: dict[bytes, Bool[np.ndarray, "h w"]] = {}
        for mask in [*_components(front), *_unions(segments, is_thing, smooth_lab(pixels))]:
            if low <= mask.sum() <= high:
                distinct.setdefault(mask.tobytes(), mask)
        things = sorted(
            (Proposal.of_mask(mask, _objectness(mask)) for mask in distinct.values()), key=lambda p: -p.score
        )
        things = things[: self._params.most]
        ground = ~front
        stuff = [Proposal.of_mask(ground, 1.0, is_stuff=True)] if ground.sum() >= low else []
        return [*things, *stuff]

    def _segments(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
        minimum = max(4, int(self._params.min_segment * pixels.shape[0] * pixels.shape[1]))
        graph = cv2.ximgproc.segmentation.createGraphSegmentation(0.5, self._params.graph_scale, minimum)
        return graph.processImage(pixels)


def _cut_to(segments: Int[np.ndarray, "h w"], front: Bool[np.ndarray, "h w"]) -> Int[np.ndarray, "h w"]:
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
    _, numbered = np.unique(np.where(front, segments * count + pieces, -1), return_inverse=True)
    return numbered.reshape(front.shape)


def _components(foreground: Bool[np.ndarray, "h w"]) -> list[Bool[np.ndarray, "h w"]]:
    count, labels = cv2.connectedComponents(foreground.astype(np.uint8), connectivity=4)
    return [labels == index for index in range(1, count)]


def _objectness(mask: Bool[np.ndarray, "h w"]) -> float:
    """Score how compact and large a mask is.

    The score is its share of its box times the fourth root of its share of the image, 0 to 1.
    """
    x0, y0, x1, y1 = mask_ops.box_of(mask)
    pixels = float(mask.sum())
    return float(np.clip(pixels / ((x1 - x0) * (y1 - y0)) * (pixels / mask.size) ** 0.25, 0, 1))


class _Grouping:
    """Regions that can be joined, with their members, sizes, colour histograms, boxes and neighbours."""

    def __init__(
        self, segments: Int[np.ndarray, "h w"], is_thing: Bool[np.ndarray, "n"], lab: Float[np.ndarray, "h w 3"]
    ) -> None:
        count = len(is_thing)
        flat = segments.ravel()
        self.pixels = segments.size
        ids = np.flatnonzero(is_thing)
        sizes = np.bincount(flat, minlength=count).astype(float)
        bins = np.clip(lab / (256 / _BINS), 0, _BINS - 1).astype(int) @ np.array([_BINS**2, _BINS, 1])
        histogram = np.bincount(flat * _BINS**3 + bins.ravel(), minlength=count * _BINS**3).reshape(count, -1)
        self.size = {int(i): sizes[i] for i in ids}
        self.colour = {int(i): histogram[i] / sizes[i] for i in ids}
        self.members: dict[int, tuple[int, ...]] = {int(i): (int(i),) for i in ids}
        self.box = {int(i): _box(segments == i) for i in ids}
        self.near: dict[int, set[int]] = {int(i): set() for i in ids}
        for a, b in ((segments[:, :-1], segments[:, 1:]), (segments[:-1], segments[1:])):
            edge = (a != b) & is_thing[a] & is_thing[b]
            for one, other in np.unique(np.stack([a[edge], b[edge]], 1), axis=0).tolist():
                self.near[one].add(other)
                self.near[other].add(one)
        self._next = count

    def similarity(self, a: int, b: int) -> float:
        """Return the similarity by colour, size and fill, as in selective search.

        The last two keep regions small and compact.
        """
        x0, y0 = np.minimum(self.box[a][:2], self.box[b][:2])
        x1, y1 = np.maximum(self.box[a][2:], self.box[b][2:])
        both = self.size[a] + self.size[b]
        fill = 1 - ((x1 - x0) * (y1 - y0) - both) / self.pixels
        return float(np.minimum(self.colour[a], self.colour[b]).sum() + 3 * (1 - both / self.pixels) + 3 * fill)

    def join(self, a: int, b: int) -> int:
        """Join two regions and return the new one."""
        c, self._next = self._next, self._next + 1
        both = self.size[a] + self.size[b]
        self.colour[c] = (self.colour[a] * self.size[a] + self.colour[b] * self.size[b]) / both
        self.size[c] = both
        self.members[c] = self.members[a] + self.members[b]
        low, high = np.minimum(self.box[a][:2], self.box[b][:2]), np.maximum(self.box[a][2:], self.box[b][2:])
        self.box[c] = np.concatenate([low, high])
        self.near[c] = (self.near[a] | self.near[b]) - {a, b}
        for other in self.near[c]:
            self.near[other] -= {a, b}
            self.near[other].add(c)
        return c


def _box(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "4"]:
    return np.array(mask_ops.box_of(mask))


def _unions(
    segments: Int[np.ndarray, "h w"], is_thing: Bool[np.ndarray, "n"], lab: Float[np.ndarray, "h w 3"]
) -> list[Bool[np.ndarray, "h w"]]:
    """Return the masks of all segments and of each union that the grouping makes."""
    groups = _Grouping(segments, is_thing, lab)
    unions = list(groups.members.values())
    pairs = {(a, b): groups.similarity(a, b) for a in groups.near for b in groups.near[a] if a < b}
    while pairs:
        a, b = max(pairs, key=lambda pair: (pairs[pair], pair))
        joined = groups.join(a, b)
        pairs = {pair: value for pair, value in pairs.items() if a not in pair and b not in pair}
        pairs.update({(other, joined): groups.similarity(other, joined) for other in groups.near[joined]})
        unions.append(groups.members[joined])
    chosen = np.zeros((len(unions), len(is_thing)), bool)
    for row, members in enumerate(unions):
        chosen[row, list(members)] = True
    return [row[segments] for row in chosen]
