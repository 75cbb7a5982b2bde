"""Numbers under the page's curves, against slow or published ones."""

import numpy as np
import pytest

from umgclip.evaluate.report.charts import Series, line_chart
from umgclip.evaluate.report.curves import precision_recall, true_ranks, wilson


def test_ranks_count_better_classes_and_equal_ones_before():
    scores = np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5]], np.float32)
    assert true_ranks(scores, np.array([2, 1])).tolist() == [1, 1]
    rng = np.random.default_rng(0)
    scores, target = rng.integers(0, 4, (50, 7)).astype(np.float32), rng.integers(0, 7, 50)
    slow = [list(np.argsort(-row, kind="stable")).index(label) for row, label in zip(scores, target, strict=True)]
    assert true_ranks(scores, target).tolist() == slow


def test_precision_at_each_true_pair():
    scores = np.array([[0.9, 0.8], [0.7, 0.6]], np.float32)
    target = np.array([[True, False], [True, True]])
    assert precision_recall(scores, target) == [(1 / 3, 1.0), (2 / 3, 2 / 3), (1.0, 3 / 4)]
    assert precision_recall(scores, np.zeros_like(target)) == []


def test_wilsons_interval_as_published():
    # Brown, Cai and DasGupta 2001: 0 of 10 gives an upper end of z^2 / (n + z^2)
    assert wilson(0, 10) == pytest.approx((0, 1.96**2 / (10 + 1.96**2)))
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)
    assert wilson(10, 10)[1] == 1


def test_a_chart_stays_inside_its_frame_and_escapes_names():
    points = ((1.0, 0.2, 0.1, 0.34), (7.0, 0.33, None, None))
    chart = line_chart("<b>", "", ("x", "y"), [Series("a<b", 1, points)])
    assert "<b>" not in chart.svg
    assert "a&lt;b" in chart.svg
    assert chart.rows() == [(1.0, [0.2]), (7.0, [0.33])]
    places = [float(part) for part in chart.svg.split('d="M')[1].split('"')[0].replace("L", " ").split()]
    assert all(0 <= x <= 420 and 0 <= y <= 250 for x, y in zip(places[::2], places[1::2], strict=True))
