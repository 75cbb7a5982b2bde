"""Multi-label tagging: mean average precision over tags and F1 at a threshold."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from umgclip.errors import InputError
from umgclip.metrics.inputs import require_bools, require_scores, require_shape, require_some


def mean_average_precision(scores: Float[np.ndarray, "n c"], target: Bool[np.ndarray, "n c"]) -> float:
    """Average precision of each tag, averaged over the tags that at least one image has (macro mAP).

    Args:
        scores: one row an image, one column a tag; any unit, higher is likelier; no NaN.
        target: whether the image has the tag.

    Returns:
        The mean, in [0, 1].

    Raises:
        InputError: shapes that disagree, no element, a NaN score, or no positive at all.
    """
    of_tag = average_precision_per_tag(scores, target)
    if np.isnan(of_tag).all():
        raise InputError(f"target: expected at least one positive, got none in shape {target.shape}")
    return float(np.nanmean(of_tag))


def average_precision_per_tag(
    scores: Float[np.ndarray, "n c"], target: Bool[np.ndarray, "n c"]
) -> Float[np.ndarray, " c"]:
    """Average precision of each tag: the sum over thresholds of (recall gained) * (precision there).

    The definition of scikit-learn's ``average_precision_score``, without interpolation. Images of equal score pass a
    threshold together, so their order is of no account.

    Args:
        scores: one row an image, one column a tag; any unit, higher is likelier; no NaN.
        target: whether the image has the tag.

    Returns:
        One value in [0, 1] a tag; NaN for a tag that no image has.

    Raises:
        InputError: shapes that disagree, no element, or a NaN score.
    """
    _require_tags(scores, target)
    return np.array([_average_precision(*column) for column in zip(scores.T, target.T, strict=True)])


def f1_at_threshold(
    scores: Float[np.ndarray, "n c"],
    target: Bool[np.ndarray, "n c"],
    threshold: float,
    average: Literal["micro", "macro"] = "micro",
) -> float:
    """F1 of the tags scored at or above a threshold: 2 tp / (2 tp + fp + fn).

    Args:
        scores: one row an image, one column a tag; no NaN.
        target: whether the image has the tag.
        threshold: a tag is predicted where its score is at least this, in the unit of the scores.
        average: ``micro`` counts all decisions together (OF1 in the tagging papers); ``macro`` averages the F1 of the
            tags that are predicted or true somewhere (not CF1, which is the F1 of averaged precision and recall).

    Returns:
        F1 in [0, 1]; 0 where nothing is predicted and nothing is true.

    Raises:
        InputError: shapes that disagree, no element, a NaN score, or another average.
    """
    _require_tags(scores, target)
    if average not in ("micro", "macro"):
        raise InputError(f"average: expected 'micro' or 'macro', got {average!r}")
    predicted = scores >= threshold
    hits = 2 * (predicted & target).sum(axis=0)
    decisions = predicted.sum(axis=0) + target.sum(axis=0)
    if not decisions.any():
        return 0.0
    if average == "micro":
        return float(hits.sum() / decisions.sum())
    used = decisions > 0
    return float((hits[used] / decisions[used]).mean())


def _average_precision(scores: Float[np.ndarray, " n"], target: Bool[np.ndarray, " n"]) -> float:
    positives = int(target.sum())
    if positives == 0:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    true_positives = np.cumsum(target[order])[last_of_tie]
    predicted = np.flatnonzero(last_of_tie) + 1
    gained = np.diff(true_positives, prepend=0)
    return float((gained * true_positives / predicted).sum() / positives)


def _require_tags(scores: np.ndarray, target: np.ndarray) -> None:
    require_shape("scores", scores, "n c")
    require_some("scores", scores)
    require_scores("scores", scores)
    require_shape("target", target, "n c", n=scores.shape[0], c=scores.shape[1])
    require_bools("target", target)
