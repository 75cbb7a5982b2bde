"""Percentile confidence interval of any metric, by resampling its samples (Efron and Tibshirani 1993, chapter 13)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from umgclip.errors import InputError
from umgclip.metrics.weighted import Weighted

_CELLS = 1 << 20  # of a block of weights


Draws = Float[np.ndarray, " draws"]


class Interval(NamedTuple):
    """A metric on all samples, and the ends of its confidence interval, all in the metric's unit."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    statistic: Callable[[Int64[np.ndarray, " n"]], float],
    samples: int,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Draw samples with replacement, many times, and take percentiles of the metric over the draws.

    For a top-1 accuracy: ``bootstrap_interval(lambda i: top_k_accuracy(scores[i], target[i])["top1"], len(target))``.
    The same seed gives the same interval.

    Args:
        statistic: the metric, given the indices of the samples to compute it on (repeats among them).
        samples: number of samples, n.
        confidence: probability mass between the ends, in (0, 1).
        resamples: number of draws.
        seed: of the generator.

    Returns:
        The metric on all samples as they are, and the two percentiles (linear interpolation between draws).

    Raises:
        InputError: no sample, no draw, a confidence outside (0, 1), or a metric that is not finite on some draw.

    Example:
        >>> right = np.array([1.0, 0.0, 1.0, 1.0])  # (4,): whether each sample is right
        >>> interval = bootstrap_interval(lambda rows: float(right[rows].mean()), samples=4)
        >>> interval.estimate, interval.low <= 0.75 <= interval.high
        (0.75, True)
    """
    if samples < 1:
        raise InputError(f"samples: expected at least 1, got {samples}")
    if resamples < 1:
        raise InputError(f"resamples: expected at least 1, got {resamples}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected a number between 0 and 1, got {confidence}")
    rng = np.random.default_rng(seed)
    drawn = np.array([statistic(rng.integers(0, samples, size=samples)) for _ in range(resamples)], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(drawn))
    if bad.size:
        raise InputError(f"statistic: expected a finite number on every draw, got {drawn[bad[0]]} on draw {bad[0]}")
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(statistic(np.arange(samples))), float(low), float(high))


def draw(metrics: Mapping[str, Weighted], images: int, *, resamples: int = 1000, seed: int = 0) -> dict[str, Draws]:
    """Compute several metrics on the same random draws of images, with replacement.

    The same seed and number of images give the same draws, so that two models are drawn in pairs: subtract their
    values for the interval of a difference.

    Args:
        metrics: each a function of how often every image counts.
        images: number of images.
        resamples: number of draws.
        seed: of the generator.

    Raises:
        InputError: no image, or no draw.
    """
    for name, value in (("images", images), ("resamples", resamples)):
        if value < 1:
            raise InputError(f"{name}: expected at least 1, got {value}")
    rng = np.random.default_rng(seed)
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    block = max(1, _CELLS // images)
    for first in range(0, resamples, block):
        rows = min(block, resamples - first)
        weights = np.empty((rows, images))
        for row in weights:
            row[:] = np.bincount(rng.integers(0, images, images), minlength=images)
        for name, metric in metrics.items():
            blocks[name].append(metric(weights))
    return {name: np.concatenate(parts) for name, parts in blocks.items()}


def centred_interval(estimate: float, draws: Draws, confidence: float = 0.95) -> Interval | None:
    """Return the percentiles of the drawn values about their own mean, centred on the estimate.

    For a mean this is the percentile interval. Average precision and the means over classes come out higher or lower
    on every draw than on all images, because a draw repeats images and misses classes; that shift says nothing about
    how certain the estimate is, and is removed. Draws on which the metric is not defined (NaN) are left out; None if
    it is defined on none.
    """
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) - defined.mean() + estimate
    return Interval(estimate, float(low), float(high))


class Spread(NamedTuple):
    """Mean and sample standard deviation of a metric over runs that differ in their seed alone, and their number."""

    mean: float
    deviation: float
    runs: int


def spread_over_seeds(values: list[float]) -> Spread:
    """Return mean and deviation over seeds; the deviation of one run is 0.

    Raises:
        InputError: no run.

    Example:
        >>> spread_over_seeds([0.5, 0.7]).runs
        2
    """
    if not values:
        raise InputError("values: expected at least one run, got none")
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Spread(float(np.mean(values)), deviation, len(values))
