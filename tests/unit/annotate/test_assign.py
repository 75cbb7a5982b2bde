"""Assignment of concepts to regions."""

import itertools

import numpy as np

from umgclip.annotate.assign import assign
from umgclip.annotate.clip_teacher import label_scores


def _squares(*corners: tuple[int, int]) -> list[np.ndarray]:
    masks = []
    for x, y in corners:
        mask = np.zeros((20, 20), bool)
        mask[y : y + 5, x : x + 5] = True
        masks.append(mask)
    return masks


def test_best_pairs_first_each_concept_once():
    scores = np.array([[0.9, 0.8], [0.7, 0.2], [0.1, 0.6]])
    masks = _squares((0, 0), (10, 0), (0, 10))
    # region 0 takes concept 0; concept 1's best free region is 0 itself, which is taken, so region 2 gets it
    assert assign(scores, masks, threshold=0.3, overlap=0.3) == [(0, 0, 0.9), (2, 1, 0.6)]


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
        pairs = sorted(itertools.product(range(6), range(3)), key=lambda p: -scores[p])
        used, named, expected = np.zeros((12, 12), bool), set(), []
        for row, column in pairs:
            free = (masks[row] & used).sum() <= 0.3 * masks[row].sum()
            if scores[row, column] >= 0.2 and column not in named and free:
                named.add(column)
                used |= masks[row]
                expected.append((row, column))
        assert [pair[:2] for pair in assign(scores, masks, 0.2, 0.3)] == expected


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
