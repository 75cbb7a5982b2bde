"""Crops of regions: their frame, and what stands outside of the mask."""

import numpy as np
import pytest

from umgclip.geometry.crops import crop_region

PIXELS = np.full((20, 30, 3), (10, 20, 30), np.uint8)
PIXELS[5:15, 10:20] = (200, 0, 0)
BOX = (10.0, 5.0, 20.0, 15.0)


@pytest.fixture
def mask():
    inside = np.zeros((20, 30), bool)
    inside[5:15, 10:15] = True  # the left half of the box
    return inside


def test_a_crop_without_frame_is_the_box():
    crop = crop_region(PIXELS, BOX, None, 10, 1.0)
    np.testing.assert_array_equal(crop, PIXELS[5:15, 10:20])


def test_the_frame_makes_the_box_its_share_of_the_crop():
    crop = crop_region(PIXELS, BOX, None, 20, 0.5)
    red = (crop == (200, 0, 0)).all(axis=2)
    assert red.sum() == 100
    assert red[5:15, 5:15].all()


def test_outside_of_the_mask_is_the_border_colour(mask):
    crop = crop_region(PIXELS, BOX, mask, 10, 1.0, "background")
    assert (crop[:, :5] == (200, 0, 0)).all()
    assert (crop[:, 5:] == (10, 20, 30)).all()


def test_outside_of_the_mask_is_clips_mean(mask):
    crop = crop_region(PIXELS, BOX, mask, 10, 1.0, "mean")
    assert len(np.unique(crop[:, 5:].reshape(-1, 3), axis=0)) == 1
    assert (crop[0, 9] != (10, 20, 30)).any()


def test_without_a_fill_the_mask_changes_nothing(mask):
    np.testing.assert_array_equal(crop_region(PIXELS, BOX, mask, 10, 0.8), crop_region(PIXELS, BOX, None, 10, 0.8))


def test_a_box_at_the_edge_is_filled_up():
    crop = crop_region(PIXELS, (0.0, 0.0, 10.0, 10.0), None, 20, 0.5)
    assert crop.shape == (20, 20, 3)
    assert (crop[:5] == (10, 20, 30)).all()


def test_a_box_thinner_than_a_pixel_still_gives_a_crop():
    assert crop_region(PIXELS, (3.0, 3.0, 3.2, 3.2), None, 8, 1.0).shape == (8, 8, 3)


@pytest.mark.parametrize("step", [1, -1])
def test_a_masked_crop_has_the_masks_pixels_alone_however_the_image_lies_in_memory(step):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)[::step, ::step]
    mask = (rng.random((40, 60)) < 0.5)[::step, ::step]
    crop = crop_region(pixels, (20.0, 10.0, 70.0, 45.0), mask, 50, 1.0, np.array([1, 2, 3], np.uint8))
    expected = np.full((50, 50, 3), (1, 2, 3), np.uint8)
    inside = np.s_[: 40 - 2, : 60 - 20]  # the square around the box begins 20 to the right and 2 down
    expected[inside][mask[2:, 20:]] = pixels[2:, 20:][mask[2:, 20:]]
    np.testing.assert_array_equal(crop, expected)
