"""Single-label classification: top-k accuracy and mean per-class accuracy."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

from umgclip.metrics.inputs import require_integers, require_ks, require_scores, require_shape, require_some


def top_k_accuracy(
    scores: Float[np.ndarray, "n c"], target: Integer[np.ndarray, " n"], ks: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Fraction of samples whose true class is among the k best scored (Russakovsky et al. 2015, ILSVRC).

    Equal scores rank in class order (the order of a stable descending sort), so ``top1`` is the accuracy of
    ``argmax``. A k above the number of classes means all of them.

    With scores ``[[.1, .7, .2], [.5, .3, .2]]`` and target ``[1, 2]``: top1 is 0.5, and top3 is 1.0.

    Args:
        scores: one row a sample, one column a class; any unit, higher is better; no NaN.
        target: index of each sample's true class.
        ks: cut-offs.

    Returns:
        ``{"top1": ..., "top5": ...}``, one entry a cut-off, in [0, 1].

    Raises:
        InputError: shapes that disagree, no sample, a NaN score, a target that is no column, or a k below 1.

    Example:
        >>> scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])  # (2, 3): two samples, three classes
        >>> top_k_accuracy(scores, np.array([1, 2]), ks=(1, 3))
        {'top1': 0.5, 'top3': 1.0}
    """
    require_ks(ks)
    rank = rank_of_target(scores, target)
    return {f"top{k}": float((rank < k).mean()) for k in ks}


def mean_per_class_accuracy(scores: Float[np.ndarray, "n c"], target: Integer[np.ndarray, " n"]) -> float:
    """Top-1 accuracy of each class's samples, averaged over the classes that have samples.

    The metric of the fine-grained sets of zero-shot CLIP (Radford et al. 2021, arXiv:2103.00020, table 9).

    Args:
        scores: one row a sample, one column a class; any unit, higher is better; ties as in `top_k_accuracy`.
        target: index of each sample's true class.

    Returns:
        The average, in [0, 1].

    Raises:
        InputError: shapes that disagree, no sample, a NaN score, or a target that is no column.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])  # (3, 2)
        >>> mean_per_class_accuracy(scores, np.array([0, 0, 1]))  # all of class 0, none of class 1
        0.5
    """
    classes = scores.shape[1]
    right = target[rank_of_target(scores, target) == 0]
    samples_of = np.bincount(target, minlength=classes)
    right_of = np.bincount(right, minlength=classes)
    present = samples_of > 0
    return float((right_of[present] / samples_of[present]).mean())


def rank_of_target(scores: Float[np.ndarray, "n c"], target: Integer[np.ndarray, " n"]) -> Integer[np.ndarray, " n"]:
    """Count the classes that rank before each sample's true one; ties and errors as in `top_k_accuracy`."""
    _require_samples(scores, target)
    true_score = np.take_along_axis(scores, target[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < target[:, None]
    rank: np.ndarray = ((scores > true_score) | ((scores == true_score) & earlier)).sum(axis=1)
    return rank


def _require_samples(scores: np.ndarray, target: np.ndarray) -> None:
    require_shape("scores", scores, "n c")
    require_some("scores", scores)
    require_scores("scores", scores)
    require_shape("target", target, "n", n=scores.shape[0])
    require_integers("target", target, low=0, high=scores.shape[1])
