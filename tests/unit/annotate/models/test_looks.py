"""Crops of regions: which side, how many at once, and photographs that are larger than what is worked on."""

import cv2
import numpy as np
import pytest

from umgclip.annotate.models.grabcut import GrabCut
from umgclip.annotate.models.looks import crop_sides, crops, in_batches
from umgclip.annotate.models.segment_tree import SegmentTree
from umgclip.annotate.roles import Proposal
from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.params import LabelParams, MaskerParams, ProposerParams
from umgclip.records import Mask, Text


@pytest.mark.parametrize(
    ("crop_px", "own", "patch", "sides"),
    [
        ("auto", 224, 16, (112, 176)), ("auto", 336, 14, (168, 252)), ("auto", 224, 14, (112, 168)),
        ("auto", 224, 32, (224,)), ("auto", 96, 12, (96,)), (None, 224, 16, (224,)), (48, 96, 12, (48,)),
    ],
)  # fmt: skip
def test_sides_of_crops(crop_px, own, patch, sides):
    assert crop_sides(crop_px, (own, own), (patch, patch)) == sides


def test_a_side_is_whole_patches():
    with pytest.raises(InputError, match=r"annotate.label.crop_px: expected a multiple of .*\(16, 16\), got 50"):
        crop_sides(50, (224, 224), (16, 16))


def test_a_small_region_is_seen_in_a_small_crop_and_the_ground_in_the_largest():
    pixels = np.zeros((300, 400, 3), np.uint8)
    masks = np.zeros((3, 300, 400), bool)
    masks[0, 10:50, 10:70] = True  # 60 px of .6 of a crop: 100 px
    masks[1, 10:200, 10:200] = True
    masks[2, 250:] = True
    found = [Proposal.of_mask(mask, 1.0, is_stuff) for mask, is_stuff in zip(masks, (False, False, True), strict=True)]
    seen = crops(pixels, found, LabelParams(object_share=0.6), (112, 176))
    assert [crop.shape for crop in seen] == [(112, 112, 3), (176, 176, 3), (176, 176, 3)]


def test_images_of_one_size_go_together_and_a_cpu_takes_few_large_ones_at_once():
    small, large = np.zeros((112, 112, 3), np.uint8), np.zeros((224, 224, 3), np.uint8)
    images = [small, large, small, *[large] * 60]
    on_cpu, elsewhere = (in_batches(images, 256, (16, 16), on_cpu=flag) for flag in (True, False))
    assert elsewhere == [[0, 2], [1, *range(3, 63)]]
    assert [len(rows) for rows in on_cpu] == [2, 41, 20]
    assert sorted(row for rows in on_cpu for row in rows) == list(range(63))


@pytest.fixture
def photograph():
    """Two discs on a plain ground, 1280 x 960, and their masks."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:960, :1280]
    masks = [(x - 400) ** 2 + (y - 400) ** 2 <= 190**2, (x - 900) ** 2 + (y - 600) ** 2 <= 240**2]
    pixels = np.full((960, 1280, 3), (200, 190, 150), np.float32) + rng.normal(0, 3, (960, 1280, 1))
    for mask, colour in zip(masks, ((200, 40, 40), (40, 60, 200)), strict=True):
        pixels[mask] = colour
    return np.clip(pixels, 0, 255).astype(np.uint8), np.stack(masks)


def test_regions_of_a_large_photograph_are_found_in_a_small_picture_of_it(photograph):
    pixels, masks = photograph
    found = SegmentTree(ProposerParams(working_px=320)).propose(pixels)
    assert all(isinstance(p.encoded(), Mask) and p.encoded().size == (960, 1280) for p in found)
    assert (mask_ops.iou(masks, np.stack([p.mask for p in found if not p.is_stuff])).max(axis=1) > 0.97).all()
    (ground,) = [p for p in found if p.is_stuff]
    assert mask_ops.iou(ground.mask[None], ~masks.any(axis=0)[None])[0, 0] > 0.97


def test_a_large_crop_is_cut_small_and_enlarged(photograph):
    pixels, masks = photograph
    rough = cv2.dilate(masks[0].astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)
    labelled = Proposal.of_mask(rough, 1.0, tags=(Text(text="disc", source="t"),))
    (drawn,) = GrabCut(MaskerParams(working_px=256, redraw=True)).refine(pixels, [labelled])
    before, after = (mask_ops.iou(mask[None], masks[:1])[0, 0] for mask in (rough, drawn.mask))
    assert after > 0.97 > before
