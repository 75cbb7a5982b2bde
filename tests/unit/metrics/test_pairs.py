"""Pairs of images and texts against the authors' way of counting them, and against chance."""

import numpy as np
import pytest

from umgclip.metrics.pairs import matched


def by_hand(similarity):
    """As `scripts/evaluate_vlm.py` of MMVP counts a pair: each text names an image, and both must be named right."""
    named = [int(similarity[0][text] <= similarity[1][text]) for text in (0, 1)]
    ties = any(similarity[0][text] == similarity[1][text] for text in (0, 1))
    return named == [0, 1] and not ties


def test_texts_to_images_are_counted_as_mmvp_does():
    similarity = np.random.default_rng(0).integers(0, 4, (200, 2, 2)).astype(float)
    assert matched(similarity)["t2i"].tolist() == [by_hand(each.tolist()) for each in similarity]
    turned = similarity.transpose(0, 2, 1)
    assert matched(similarity)["i2t"].tolist() == [by_hand(each.tolist()) for each in turned]


def test_both_ways_are_winoground_s_group_score():
    right = matched(np.random.default_rng(1).normal(size=(20_000, 2, 2)))
    means = {way: each.mean() for way, each in right.items()}
    assert means == pytest.approx({"t2i": 1 / 4, "i2t": 1 / 4, "both": 1 / 6}, abs=0.01)
    assert (right["both"] == (right["t2i"] & right["i2t"])).all()


def test_an_image_that_is_nearer_to_everything_fails_one_way_only():
    right = matched(np.array([[[0.9, 0.8], [0.1, 0.2]]]))
    assert {way: each.tolist() for way, each in right.items()} == {"t2i": [False], "i2t": [True], "both": [False]}


def test_ties_are_wrong():
    assert not any(each.any() for each in matched(np.ones((3, 2, 2))).values())
