"""Which region carries which concept: greedy, best pair first, each concept once, regions that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float


def assign(
    scores: Float[np.ndarray, "r n"], masks: Sequence[Bool[np.ndarray, "h w"]], threshold: float, overlap: float
) -> list[tuple[int, int, float]]:
    """Pairs (region, concept, score), best first.

    Args:
        scores: of every region with every concept.
        masks: of the regions.
        threshold: pairs below are not made.
        overlap: largest share of a region that earlier regions may have taken.
    """
    if scores.size == 0:
        return []
    chosen: list[tuple[int, int, float]] = []
    used = np.zeros(masks[0].shape, bool)
    named: set[int] = set()
    areas = [max(int(mask.sum()), 1) for mask in masks]
    for flat in np.argsort(-scores, axis=None, kind="stable"):
        row, column = divmod(int(flat), scores.shape[1])
        score = float(scores[row, column])
        if score < threshold or len(named) == scores.shape[1]:
            break
        if column in named or (masks[row] & used).sum() > overlap * areas[row]:
            continue
        named.add(column)
        used |= masks[row]
        chosen.append((row, column, min(score, 1.0)))
    return chosen
