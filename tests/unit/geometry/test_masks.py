"""Masks: their stored form, tight boxes, overlaps and the token grid."""

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.geometry import masks
from umgclip.records import Mask


@pytest.fixture
def some():
    return np.random.default_rng(0).random((3, 9, 12)) < 0.4


def test_a_mask_comes_back_as_it_went(some):
    for mask in some:
        stored = masks.encode(mask)
        assert stored.size == (9, 12)
        np.testing.assert_array_equal(masks.decode(stored), mask)
        assert masks.area(stored) == mask.sum()


def test_damaged_counts_are_named():
    with pytest.raises(InputError, match=r"mask: expected a COCO RLE of size \(3, 4\), got 'é'"):
        masks.decode(Mask(size=(3, 4), counts="é"))


def test_the_box_is_tight_and_half_open():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    assert masks.box_of(mask) == (2.0, 1.0, 5.0, 3.0)


def test_an_empty_mask_has_no_box():
    with pytest.raises(InputError, match="got an empty mask"):
        masks.box_of(np.zeros((2, 2), bool))


def test_iou_is_that_of_sets(some):
    slow = [[(a & b).sum() / (a | b).sum() for b in some] for a in some]
    np.testing.assert_allclose(masks.iou(some, some), slow, rtol=1e-6)


def test_empty_masks_overlap_nothing():
    assert masks.iou(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), bool)).tolist() == [[0.0]]


def test_the_grid_holds_the_covered_share_of_each_cell():
    mask = np.random.default_rng(1).random((8, 12)) < 0.5
    slow = mask.reshape(4, 2, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(masks.to_grid(mask, (4, 4)), slow, atol=1e-6)
