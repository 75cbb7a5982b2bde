"""Proposals and masks on drawn images."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from umgclip.annotate.models.grabcut import GrabCut
from umgclip.annotate.models.segment_tree import SegmentTree
from umgclip.annotate.roles import Proposal
from umgclip.geometry import masks as mask_ops
from umgclip.geometry.background import background_distance, smooth_lab
from umgclip.params import DataParams, MaskerParams, ProposerParams
from umgclip.proposals.foreground import foreground
from umgclip.records import Text
from umgclip.sources.demo.classes import things
from umgclip.sources.demo.scenes import compose


def _disc(side: int, centre: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


@pytest.fixture
def two_discs() -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    pixels = np.full((96, 96, 3), (200, 190, 150), np.float32) + rng.normal(0, 3, (96, 96, 1))
    masks = [_disc(96, (30, 30), 14), _disc(96, (66, 60), 18)]
    for mask, colour in zip(masks, ((200, 40, 40), (40, 60, 200)), strict=True):
        pixels[mask] = colour
    return np.clip(pixels, 0, 255).astype(np.uint8), masks


def test_every_object_has_a_proposal_and_the_ground_is_stuff(two_discs):
    pixels, masks = two_discs
    found = SegmentTree(ProposerParams()).propose(pixels)
    thing_masks = np.stack([p.mask for p in found if not p.is_stuff])
    assert (mask_ops.iou(np.stack(masks), thing_masks).max(axis=1) > 0.9).all()
    ground = [p.mask for p in found if p.is_stuff]
    assert len(ground) == 1
    assert mask_ops.iou(ground[0][None], ~np.any(masks, axis=0)[None])[0, 0] > 0.95
    scores = [p.score for p in found if not p.is_stuff]
    assert scores == sorted(scores, reverse=True)


def test_things_end_where_the_contrast_is_half(two_discs):
    pixels, masks = two_discs
    blurred = cv2.GaussianBlur(pixels, (0, 0), 0.8)
    found = foreground(blurred, 3.0, 0.005)
    true = np.any(masks, axis=0)
    assert mask_ops.iou(found[None], true[None])[0, 0] > 0.95
    rough = background_distance(smooth_lab(blurred)) > 3.0
    assert rough.sum() > 1.08 * true.sum(), "smoothing alone takes a rim of ground along"


def test_specks_are_no_things_and_small_holes_no_ground(two_discs):
    pixels, masks = two_discs
    pixels = pixels.copy()
    pixels[60:63, 66:69] = pixels[2, 2]
    pixels[85:88, 15:18] = 0
    found = foreground(pixels, 3.0, 0.005)
    assert found[61, 67]
    assert not found[86, 16]


def test_an_empty_image_has_only_ground():
    found = SegmentTree(ProposerParams()).propose(np.full((64, 64, 3), 128, np.uint8))
    assert [p.is_stuff for p in found] == [True]
    assert found[0].mask.all()


def test_the_number_of_proposals_is_limited_and_repeatable(two_discs):
    pixels, _ = two_discs
    few = SegmentTree(ProposerParams(most=2))
    first, again = few.propose(pixels), few.propose(pixels)
    assert sum(not p.is_stuff for p in first) <= 2
    assert [p.mask.tobytes() for p in first] == [p.mask.tobytes() for p in again]


def test_recall_on_demo_scenes():
    kinds, params = things(), DataParams()
    proposer, hits, total = SegmentTree(ProposerParams()), 0, 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        scene = compose([kinds[i] for i in rng.choice(len(kinds), 3, replace=False)], params, rng)
        found = [p.mask for p in proposer.propose(scene.pixels) if not p.is_stuff]
        total += len(scene.masks)
        if found:
            hits += int((mask_ops.iou(np.stack(scene.masks), np.stack(found)).max(axis=1) > 0.5).sum())
    assert hits / total > 0.8


def test_grabcut_mends_a_rough_mask(two_discs):
    pixels, masks = two_discs
    rough = _disc(96, (65, 61), 15)
    proposal = Proposal.of_mask(rough, 1.0, tags=(Text(text="disc", source="human"),))
    before = mask_ops.iou(rough[None], masks[1][None])[0, 0]
    (refined,) = GrabCut(MaskerParams(redraw=True)).refine(pixels, [proposal])
    after = mask_ops.iou(refined.mask[None], masks[1][None])[0, 0]
    assert before < 0.75
    assert after > 0.9
    assert proposal.mask is rough


def test_grabcut_draws_what_has_only_a_box(two_discs):
    pixels, masks = two_discs
    tags = (Text(text="disc", source="human"),)
    drawn = Proposal.of_mask(_disc(96, (30, 30), 12), 1.0, tags=tags)
    boxed = Proposal.of_box(mask_ops.box_of(masks[1]), (96, 96), 1.0)
    assert boxed is not None
    drawn, boxed = GrabCut(MaskerParams()).refine(pixels, [drawn, replace(boxed, tags=tags)])
    assert boxed.has_mask
    assert mask_ops.iou(boxed.mask[None], masks[1][None])[0, 0] > 0.85
    assert drawn.mask.sum() == _disc(96, (30, 30), 12).sum(), "a proposer's mask stays"


def test_grabcut_leaves_unlabelled_and_stuff_alone(two_discs):
    pixels, _ = two_discs
    rough = _disc(96, (65, 61), 15)
    unlabelled = Proposal.of_mask(rough, 1.0)
    stuff = Proposal.of_mask(rough, 1.0, is_stuff=True, tags=(Text(text="sand", source="human"),))
    assert GrabCut(MaskerParams(redraw=True)).refine(pixels, [unlabelled, stuff]) == [unlabelled, stuff]
