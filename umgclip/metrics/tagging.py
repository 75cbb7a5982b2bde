"""Multi-label tagging: mean average precision over tags and the threshold of the best F1."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from umgclip.errors import InputError
from umgclip.metrics.inputs import require_bools, require_scores, require_shape, require_some
from umgclip.metrics.weighted import Weighted, Weights, mean_of_defined, ratio

Scores = Float[np.ndarray, "n c"]
Tags = Bool[np.ndarray, "n c"]


def mean_average_precision(scores: Scores, target: Tags, known: Tags | None = None) -> float:
    """Average the precision of each tag over the tags that at least one image has (macro mAP).

    Args:
        scores: one row an image, one column a tag; any unit, higher is likelier; no NaN.
        target: whether the image has the tag.
        known: whether it was verified that the image has the tag or has it not, as in OpenImages; images for
            which it is unknown do not count for a tag. None: all are known.

    Returns:
        The mean, in [0, 1].

    Raises:
        InputError: shapes that disagree, no element, a NaN score, or no positive at all.

    Example:
        >>> scores = np.array([[0.9], [0.8], [0.3]])  # (3, 1): three images, one tag
        >>> round(mean_average_precision(scores, np.array([[True], [False], [True]])), 4)  # (1/1 + 2/3) / 2
        0.8333
    """
    of_tag = average_precision_per_tag(scores, target, known)
    if np.isnan(of_tag).all():
        raise InputError(f"target: expected at least one positive, got none in shape {target.shape}")
    return float(np.nanmean(of_tag))


def average_precision_per_tag(scores: Scores, target: Tags, known: Tags | None = None) -> Float[np.ndarray, " c"]:
    """Compute average precision of each tag: the sum over thresholds of (recall gained) * (precision there).

    The definition of scikit-learn's ``average_precision_score``, without interpolation. Images of equal score pass a
    threshold together, so their order is of no account.

    Args:
        scores: one row an image, one column a tag; any unit, higher is likelier; no NaN.
        target: whether the image has the tag.
        known: as in `mean_average_precision`.

    Returns:
        One value in [0, 1] a tag; NaN for a tag that no image has.

    Raises:
        InputError: shapes that disagree, no element, or a NaN score.
    """
    known = _require_known(scores, target, known)
    columns = zip(scores.T, target.T, known.T, strict=True)
    return np.array([_average_precision(score[of], tag[of]) for score, tag, of in columns])


def weighted_mean_average_precision(scores: Scores, target: Tags, known: Tags | None = None) -> Weighted:
    """Return `mean_average_precision` as a function of image weights; NaN for a draw without a positive."""
    known = _require_known(scores, target, known)
    columns = zip(scores.T, target.T, known.T, strict=True)
    tags = [_Ranked.of(score, tag, np.flatnonzero(of)) for score, tag, of in columns if (tag & of).any()]
    return lambda weights: mean_of_defined(np.stack([_weighted_precision(tag, weights) for tag in tags], axis=1))


def best_f1_threshold(scores: Scores, target: Tags, known: Tags | None = None) -> float:
    """Return the threshold with the best micro F1 for scores at or above it; the highest of equally good ones.

    Example:
        >>> scores = np.array([[0.9], [0.8], [0.3]])  # (3, 1)
        >>> best_f1_threshold(scores, np.array([[True], [True], [False]]))
        0.8
    """
    known = _require_known(scores, target, known)
    score, true = scores[known], target[known]
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(score[order][1:] != score[order][:-1], True)
    hits = np.cumsum(true[order])
    f1 = 2 * hits / (np.arange(1, len(score) + 1) + max(1, int(true.sum())))
    return float(score[order][np.argmax(np.where(last_of_tie, f1, -1.0))])


class _Ranked(NamedTuple):
    """A tag's images by falling score, where its positives stand, and where each one's group of ties ends."""

    order: Int64[np.ndarray, " known"]
    positives: Int64[np.ndarray, " p"]
    ends: Int64[np.ndarray, " p"]

    @classmethod
    def of(
        cls, scores: Float[np.ndarray, " n"], target: Bool[np.ndarray, " n"], images: Int64[np.ndarray, " known"]
    ) -> "_Ranked":
        order = images[np.argsort(-scores[images], kind="stable")]
        ranked = scores[order]
        last_of_tie = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        positives = np.flatnonzero(target[order])
        return cls(order, positives, last_of_tie[np.searchsorted(last_of_tie, positives)])


def _weighted_precision(tag: _Ranked, weights: Weights) -> Float[np.ndarray, " draws"]:
    predicted = np.cumsum(weights[:, tag.order], axis=1)[:, tag.ends]
    right = weights[:, tag.order[tag.positives]]
    hits_so_far = np.cumsum(right, axis=1)
    # of equal scores all positives pass together: the count at the last positive of the same tie
    last = np.searchsorted(tag.ends, tag.ends, side="right") - 1
    precision = ratio(hits_so_far[:, last], predicted)
    return ratio(np.where(right > 0, right * precision, 0.0).sum(axis=1), right.sum(axis=1))


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


def _require_known(scores: np.ndarray, target: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    _require_tags(scores, target)
    if known is None:
        return np.ones_like(target)
    require_shape("known", known, "n c", n=scores.shape[0], c=scores.shape[1])
    require_bools("known", known)
    return known


def _require_tags(scores: np.ndarray, target: np.ndarray) -> None:
    require_shape("scores", scores, "n c")
    require_some("scores", scores)
    require_scores("scores", scores)
    require_shape("target", target, "n c", n=scores.shape[0], c=scores.shape[1])
    require_bools("target", target)
