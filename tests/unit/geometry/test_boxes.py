"""Boxes against pixel counting and a naive suppression."""

import numpy as np
import pytest

from umgclip.geometry import boxes


def random_boxes(rng, count, side=12):
    corners = np.sort(rng.integers(0, side, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype(np.float64)


def painted(box, side=12):
    canvas = np.zeros((side, side), bool)
    x0, y0, x1, y1 = box.astype(int)
    canvas[y0:y1, x0:x1] = True
    return canvas


def test_worked_example():
    a = np.array([[0.0, 0.0, 4.0, 2.0]])
    b = np.array([[2.0, 0.0, 6.0, 2.0], [4.0, 0.0, 6.0, 2.0]])
    np.testing.assert_allclose(boxes.iou(a, b), [[4 / 12, 0.0]])  # half-open: touching boxes share nothing


@pytest.mark.parametrize("seed", range(5))
def test_iou_is_that_of_painted_pixels(seed):
    rng = np.random.default_rng(seed)
    a, b = random_boxes(rng, 6), random_boxes(rng, 4)
    slow = np.zeros((6, 4))
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            union = (painted(first) | painted(second)).sum()
            slow[i, j] = (painted(first) & painted(second)).sum() / union if union else 0.0
    np.testing.assert_allclose(boxes.iou(a, b), slow)


def test_no_boxes():
    none, one = np.zeros((0, 4)), np.array([[0.0, 0.0, 1.0, 1.0]])
    assert boxes.iou(none, one).shape == (0, 1)
    assert boxes.nms(none, np.zeros(0), 0.5).shape == (0,)


def test_an_inverted_box_has_no_area():
    assert boxes.area(np.array([[3.0, 3.0, 1.0, 5.0]]))[0] == 0


def naive_nms(rows, scores, threshold):
    left = sorted(range(len(rows)), key=lambda i: (-scores[i], i))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if boxes.iou(rows[[best]], rows[[i]])[0, 0] <= threshold]
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_nms_is_the_naive_one(seed):
    rng = np.random.default_rng(seed)
    rows, scores = random_boxes(rng, 20), rng.integers(0, 5, 20) / 5.0  # with ties
    assert boxes.nms(rows, scores, 0.3).tolist() == naive_nms(rows, scores, 0.3)


def test_clip_and_expand():
    box = np.array([[2.0, 2.0, 6.0, 4.0]])
    np.testing.assert_allclose(boxes.expand(box, 2.0), [[0.0, 1.0, 8.0, 5.0]])
    np.testing.assert_allclose(boxes.clip(boxes.expand(box, 4.0), 7, 5), [[0.0, 0.0, 7.0, 5.0]])
