"""Polygons before they are rasterised: what is far outside is cut, what is near stays to the bit."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.geometry.polygons import clipped, outline_px
from umgclip.records import Mask


def coco(polygons, height, width):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(bool)


def test_a_polygon_near_the_image_gives_cocos_own_pixels():
    rng = np.random.default_rng(0)
    for _ in range(20):
        polygons = [rng.uniform(-30, 90, 2 * int(rng.integers(3, 9))).tolist() for _ in range(2)]
        assert clipped(polygons[0], 60, 40) == polygons[0]
        assert (mask_ops.decode(mask_ops.from_polygons(polygons, (40, 60))) == coco(polygons, 40, 60)).all()


def test_what_is_cut_off_far_outside_changes_no_pixel():
    rng = np.random.default_rng(1)
    for _ in range(20):
        polygon = rng.uniform(-3000, 3000, 2 * int(rng.integers(3, 9))).tolist()
        cut = mask_ops.decode(mask_ops.from_polygons([polygon], (40, 60)))
        assert np.mean(cut != coco([polygon], 40, 60)) < 0.01  # the rasteriser rounds along the longer edge


@pytest.mark.parametrize(
    "polygon",
    [[-164.1, -221.8, 2.08e8, 3.5e8, 225.9, 236.5, 272.0, 384.2], [1e12, 2.0, 30.0, 4.0, 5.0, -1e12, 7.0, 8.0]],
)
def test_a_point_that_is_far_away_costs_neither_memory_nor_the_process(polygon):
    near = clipped(polygon, 64, 48)
    assert outline_px(near) < 2000
    assert mask_ops.from_polygons([polygon], (48, 64)).size == (48, 64)


@pytest.mark.parametrize(
    "polygon", [[1e13, 0.0, 1.0, 1.0, 2.0, 2.0], [float("nan")] * 6, [0.0, 0.0, 1.0, 1.0], [0.0] * 7, []]
)
def test_what_is_no_polygon_is_refused(polygon):
    with pytest.raises(InputError, match="expected polygons of three points or more"):
        mask_ops.from_polygons([polygon], (48, 64))


def test_an_outline_of_millions_of_pixels_is_refused_before_memory_is_reserved():
    zigzag = [n for _ in range(20_000) for n in (0.0, 0.0, 300.0, 200.0)]
    with pytest.raises(InputError, match="expected outlines of at most 4000000 pixels together, got 1.2e"):
        mask_ops.from_polygons([zigzag], (200, 300))


def test_a_polygon_that_misses_the_image_is_an_empty_mask():
    assert mask_ops.tight_box(mask_ops.from_polygons([[1e6, 1e6, 2e6, 1e6, 2e6, 2e6]], (48, 64))) is None


@pytest.mark.parametrize("size", [(0, 5), (-1, 5), (1 << 20, 1 << 20)])
def test_an_implausible_size_is_refused(size):
    with pytest.raises(InputError, match="expected a size of 1 to"):
        mask_ops.decode(Mask(size=size, counts="0"))
    with pytest.raises(InputError, match="expected a size of 1 to"):
        mask_ops.from_polygons([[0.0, 0.0, 1.0, 0.0, 1.0, 1.0]], size)


@pytest.mark.parametrize("counts", ["", "P", "oooooooooo0", "\u00e9", "52203P", "0 1", "\x000"])
def test_text_that_is_no_encoding_never_reaches_the_c_code(counts):
    for read in (mask_ops.decode, mask_ops.area, mask_ops.tight_box):
        with pytest.raises(InputError, match="expected a COCO RLE of size"):
            read(Mask(size=(4, 4), counts=counts))


@pytest.mark.parametrize("counts", [[3072.0], [3071], [True, 3071], [-1, 3073], ["3072"], [10**400]])
def test_counts_that_are_no_runs_are_refused(counts):
    with pytest.raises(InputError, match="expected counts of 3072 pixels together"):
        mask_ops.from_counts(counts, (48, 64))


def test_runs_are_what_they_say():
    mask = mask_ops.decode(mask_ops.from_counts([2, 3, 1], (2, 3)))
    assert mask.tolist() == [[False, True, True], [False, True, False]]
