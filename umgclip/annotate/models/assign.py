"""Assignment of concepts to regions: all concepts of a caption at once, each once, in regions that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

_BEAMS = 32  # partial assignments that survive from one concept to the next
_CANDIDATES = 10  # regions tried for a concept
_LEAST = 1e-6  # replaces a score or a threshold of 0 in logarithms


def assign(
    scores: Float[np.ndarray, "r n"],
    masks: Sequence[Bool[np.ndarray, "h w"]],
    threshold: float,
    overlap: float,
    coverage: float = 0.0,
) -> list[tuple[int, int, float]]:
    """Return pairs (region, concept, score), the best first.

    A beam search over the concepts looks for the assignment with the largest product of scores; a concept without a
    region counts as `threshold`. Choosing greedily instead lets a wrong pair take the only region of a right one.

    Args:
        scores: the score of each region with each concept.
        masks: the masks of the regions.
        threshold: the least value of a pair.
        overlap: the largest part of the smaller of two chosen regions that the other may cover, 0 to 1.
        coverage: the value of a pair is its score times exp(coverage x the region's share of the union of all
            regions). A caption names the things in an image, so they should leave little of it unexplained.
    """
    if scores.size == 0:
        return []
    areas = np.array([np.count_nonzero(mask) for mask in masks])
    share = areas / max(np.count_nonzero(np.logical_or.reduce(masks)), 1)
    worth = np.log(np.maximum(scores, _LEAST)) + coverage * share[:, None] - np.log(max(threshold, _LEAST))
    apart = _apart(masks, areas, overlap).tolist()  # looked up pair by pair, which lists do much faster
    beams: list[tuple[float, tuple[tuple[int, int], ...]]] = [(0.0, ())]
    for column in range(scores.shape[1]):
        best = np.argsort(-worth[:, column], kind="stable")[:_CANDIDATES]
        rows = [int(row) for row in best if worth[row, column] >= 0]
        longer = [
            (total + float(worth[row, column]), (*chosen, (row, column)))
            for total, chosen in beams
            for row in rows
            if all(apart[row][other] for other, _ in chosen)
        ]
        beams = sorted([*beams, *longer], key=lambda beam: -beam[0])[:_BEAMS]
    pairs = [(row, column, min(float(scores[row, column]), 1.0)) for row, column in beams[0][1]]
    return sorted(pairs, key=lambda pair: -pair[2])


def _apart(masks: Sequence[Bool[np.ndarray, "h w"]], areas: np.ndarray, overlap: float) -> Bool[np.ndarray, "r r"]:
    """Return which pairs of regions may both be chosen.

    Pairs are compared one by one, because the masks of large images would not fit into memory side by side.
    """
    apart = np.zeros((len(masks), len(masks)), bool)
    for row in range(len(masks)):
        for other in range(row):
            limit = overlap * min(areas[row], areas[other])
            apart[row, other] = apart[other, row] = np.count_nonzero(masks[row] & masks[other]) <= limit
    return apart
