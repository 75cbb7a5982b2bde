"""Panoptic quality as panopticapi computes it (Kirillov et al. 2019, arXiv:1801.00868)."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer

from umgclip.errors import InputError
from umgclip.metrics.inputs import require_integers, require_shape

VOID = 0
_COUNTABLE = 1 << 20  # pairs of ids that are counted in a table, without sorting the pixels


@dataclass
class CategoryTally:
    """The counts of one category, and the IoU summed over its matches."""

    iou_sum: float = 0.0
    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def count(self) -> int:
        """Return the number of matches and misses.

        Returns:
            tp + fp + fn.
        """
        return self.true_positives + self.false_positives + self.false_negatives

    def quality(self) -> tuple[float, float, float]:
        """Compute panoptic, segmentation and recognition quality of the category.

        Returns:
            (pq, sq, rq), each in [0, 1]; all NaN where nothing was counted, sq 0 where nothing matched.
        """
        if self.count() == 0:
            return float("nan"), float("nan"), float("nan")
        weight = self.true_positives + 0.5 * self.false_positives + 0.5 * self.false_negatives
        segmentation = self.iou_sum / self.true_positives if self.true_positives else 0.0
        return self.iou_sum / weight, segmentation, self.true_positives / weight


@dataclass(frozen=True)
class _Overlaps:
    """Pixel counts of one image: row the true segment, column the predicted one, ids in rising order."""

    true_ids: list[int]
    pred_ids: list[int]
    pixels: Int64[np.ndarray, "true pred"]

    def area_of_pred_within(self, true_ids: Collection[int]) -> Int64[np.ndarray, " pred"]:
        rows = [row for row, true_id in enumerate(self.true_ids) if true_id in true_ids]
        area: np.ndarray = self.pixels[rows].sum(axis=0)
        return area


class PanopticQuality:
    """PQ, SQ and RQ over a benchmark, image by image.

    A predicted and a true segment of the same category match if their IoU is above 0.5, the prediction's void pixels
    taken out of the union. Unmatched true segments are false negatives unless they are crowd. Unmatched predictions
    are false positives unless more than half of their pixels lie in void or in crowd of their category. Where an
    image has several crowd segments of a category, all of them count (panopticapi uses the last only).

    Attributes:
        tallies: what each category has collected so far.
    """

    def __init__(self, categories: Collection[int], things: Collection[int]) -> None:
        """Start with nothing counted.

        Args:
            categories: ids of all categories.
            things: ids of those that have instances; the rest is stuff.

        Raises:
            InputError: no category, or a thing that is none of them.
        """
        if not categories:
            raise InputError("categories: expected at least one, got none")
        unknown = sorted(set(things) - set(categories))
        if unknown:
            raise InputError(f"things: expected ids among the categories, got {unknown}")
        self.tallies = {category: CategoryTally() for category in sorted(set(categories))}
        self._things = frozenset(things)

    def update(
        self,
        pred_ids: Integer[np.ndarray, "h w"],
        pred_segments: Mapping[int, int],
        true_ids: Integer[np.ndarray, "h w"],
        true_segments: Mapping[int, tuple[int, bool]],
    ) -> dict[int, CategoryTally]:
        """Match and count one image's segments.

        Args:
            pred_ids: predicted segment of each pixel; 0 where nothing is predicted.
            pred_segments: category of each predicted segment; every one has pixels.
            true_ids: true segment of each pixel; 0 is void.
            true_segments: (category, is it crowd) of each true segment; one without pixels is a false negative.

        Returns:
            What the image added to each category.

        Raises:
            InputError: shapes that disagree, a negative id, an id in a map that has no segment, a predicted segment
                that has no pixel, a segment with id 0, or an unknown category; nothing is counted then.
        """
        require_shape("true_ids", true_ids, "h w")
        require_shape("pred_ids", pred_ids, "h w", h=true_ids.shape[0], w=true_ids.shape[1])
        require_integers("true_ids", true_ids, low=0)
        require_integers("pred_ids", pred_ids, low=0)
        overlaps = _count_overlaps(pred_ids, true_ids)
        self._require_segments("pred", set(overlaps.pred_ids), pred_segments)
        self._require_segments("true", set(overlaps.true_ids), {key: value[0] for key, value in true_segments.items()})
        absent = sorted(set(pred_segments) - set(overlaps.pred_ids))
        if absent:
            raise InputError(f"pred_segments: expected segments that have pixels in pred_ids, got {absent}")
        image: defaultdict[int, CategoryTally] = defaultdict(CategoryTally)
        pred_of_true: dict[int, int] = {}
        for true_id, pred_id, iou in _matches(overlaps, pred_segments, true_segments):
            pred_of_true[true_id] = pred_id
            for tally in (self.tallies[pred_segments[pred_id]], image[pred_segments[pred_id]]):
                tally.true_positives += 1
                tally.iou_sum += iou
        for true_id, (category, is_crowd) in true_segments.items():
            if not is_crowd and true_id not in pred_of_true:
                image[category].false_negatives += 1
        for pred_id in set(pred_segments) - set(pred_of_true.values()):
            if not _is_excused(overlaps, pred_id, pred_segments[pred_id], true_segments):
                image[pred_segments[pred_id]].false_positives += 1
        for category, tally in image.items():
            self.tallies[category].false_negatives += tally.false_negatives
            self.tallies[category].false_positives += tally.false_positives
        return dict(image)

    def compute(self) -> dict[str, float | int]:
        """Average over the categories with tp + fp + fn above 0.

        Returns:
            ``{"pq", "sq", "rq", "n"}``: averages in [0, 1], and the number n of categories averaged; and
            ``{"pq_things", "sq_things", "rq_things", "pq_stuff", ...}``, NaN if no such category was counted.

        Raises:
            InputError: no category was counted.
        """
        quality = {category: tally.quality() for category, tally in self.tallies.items() if tally.count()}
        if not quality:
            raise InputError("update: expected at least one counted segment before compute, got none")
        pq, sq, rq = np.mean(list(quality.values()), axis=0)
        parts = {
            f"{metric}_{kind}": _mean([value[i] for c, value in quality.items() if (c in self._things) == is_thing])
            for kind, is_thing in (("things", True), ("stuff", False))
            for i, metric in enumerate(("pq", "sq", "rq"))
        }
        return {"pq": float(pq), "sq": float(sq), "rq": float(rq), "n": len(quality), **parts}

    def _require_segments(self, side: str, ids: set[int], category_of: Mapping[int, int]) -> None:
        if VOID in category_of:
            raise InputError(f"{side}_segments: expected ids of at least 1 (0 is void), got 0")
        undeclared = sorted(ids - set(category_of) - {VOID})
        if undeclared:
            raise InputError(f"{side}_ids: expected ids among {side}_segments or 0, got {undeclared}")
        unknown = sorted(set(category_of.values()) - set(self.tallies))
        if unknown:
            raise InputError(f"{side}_segments: expected categories among {list(self.tallies)}, got {unknown}")


def _count_overlaps(pred_ids: Integer[np.ndarray, "h w"], true_ids: Integer[np.ndarray, "h w"]) -> _Overlaps:
    # ids are colours of up to 24 bits: only pairs that are there are counted, so that the table of pairs stays small
    span = int(pred_ids.max(initial=0)) + 1
    pairs = true_ids.ravel().astype(np.int64) * span + pred_ids.ravel().astype(np.int64)
    if int(true_ids.max(initial=0)) * span < _COUNTABLE:
        counted = np.bincount(pairs)
        values = np.flatnonzero(counted)
        pixels = counted[values]
    else:
        values, pixels = np.unique(pairs, return_counts=True)
    true_values, true_row = np.unique(values // span, return_inverse=True)
    pred_values, pred_column = np.unique(values % span, return_inverse=True)
    table = np.zeros((len(true_values), len(pred_values)), dtype=np.int64)
    table[true_row, pred_column] = pixels
    return _Overlaps(true_values.tolist(), pred_values.tolist(), table)


def _matches(
    overlaps: _Overlaps, pred_segments: Mapping[int, int], true_segments: Mapping[int, tuple[int, bool]]
) -> Iterator[tuple[int, int, float]]:
    pred_area = overlaps.pixels.sum(axis=0) - overlaps.area_of_pred_within({VOID})
    true_area = overlaps.pixels.sum(axis=1)
    for row, column in np.argwhere(overlaps.pixels):
        true_id, pred_id = overlaps.true_ids[row], overlaps.pred_ids[column]
        if VOID in (true_id, pred_id):
            continue
        category, is_crowd = true_segments[true_id]
        if is_crowd or category != pred_segments[pred_id]:
            continue
        shared = int(overlaps.pixels[row, column])
        union = int(pred_area[column] + true_area[row]) - shared
        # above one half, no other pair can share either segment: the matching is unique
        if 2 * shared > union:
            yield true_id, pred_id, shared / union


def _is_excused(
    overlaps: _Overlaps, pred_id: int, category: int, true_segments: Mapping[int, tuple[int, bool]]
) -> bool:
    crowd = {true_id for true_id, (of, is_crowd) in true_segments.items() if is_crowd and of == category}
    column = overlaps.pred_ids.index(pred_id)
    excused = overlaps.area_of_pred_within(crowd | {VOID})[column]
    return bool(2 * excused > overlaps.pixels[:, column].sum())


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
