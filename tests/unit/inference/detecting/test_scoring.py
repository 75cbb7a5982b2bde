"""Confidence on dense maps that are made by hand: what wins, what "none of these" is, and what a part gets."""

import numpy as np
import pytest
import torch

from umgclip.inference.detecting.candidates import Candidates
from umgclip.inference.detecting.duplicates import distinct
from umgclip.inference.detecting.scoring import name_regions
from umgclip.model.clip.reader import Scoring
from umgclip.model.clip.readout import pool_masks_of_one

DOG, CAT, WORD, GROUND = torch.eye(8)[:4]
SIDE = 8


def picture(*areas):
    """Return a dense map of ground with areas of other directions, and the weights of these areas."""
    dense, weights = GROUND[:, None, None].repeat(1, SIDE, SIDE), []
    for direction, rows, columns in areas:
        dense[:, rows, columns] = direction[:, None, None]
        weight = torch.zeros(SIDE, SIDE)
        weight[rows, columns] = 1
        weights.append(weight)
    return dense, torch.stack(weights)


def named(dense, weights, scale=20.0, bias=None, words=WORD[None]):
    rows = pool_masks_of_one(dense, weights)
    return name_regions(dense, rows, weights, (torch.stack([DOG, CAT]), words), Scoring(scale, bias))


def test_a_region_gets_its_label_and_ground_gets_none():
    dense, weights = picture((DOG, slice(0, 3), slice(0, 3)), (CAT, slice(5, 8), slice(5, 8)))
    ground = torch.zeros(1, SIDE, SIDE)
    ground[0, 0:3, 5:8] = 1
    answer = named(dense, torch.cat([weights, ground]))
    assert answer.label_ids[:2].tolist() == [0, 1]
    assert (answer.scores[:2] > 0.9).all()
    assert answer.scores[2] < 0.5, "what looks like no label has no confidence, although a label is the best one"


def test_a_model_trained_with_sigmoids_is_compared_in_the_same_way():
    dense, weights = picture((DOG, slice(0, 3), slice(0, 3)))
    with_bias, without = named(dense, weights, bias=-12.0), named(dense, weights)
    np.testing.assert_array_equal(with_bias.scores, without.scores)


def test_words_that_fit_better_take_the_confidence():
    dense, weights = picture((WORD, slice(0, 3), slice(0, 3)))
    assert named(dense, weights).scores[0] < 0.2


def test_without_words_the_image_itself_is_the_rival():
    dense, weights = picture((DOG, slice(0, 3), slice(0, 3)))
    answer = named(dense, weights, words=torch.zeros(0, 8))
    assert answer.scores[0] > 0.6
    everywhere = DOG[:, None, None].repeat(1, SIDE, SIDE)
    assert named(everywhere, weights, words=torch.zeros(0, 8)).scores[0] < 0.5, "as everywhere else"


def test_a_part_and_a_thing_with_ground_are_worse_than_the_thing():
    thing, part, more = slice(2, 6), slice(2, 4), slice(1, 8)
    dense, weights = picture((DOG, thing, thing))
    others = torch.zeros(2, SIDE, SIDE)
    others[0, part, thing], others[1, more, more] = 1, 1
    whole, half, loose = named(dense, torch.cat([weights, others])).scores
    assert whole > half
    assert whole > loose


def test_another_thing_of_the_same_label_makes_none_of_them_worse():
    one = picture((DOG, slice(0, 2), slice(0, 2)))
    two = picture((DOG, slice(0, 2), slice(0, 2)), (DOG, slice(5, 7), slice(5, 7)))
    assert named(*two).scores[0] == pytest.approx(float(named(*one).scores[0]), abs=0.01)


def test_a_region_smaller_than_half_a_cell_has_a_start():
    dense, weights = picture((DOG, slice(0, 1), slice(0, 1)))
    assert named(dense, weights * 0.2).scores[0] > 0.3


def test_no_region_is_no_answer():
    dense, _ = picture((DOG, slice(0, 1), slice(0, 1)))
    answer = named(dense, torch.zeros(0, SIDE, SIDE))
    assert answer.scores.shape == answer.label_ids.shape == (0,)


def test_masks_are_compared_and_not_their_boxes():
    ring = np.ones((600, 600), bool)
    ring[20:-20, 20:-20] = False
    inner = np.zeros((600, 600), bool)
    inner[30:570, 30:570] = True
    boxes = np.array([[0.0, 0, 600, 600], [30, 30, 570, 570]])
    scores, labels = np.array([0.9, 0.8]), np.array([0, 0])
    assert distinct(Candidates(boxes, [ring, inner], np.ones(2)), scores, labels, 0.5, 0.7).tolist() == [0, 1]
    assert distinct(Candidates(boxes, None, np.ones(2)), scores, labels, 0.5, 0.7).tolist() == [0]
    speck = np.zeros((600, 600), bool)
    speck[301, 301] = True
    regions = Candidates(np.array([[301.0, 301, 302, 302], *boxes]), [speck, ring, inner], np.ones(3))
    assert distinct(regions, np.array([0.7, *scores]), np.array([0, 0, 0]), 0.5, 0.7).tolist() == [1, 2]
    assert distinct(regions, np.array([0.7, *scores]), np.array([1, 0, 0]), 0.5, 0.7).tolist() == [1, 2, 0]
