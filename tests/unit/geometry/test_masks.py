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


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 48), (500, 375)])
def test_the_runs_of_an_rle_are_those_of_its_pixels(size):
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        pixels = rng.random(size) < share
        flat = pixels.T.ravel()
        edges = np.flatnonzero(np.diff(flat)) + 1
        expected = np.diff(np.concatenate([[0], edges, [flat.size]]))
        expected = np.concatenate([[0], expected]) if flat[0] else expected
        assert np.array_equal(masks._runs(masks.encode(pixels).counts.encode()), expected)


@pytest.mark.parametrize("counts", ["1", "04", "o0", "0", "ooooo0", "PP1", "52203"])
def test_runs_that_are_not_the_pixels_of_the_size_are_refused_and_never_memory_that_stood_there(counts):
    for read in (masks.decode, masks.area, masks.tight_box):
        with pytest.raises(InputError, match=r"mask: expected a COCO RLE of 30000 pixels \(200 x 150\), got runs of"):
            read(Mask(size=(200, 150), counts=counts))


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


def test_cells_of_an_encoded_mask_are_those_of_the_decoded_one() -> None:
    rng = np.random.default_rng(0)
    for number in range(60):
        height, width = (int(side) for side in rng.integers(20, 200, 2))
        mask = np.zeros((height, width), bool)
        y, x = rng.integers(0, height), rng.integers(0, width)
        mask[y : y + rng.integers(1, height), x : x + rng.integers(1, width)] = True
        mask &= rng.random((height, width)) < (0.5 if number % 2 else 1.1)  # ragged, or a box
        if number % 10 == 0:
            mask[:] = number % 20 == 0
        x0, y0 = int(rng.integers(0, width // 3)), int(rng.integers(0, height // 3))
        x1, y1 = width - int(rng.integers(0, width // 3)), height - int(rng.integers(0, height // 3))
        grid = (int(rng.integers(1, min(14, y1 - y0))), int(rng.integers(1, min(14, x1 - x0))))

        actual = masks.encoded_to_grid(masks.encode(mask), (x0, y0, x1, y1), grid)

        np.testing.assert_allclose(actual, masks.to_grid(mask[y0:y1, x0:x1], grid), atol=1e-5)


def test_cells_of_boxes_are_those_of_their_pixels() -> None:
    boxes = np.array([[3.0, 2.0, 17.0, 9.0], [0.0, 0.0, 30.0, 20.0], [5.0, 5.0, 5.0, 9.0]])
    window, grid = (4, 1, 26, 19), (3, 5)

    actual = masks.boxes_to_grid(boxes, window, grid)

    for cells, (x0, y0, x1, y1) in zip(actual, boxes.astype(int), strict=True):
        mask = np.zeros((20, 30), bool)
        mask[y0:y1, x0:x1] = True
        np.testing.assert_allclose(cells, masks.to_grid(mask[1:19, 4:26], grid), atol=1e-5)


def test_a_broken_mask_has_no_cells() -> None:
    with pytest.raises(InputError, match="mask: expected a COCO RLE"):
        masks.encoded_to_grid(Mask(size=(4, 4), counts="~"), (0, 0, 4, 4), (2, 2))
