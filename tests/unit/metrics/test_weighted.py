"""Metrics of weighted images, against the same metrics of images that are really there several times."""

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.metrics.bootstrap import bootstrap_interval, centred_interval, draw, spread_over_seeds
from umgclip.metrics.tagging import best_f1_threshold, mean_average_precision
from umgclip.metrics.tagging import weighted_mean_average_precision as weighted_map
from umgclip.metrics.weighted import GroupedSums, mean_of_defined, mean_of_shares, mean_over_items, ratio


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [3, 1000])
def test_average_precision_of_repeated_images(seed, levels):
    rng = np.random.default_rng(seed)
    scores, target = rng.integers(0, levels, (12, 5)) / levels, rng.random((12, 5)) < 0.3
    known = target | (rng.random((12, 5)) < 0.7)
    target[0, 0] = known[0, 0] = True
    rows = np.concatenate([[0], rng.integers(0, 12, 11)])
    weights = np.bincount(rows, minlength=12).astype(float)[None]
    got = weighted_map(scores, target, known)(weights)[0]
    assert got == pytest.approx(mean_average_precision(scores[rows], target[rows], known[rows]))


def test_mean_over_items_counts_an_item_as_often_as_its_image():
    metric = mean_over_items(np.array([1.0, 0.0, 1.0]), np.array([0, 0, 2]), 4)
    got = metric(np.array([[1.0, 1, 1, 1], [2, 0, 1, 5], [0, 3, 0, 0]]))
    np.testing.assert_allclose(got, [2 / 3, 3 / 5, np.nan])


def test_grouped_sums_add_up_before_they_are_divided():
    sums = GroupedSums()
    sums.add(np.array([4, 7]), np.array([[1.0, 2.0], [0.0, 1.0]]))
    sums.add(np.array([4]), np.array([[1.0, 6.0]]))
    sums.add(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))
    assert len(sums) == 3
    got = sums.weighted(mean_of_shares)(np.array([[1.0, 1, 1], [0, 2, 0], [0, 0, 3]]))
    # both groups; group 4 alone; neither
    np.testing.assert_allclose(got, [(2 / 8 + 0) / 2, 1 / 6, np.nan])


def test_draws_agree_with_the_slow_bootstrap():
    values = np.random.default_rng(0).random(200)
    drawn = draw({"mean": mean_over_items(values, np.arange(200), 200)}, 200, resamples=2000)["mean"]
    slow = bootstrap_interval(lambda rows: float(values[rows].mean()), 200, resamples=2000, seed=1)
    fast = centred_interval(float(values.mean()), drawn)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=0.004)


def test_the_same_seed_and_images_are_drawn_alike_whatever_is_measured():
    first, second = (mean_over_items(np.arange(n, n + 9.0), np.arange(9), 9) for n in (0, 5))
    drawn = draw({"a": first, "b": second}, 9, resamples=40)
    np.testing.assert_allclose(drawn["b"] - drawn["a"], 5.0)
    np.testing.assert_array_equal(draw({"b": second}, 9, resamples=40)["b"], drawn["b"])


def test_blocks_of_weights_make_no_difference(monkeypatch):
    metric = mean_over_items(np.arange(50.0), np.arange(50), 50)
    whole = draw({"m": metric}, 50, resamples=30)["m"]
    monkeypatch.setattr("umgclip.metrics.bootstrap._CELLS", 170)
    np.testing.assert_allclose(draw({"m": metric}, 50, resamples=30)["m"], whole)


def test_an_interval_of_average_precision_holds_the_estimate():
    # repeated images raise average precision, so percentiles alone would lie too high
    rng = np.random.default_rng(0)
    scores, target = rng.random((60, 20)), rng.random((60, 20)) < 0.05
    target[0] = True
    estimate = mean_average_precision(scores, target)
    drawn = draw({"map": weighted_map(scores, target)}, 60, resamples=300)["map"]
    assert drawn.mean() > estimate + 0.01
    found = centred_interval(estimate, drawn)
    assert found.low < estimate < found.high


def test_draws_without_the_metric_are_left_out():
    assert centred_interval(1.0, np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0, 1.0)
    assert centred_interval(1.0, np.array([np.nan])) is None
    np.testing.assert_array_equal(mean_of_defined(np.array([[np.nan, np.nan]])), [np.nan])
    np.testing.assert_array_equal(ratio(np.array([1.0]), np.array([0.0])), [np.nan])


@pytest.mark.parametrize(("images", "resamples", "field"), [(0, 9, "images"), (9, 0, "resamples")])
def test_nothing_to_draw_is_an_error(images, resamples, field):
    with pytest.raises(InputError, match=f"{field}: expected at least 1, got 0"):
        draw({}, images, resamples=resamples)


def test_spread_over_seeds():
    assert spread_over_seeds([0.4, 0.6, 0.5]) == pytest.approx((0.5, 0.1, 3))
    assert spread_over_seeds([0.4]) == (0.4, 0.0, 1)
    with pytest.raises(InputError, match="expected at least one run"):
        spread_over_seeds([])


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_beats_every_other(seed):
    rng = np.random.default_rng(seed)
    scores, target = rng.integers(0, 9, (10, 4)) / 9, rng.random((10, 4)) < 0.3
    target[0, 0] = True
    best = best_f1_threshold(scores, target)
    f1 = {}
    for level in np.unique(scores):
        predicted = scores >= level
        f1[level] = 2 * (predicted & target).sum() / (predicted.sum() + target.sum())
    assert f1[best] == pytest.approx(max(f1.values()))
