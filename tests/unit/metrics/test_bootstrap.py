"""Bootstrap confidence intervals."""

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.metrics.bootstrap import bootstrap_interval


def test_constant_samples_have_an_interval_of_no_width():
    assert bootstrap_interval(lambda _: 0.25, 10, resamples=5) == (0.25, 0.25, 0.25)


def test_one_sample():
    values = np.array([3.0])
    assert bootstrap_interval(lambda i: float(values[i].mean()), 1, resamples=5) == (3.0, 3.0, 3.0)


def test_equals_slow_oracle():
    # given
    values = np.random.default_rng(1).random(20)
    # when
    got = bootstrap_interval(lambda i: float(values[i].mean()), 20, confidence=0.8, resamples=41, seed=7)
    # then the 5th and 37th of 41 ordered draws are the 10% and 90% points
    rng = np.random.default_rng(7)
    means = sorted(float(np.mean([values[i] for i in rng.integers(0, 20, size=20)])) for _ in range(41))
    assert got == pytest.approx((values.mean(), means[4], means[36]))


def test_agrees_with_the_normal_interval_of_a_mean():
    values = np.random.default_rng(0).normal(size=400)
    got = bootstrap_interval(lambda i: float(values[i].mean()), 400, resamples=2000)
    half = 1.96 * values.std() / 20
    assert got == pytest.approx((values.mean(), values.mean() - half, values.mean() + half), abs=0.01)


def test_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).random(100)
    got = bootstrap_interval(lambda i: float(values[i].mean()), 100, resamples=2000)
    want = stats.bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=0).confidence_interval
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=0.005)


def test_seed_decides():
    values = np.random.default_rng(0).random(50)
    first, again, other = (
        bootstrap_interval(lambda i: float(values[i].mean()), 50, resamples=20, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (0, {}, "samples: expected at least 1, got 0"),
        (1, {"resamples": 0}, "resamples: expected at least 1, got 0"),
        (1, {"confidence": 95.0}, "confidence: expected a number between 0 and 1, got 95.0"),
        (1, {"resamples": 3}, "statistic: expected a finite number on every draw, got nan on draw 0"),
    ],
)
def test_errors_say_what_came(samples, options, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        bootstrap_interval(lambda _: float("nan"), samples, **options)
