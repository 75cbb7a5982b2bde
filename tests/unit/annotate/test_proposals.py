"""Proposals and masks on drawn images."""

import numpy as np
import pytest

from umgclip.annotate.grabcut import GrabCut
from umgclip.annotate.roles import Proposal
from umgclip.annotate.segment_tree import SegmentTree
from umgclip.geometry import masks as mask_ops
from umgclip.params import DataParams, MaskerParams, ProposerParams
from umgclip.records import Text
from umgclip.sources.demo import compose
from umgclip.sources.demo_classes import things


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
    assert hits / total > 0.75


def test_grabcut_mends_a_rough_mask(two_discs):
    pixels, masks = two_discs
    rough = _disc(96, (65, 61), 15)
    proposal = Proposal(rough, 1.0, tags=[Text(text="disc", source="human")])
    before = mask_ops.iou(rough[None], masks[1][None])[0, 0]
    GrabCut(MaskerParams()).refine(pixels, [proposal])
    after = mask_ops.iou(proposal.mask[None], masks[1][None])[0, 0]
    assert before < 0.75
    assert after > 0.9


def test_grabcut_leaves_unlabelled_and_stuff_alone(two_discs):
    pixels, _ = two_discs
    rough = _disc(96, (65, 61), 15)
    unlabelled = Proposal(rough, 1.0)
    stuff = Proposal(rough, 1.0, is_stuff=True, tags=[Text(text="sand", source="human")])
    GrabCut(MaskerParams()).refine(pixels, [unlabelled, stuff])
    assert (unlabelled.mask == rough).all()
    assert (stuff.mask == rough).all()
