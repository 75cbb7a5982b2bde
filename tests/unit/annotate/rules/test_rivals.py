"""Contradictions between the words of one detector, by hand."""

import numpy as np
import pytest

from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rules.negation import is_negated
from umgclip.annotate.rules.rivals import apart, best_names
from umgclip.geometry import masks as mask_ops
from umgclip.records import Text


def region(word, score, columns, is_stuff=False):
    mask = np.zeros((4, 20), bool)
    mask[:, slice(*columns)] = True
    return Proposal.of_mask(mask, score, is_stuff, (Text(text=word, score=score, source="m"),))


def names(proposals):
    return [(p.tags[0].text, p.score) for p in proposals]


def test_a_thing_with_two_names_gets_the_better_one():
    dog, puppy = region("dog", 0.9, (0, 10)), region("puppy", 0.8, (0, 9))
    again, cat = region("dog", 0.7, (0, 10)), region("cat", 0.6, (5, 15))
    things, refused = best_names([puppy, cat, again, dog], 0.8, 10)
    # the second dog is not a contradiction: the rule `nms` sees to it; dog and cat share a third
    assert names(things) == [("dog", 0.9), ("dog", 0.7), ("cat", 0.6)]
    assert [(one.reason, one.text.text, one.detail) for one in refused] == [
        ("rival", "puppy", "dog with a score of 0.900")
    ]
    assert refused[0].box_xyxy == (0.0, 0.0, 9.0, 4.0)


def test_not_more_things_than_asked_for():
    things, refused = best_names([region(word, score, (0, 2)) for word, score in (("a", 0.1), ("b", 0.9))], 1.0, 1)
    assert (names(things), refused) == ([("b", 0.9)], [])


def test_overlapping_stuff_belongs_to_the_better_word():
    sand, beach, sea = region("sand", 0.9, (0, 10)), region("beach", 0.8, (1, 11)), region("sea", 0.7, (8, 20))
    stuff, refused = apart([sea, beach, sand], 0.5)
    assert names(stuff) == [("sand", 0.9), ("sea", 0.7)]
    assert stuff[0] is sand
    # sea loses two of its twelve columns to the sand; the beach, nine of ten
    assert stuff[1].mask.sum() == 40
    assert not (stuff[0].mask & stuff[1].mask).any()
    assert [(one.reason, one.text.text, one.detail) for one in refused] == [
        ("stuff_overlap", "beach", "0.900 of it is better stuff")
    ]


def test_stuff_that_is_covered_completely_never_stays():
    stuff, refused = apart([region("sand", 0.9, (0, 10)), region("mud", 0.8, (0, 5))], 0.0)
    assert (names(stuff), len(refused)) == ([("sand", 0.9)], 1)


def test_encoded_iou_is_that_of_the_pixels():
    rng = np.random.default_rng(0)
    masks = rng.random((5, 17, 23)) > 0.5
    encoded = [mask_ops.encode(mask) for mask in masks]
    np.testing.assert_allclose(mask_ops.encoded_iou(encoded[0], encoded), mask_ops.iou(masks[:1], masks)[0], atol=1e-6)
    assert mask_ops.encoded_iou(encoded[0], []).shape == (0,)


@pytest.mark.parametrize(
    "query",
    ["person without helmet", "no dogs", "a cat that isn't black", "car w/o wheels", "neither cat nor dog",
     "NOT a tree", "man lacking shoes", "nothing", "a dog that doesn’t run"],
)  # fmt: skip
def test_negations(query):
    assert is_negated(query)


@pytest.mark.parametrize(
    "query",
    ["person", "no parking sign", "no smoking signs", "knot", "notebook", "northern cardinal", "sleeveless shirt",
     "non-stick pan", "nostril", ""],
)  # fmt: skip
def test_no_negations(query):
    assert not is_negated(query)
