"""Metrics as functions of how often each image counts: every bootstrap draw of a metric in a few array operations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Integer

FEWEST_IMAGES = 20
"""Least number of independent images behind an interval: draws from fewer show only how these few differ."""
Weights = Float[np.ndarray, "draws images"]
Weighted = Callable[[Float[np.ndarray, "draws images"]], Float[np.ndarray, " draws"]]
Statistic = Callable[[Float[np.ndarray, "draws groups k"]], Float[np.ndarray, " draws"]]


def mean_over_items(
    values: Float[np.ndarray, " items"], image_of_item: Integer[np.ndarray, " items"], images: int
) -> Weighted:
    """Return the mean over items (regions, captions), each of which counts as often as its image.

    Args:
        values: one number an item.
        image_of_item: the image that each belongs to.
        images: number of images.

    Returns:
        A function of weights; NaN for a draw without items.

    Example:
        >>> mean = mean_over_items(np.array([1.0, 0.0, 1.0]), np.array([0, 0, 1]), images=2)
        >>> mean(np.array([[1.0, 1.0], [0.0, 2.0]])).round(3)  # (2, 2): two draws of two images
        array([0.667, 1.   ])
    """
    total = np.bincount(image_of_item, values, images)
    count = np.bincount(image_of_item, minlength=images).astype(np.float64)
    return lambda weights: ratio(weights @ total, weights @ count)


class GroupedSums:
    """Sums of a few values by group (class), of each image; only the groups that an image has take room.

    Intersections and unions, or matches and misses, of a class are summed over images before they are divided, so a
    mean over images would be another metric. With weights, the sums are those of any draw of images.
    """

    def __init__(self) -> None:
        self._images = 0
        self._image: list[np.ndarray] = []
        self._group: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def __len__(self) -> int:
        return self._images

    def add(self, group: Integer[np.ndarray, " n"], values: Float[np.ndarray, "n k"]) -> None:
        """Add an image: its groups, and their values."""
        self._image.append(np.full(len(group), self._images))
        self._group.append(group)
        self._values.append(values)
        self._images += 1

    def weighted(self, statistic: Statistic) -> Weighted:
        """Return a metric of the sums, as a function of image weights.

        Args:
            statistic: given the sums of each draw, (draws, groups, k), the metric of each draw. Groups without
                any image are left out; in a draw, some may be all zero.
        """
        group = np.concatenate(self._group)
        order = np.argsort(group, kind="stable")
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        image, values = np.concatenate(self._image)[order], np.concatenate(self._values)[order]

        def metric(weights: Weights) -> Float[np.ndarray, " draws"]:
            counted = weights[:, image]
            sums = [np.add.reduceat(counted * column, starts, axis=1) for column in values.T]
            return statistic(np.stack(sums, axis=2))

        return metric


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide elementwise; NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)


def mean_of_defined(values: Float[np.ndarray, "draws groups"]) -> Float[np.ndarray, " draws"]:
    """Average over the groups that are not NaN; NaN if all are."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1))


def mean_of_shares(sums: Float[np.ndarray, "draws groups 2"]) -> Float[np.ndarray, " draws"]:
    """Average the share `right / all` over the groups, given (right, all) of each."""
    return mean_of_defined(ratio(sums[..., 0], sums[..., 1]))


def share(sums: Float[np.ndarray, "draws groups k"], whole: int) -> Float[np.ndarray, " draws"]:
    """Divide the first sum by sum number `whole`, over all groups together."""
    total = sums.sum(axis=1)
    return ratio(total[:, 0], total[:, whole])
