"""Which region carries which concept: all concepts of a caption at once, each once, in regions that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

_BEAMS = 32  # partial assignments kept from one concept to the next
_CANDIDATES = 10  # regions tried for a concept
_LEAST = 1e-6  # stands for a score or a threshold of 0 in logarithms


def assign(
    scores: Float[np.ndarray, "r n"],
    masks: Sequence[Bool[np.ndarray, "h w"]],
    threshold: float,
    overlap: float,
    coverage: float = 0.0,
) -> list[tuple[int, int, float]]:
    """Pairs (region, concept, score), best first.

    The assignment whose product of scores is largest, by beam search over the concepts; a concept without a region
    counts as `threshold`. Taking the best pair first instead lets a wrong pair take the only place of a right one.

    Args:
        scores: of every region with every concept.
        masks: of the regions.
        threshold: score that a pair has to be worth.
        overlap: largest share of the smaller of two regions that both may hold.
        coverage: a pair is worth its score times exp(coverage x the region's share of what all regions cover): a
            caption's things are what stands in the image, so they should leave little of it unexplained.
    """
    if scores.size == 0:
        return []
    areas = np.array([np.count_nonzero(mask) for mask in masks])
    share = areas / max(np.count_nonzero(np.logical_or.reduce(masks)), 1)
    worth = np.log(np.maximum(scores, _LEAST)) + coverage * share[:, None] - np.log(max(threshold, _LEAST))
    apart = _apart(masks, areas, overlap)
    beams: list[tuple[float, tuple[tuple[int, int], ...]]] = [(0.0, ())]
    for column in range(scores.shape[1]):
        best = np.argsort(-worth[:, column], kind="stable")[:_CANDIDATES]
        rows = [int(row) for row in best if worth[row, column] >= 0]
        longer = [
            (total + float(worth[row, column]), (*chosen, (row, column)))
            for total, chosen in beams
            for row in rows
            if all(apart[row, other] for other, _ in chosen)
        ]
        beams = sorted([*beams, *longer], key=lambda beam: -beam[0])[:_BEAMS]
    pairs = [(row, column, min(float(scores[row, column]), 1.0)) for row, column in beams[0][1]]
    return sorted(pairs, key=lambda pair: -pair[2])


def _apart(masks: Sequence[Bool[np.ndarray, "h w"]], areas: np.ndarray, overlap: float) -> Bool[np.ndarray, "r r"]:
    """Which regions may both be chosen; pair by pair, because masks of large images would not fit side by side."""
    apart = np.zeros((len(masks), len(masks)), bool)
    for row in range(len(masks)):
        for other in range(row):
            limit = overlap * min(areas[row], areas[other])
            apart[row, other] = apart[other, row] = np.count_nonzero(masks[row] & masks[other]) <= limit
    return apart
