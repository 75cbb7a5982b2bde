"""Percentile confidence interval of any metric, by resampling its samples (Efron and Tibshirani 1993, chapter 13)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from umgclip.errors import InputError


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
