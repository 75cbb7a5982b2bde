"""Assignment of concepts to regions."""

import itertools

import numpy as np
import pytest

from umgclip.annotate.models.assign import assign
from umgclip.annotate.models.clip_teacher import label_scores


def _squares(*corners: tuple[int, int]) -> list[np.ndarray]:
    masks = []
    for x, y in corners:
        mask = np.zeros((20, 20), bool)
        mask[y : y + 5, x : x + 5] = True
        masks.append(mask)
    return masks


def test_all_concepts_are_placed_at_once():
    scores = np.array([[0.9, 0.8], [0.7, 0.2], [0.1, 0.6]])
    masks = _squares((0, 0), (10, 0), (0, 10))
    # the best pair alone would be region 0 with concept 0, and leave .6 for the other: .9 x .6 is less than .8 x .7
    assert assign(scores, masks, threshold=0.3, overlap=0.3) == [(0, 1, 0.8), (1, 0, 0.7)]


def test_a_region_that_explains_more_of_the_things_is_worth_more():
    part, whole = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    part[:5, :5] = whole[:10, :10] = True
    scores = np.array([[0.5], [0.45]])
    assert assign(scores, [part, whole], threshold=0.3, overlap=0.3) == [(0, 0, 0.5)]
    assert assign(scores, [part, whole], threshold=0.3, overlap=0.3, coverage=1.0) == [(1, 0, 0.45)]


def test_an_overlapping_region_is_passed_over():
    scores = np.array([[0.9, 0.1], [0.1, 0.8], [0.1, 0.5]])
    masks = _squares((0, 0), (1, 1), (10, 10))
    assert assign(scores, masks, threshold=0.3, overlap=0.3) == [(0, 0, 0.9), (2, 1, 0.5)]


def test_threshold_and_empty():
    masks = _squares((0, 0))
    assert assign(np.array([[0.2]]), masks, threshold=0.3, overlap=0.3) == []
    assert assign(np.zeros((1, 0)), masks, threshold=0.0, overlap=0.3) == []
    assert assign(np.zeros((0, 2)), [], threshold=0.0, overlap=0.3) == []


def test_against_a_slow_oracle():
    rng = np.random.default_rng(0)
    for _ in range(30):
        masks = [rng.random((12, 12)) < 0.2 for _ in range(6)]
        scores = rng.random((6, 3))
        every = np.any(masks, axis=0).sum()

        def worth(pairs: list[tuple[int, int]], masks=masks, scores=scores, every=every) -> float:
            for (one, _), (other, _) in itertools.combinations(pairs, 2):
                smaller = min(masks[one].sum(), masks[other].sum())
                if (masks[one] & masks[other]).sum() > 0.2 * smaller:
                    return -np.inf
            return sum(np.log(scores[pair] / 0.2) + 0.5 * masks[pair[0]].sum() / every for pair in pairs)

        rows = itertools.product(range(-1, 6), repeat=3)
        choices = [[(r, c) for c, r in enumerate(chosen) if r >= 0] for chosen in rows]
        best = max(map(worth, choices))
        found = [pair[:2] for pair in assign(scores, masks, 0.2, 0.2, 0.5)]
        assert worth(found) == pytest.approx(best)


def test_label_scores_prefer_the_whole_to_its_part():
    part, whole = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    part[:2, :2] = True
    whole[:5, :5] = True
    logits = np.array([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    scores = label_scores(logits, [0, 1], [part, whole])
    assert scores.shape == (2, 2)
    assert scores[1, 0] > scores[0, 0] > scores[0, 1]
    full, own = np.exp(3) / (np.exp(3) + 2), np.exp(3) / (np.exp(3) + 1)
    np.testing.assert_allclose(scores[1, 0], np.sqrt(full * own) * 0.25**0.25, rtol=1e-6)
    assert label_scores(logits, [], [part, whole]).shape == (2, 0)
