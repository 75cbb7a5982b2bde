"""Boxes and masks by detectors, against transformers' own forward and post-processing."""

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

from umgclip.annotate.models.foundation import owlv2
from umgclip.annotate.models.foundation.detr import Detr
from umgclip.annotate.models.foundation.grounding_dino import GroundingDino, best_phrase, phrase_spans
from umgclip.annotate.models.foundation.mask2former import Mask2Former, concept_name
from umgclip.annotate.models.foundation.masking import with_mask_at_point
from umgclip.annotate.models.foundation.owlv2 import Owlv2
from umgclip.annotate.models.foundation.sam2 import Sam2
from umgclip.annotate.proposal import Proposal
from umgclip.geometry import boxes as box_ops
from umgclip.geometry import masks as mask_ops
from umgclip.params.annotators import DetrParams, GroundingDinoParams, Mask2FormerParams, Owlv2Params, Sam2Params

CLASSES = {"detr": hf.DetrForObjectDetection, "rt_detr_v2": hf.RTDetrV2ForObjectDetection}


def boxes(found):
    return np.array([p.box_xyxy for p in found]).reshape(-1, 4)


def inside(found, image):
    height, width = image.shape[:2]
    own = boxes(found)
    return bool((own[:, :2] >= 0).all() and (own[:, 2] <= width).all() and (own[:, 3] <= height).all())


@pytest.mark.parametrize("kind", ["detr", "rt_detr_v2"])
def test_closed_detectors_say_what_transformers_says(weights, images, kind):
    detector = Detr(DetrParams(kind=kind, path=weights(kind), threshold=0.0, batch=1), "m")
    found = detector.propose_images(images, [""] * 3)
    model = CLASSES[kind].from_pretrained(weights(kind)).eval()
    processor = hf.AutoImageProcessor.from_pretrained(weights(kind))
    for image, own in zip(images, found, strict=True):
        with torch.no_grad():
            out = model(**processor(images=Image.fromarray(image), return_tensors="pt"))
        result = processor.post_process_object_detection(out, threshold=0.0, target_sizes=[image.shape[:2]])[0]
        assert inside(own, image)
        expected = np.sort(result["scores"].numpy())[::-1]
        np.testing.assert_allclose([p.score for p in own], expected[: len(own)], atol=1e-5)
        assert {t.text for p in own for t in p.tags} <= {"cat", "dog"}
        assert all(p.source == detector.name and not p.has_mask for p in own)


@pytest.mark.parametrize("kind", ["detr", "rt_detr_v2", "grounding_dino", "mm_grounding_dino", "owlv2"])
def test_a_batch_says_what_single_images_say(weights, images, vocabulary, kind):
    def boxes_of(batch):
        if kind == "owlv2":
            model = Owlv2(Owlv2Params(path=weights(kind), threshold=0.0, batch=batch), "m", vocabulary)
        elif "dino" in kind:
            model = GroundingDino(
                GroundingDinoParams(kind=kind, path=weights(kind), threshold=0.0, batch=batch), "m", vocabulary
            )
        else:
            model = Detr(DetrParams(kind=kind, path=weights(kind), threshold=0.0, batch=batch), "m")
        captions = ["a cat on sand", "a dog", "a cat on sand"]
        return [boxes(found) for found in model.propose_images(images, captions)]

    for single, batched in zip(boxes_of(1), boxes_of(3), strict=True):
        assert len(single)
        if kind in ("rt_detr_v2", "owlv2"):  # the others see the padding of smaller images at their borders
            np.testing.assert_allclose(single, batched, atol=0.02)
        else:
            assert len(single) == len(batched)


def test_every_box_has_exactly_one_phrase(weights, images, vocabulary):
    params = GroundingDinoParams(kind="grounding_dino", path=weights("grounding_dino"), threshold=0.0, nms_iou=1.0)
    detector = GroundingDino(params, "m", vocabulary)
    (found,) = detector.propose_images(images[:1], ["a cat and a dog on sand"])
    assert found
    assert all(len(p.tags) == 1 and p.tags[0].text in ("cat", "dog", "sand") for p in found)
    assert all(p.is_stuff == (p.tags[0].text == "sand") for p in found)
    # the text encoder takes 22 tokens at once, and all six concepts are more
    everything = detector._turns([*vocabulary.concepts, "zebra crossing", "elephant"])
    assert len(everything) > 1
    assert [q for turn in everything for q in turn] == [*vocabulary.concepts, "zebra crossing", "elephant"]


def test_phrases_by_hand():
    # [CLS] a cat . dog . [SEP]
    ids = torch.tensor([101, 5, 6, 1012, 7, 1012, 102])
    assert phrase_spans(ids, 1012) == [(1, 3), (4, 5)]
    p = torch.tensor([[0.9, 0.1, 0.6, 0.9, 0.3, 0.9, 0.9], [0.0, 0.5, 0.1, 0.0, 0.4, 0.0, 0.0]])
    scores, rows = best_phrase(p, [(1, 3), (4, 5)])
    assert rows.tolist() == [0, 1]  # means .35 against .3; .3 against .4
    assert scores.tolist() == pytest.approx([0.6, 0.4])


def test_owlv2_scores_are_those_of_its_own_forward(weights, images, vocabulary):
    params = Owlv2Params(path=weights("owlv2"), threshold=0.0, nms_iou=1.0, queries=["cat", "dog"], template="{a} {}")
    (found,) = Owlv2(params, "m", vocabulary).propose_images(images[:1], [""])
    model = hf.Owlv2ForObjectDetection.from_pretrained(weights("owlv2")).eval()
    processor = hf.Owlv2Processor.from_pretrained(weights("owlv2"))
    inputs = processor(text=[["a cat", "a dog"]], images=Image.fromarray(images[0]), return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
    result = processor.post_process_grounded_object_detection(
        out, threshold=0.0, target_sizes=[images[0].shape[:2]], text_labels=[["a cat", "a dog"]]
    )[0]
    order = result["scores"].argsort(descending=True, stable=True)
    # boxes that lie outside of the image are no findings
    expected = [
        (round(float(result["scores"][i]), 5), result["text_labels"][i].split()[1])
        for i in order
        if (result["boxes"][i].clamp(min=0)[2:] - result["boxes"][i].clamp(min=0)[:2]).min() >= 1
        and result["boxes"][i][1] < images[0].shape[0] - 1
    ]
    assert [(round(p.score, 5), p.tags[0].text) for p in found] == expected


def test_owlv2_compares_long_lists_some_at_a_time(weights, images, vocabulary, monkeypatch):
    params = Owlv2Params(path=weights("owlv2"), threshold=0.0, nms_iou=1.0, queries=[*"abcdefg"])
    (at_once,) = Owlv2(params, "m", vocabulary).propose_images(images[:1], [""])
    monkeypatch.setattr(owlv2, "_QUERIES", 2)
    (divided,) = Owlv2(params, "m", vocabulary).propose_images(images[:1], [""])
    assert [(p.score, p.tags[0].text) for p in divided] == [(p.score, p.tags[0].text) for p in at_once]
    assert len({p.tags[0].text for p in divided}) > 1


def test_owlv2_sees_large_images_scaled_down(weights, images, vocabulary):
    params = Owlv2Params(path=weights("owlv2"), threshold=0.0, nms_iou=1.0, queries=["cat"])
    small = images[0]
    large = small.repeat(20, axis=0).repeat(20, axis=1)
    one, other = Owlv2(params, "m", vocabulary).propose_images([small, large], [""] * 2)
    assert len(one) == len(other) > 0
    assert (box_ops.iou(boxes(other) / 20, boxes(one)).max(1) > 0.95).all()


def test_owlv2_without_words_goes_by_objectness(weights, images, vocabulary):
    params = Owlv2Params(path=weights("owlv2"), threshold=0.0, queries=[])
    (found,) = Owlv2(params, "m", vocabulary).propose_images(images[:1], [""])
    assert found
    assert all(p.tags == () for p in found)


def test_panoptic_segments_by_hand(weights):
    """A cat on the left, walls above and below on the right (one stuff), and a dog that the cat covers."""
    proposer = Mask2Former(Mask2FormerParams(path=weights("mask2former"), threshold=0.5, things=2, overlap=0.5), "m")
    masks = torch.full((2, 4, 16, 16), -9.0)
    masks[:, 0, :, :8] = 9.0
    masks[:, 1, :8, 8:] = 9.0
    masks[:, 2, 8:, 8:] = 9.0
    masks[:, 3, :4, :4] = 8.0
    classes = torch.full((2, 4, 5), -9.0)
    for query, label in enumerate((0, 2, 2, 1)):
        classes[:, query, label] = 9.0 if query != 3 else 3.0

    def forward(**inputs):
        assert inputs["pixel_values"].shape[0] == 2
        return SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks, pixel_values=None)

    proposer._loaded = dataclasses.replace(proposer._loaded, model=forward)
    large = np.zeros((1500, 1100, 3), np.uint8)
    for image, own in zip(
        [large[:96, :128], large], proposer.propose_images([large[:96, :128], large], [""] * 2), strict=True
    ):
        height, width = image.shape[:2]
        assert [(p.tags[0].text, p.is_stuff) for p in own] == [("cat", False), ("wall", True)]
        cat, wall = (p.mask for p in own)
        assert cat.shape == (height, width)
        assert not (cat & wall).any()
        assert cat.mean() == pytest.approx(0.5, abs=0.02)
        assert (cat | wall).mean() > 0.97
        assert all(p.source == p.mask_source == proposer.name and p.score > 0.9 for p in own)


def test_names_of_stuff():
    assert [concept_name(n) for n in ("wall-other-merged", "floor-wood", "dining table", "grass-merged")] == [
        "wall", "floor wood", "dining table", "grass"
    ]  # fmt: skip


def test_boxes_become_masks_as_transformers_draws_them(weights, images):
    masker = Sam2(Sam2Params(path=weights("sam2"), min_box_iou=0.0), "m")
    prompts = [[(10.0, 10.0, 50.0, 60.0), (20.0, 20.0, 100.0, 90.0)], [(5.0, 5.0, 60.0, 60.0)], []]
    found = [
        [Proposal.of_box(box, image.shape[:2], 0.5) for box in own] for own, image in zip(prompts, images, strict=True)
    ]
    refined = masker.refine_images(images, found)
    assert [len(one) for one in refined] == [2, 1, 0]
    assert not any(p.has_mask for one in found for p in one)
    model = hf.Sam2Model.from_pretrained(weights("sam2")).eval()
    processor = hf.Sam2Processor.from_pretrained(weights("sam2"))
    for image, own, given in zip(images[:2], prompts, refined, strict=False):
        inputs = processor(images=Image.fromarray(image), input_boxes=[[list(b) for b in own]], return_tensors="pt")
        with torch.no_grad():
            out = model(**inputs, multimask_output=False)
        expected = processor.post_process_masks(out.pred_masks, inputs["original_sizes"])[0][:, 0].numpy()
        drawn = [p for p in given if p.has_mask]
        assert len(drawn) == sum(mask.any() for mask in expected)
        for proposal, mask in zip(given, expected, strict=True):
            if mask.any():
                assert mask_ops.iou(proposal.mask[None], mask[None])[0, 0] > 0.99
                assert proposal.mask_source == masker.name


def test_a_point_is_a_prompt_of_its_own_beside_boxes(weights, images):
    masker = Sam2(Sam2Params(path=weights("sam2"), min_box_iou=0.0), "m")
    box = Proposal.of_box((10.0, 10.0, 50.0, 60.0), images[0].shape[:2], 0.5)
    asked = [replace(box, point_xy=(30.5, 40.5)), box, replace(box, point_xy=(100.5, 20.5))]
    (refined,) = masker.refine_images(images[:1], [asked])
    model = hf.Sam2Model.from_pretrained(weights("sam2")).eval()
    processor = hf.Sam2Processor.from_pretrained(weights("sam2"))
    points = [[[list(asked[row].point_xy)] for row in (0, 2)]]
    inputs = processor(
        images=Image.fromarray(images[0]), input_points=points, input_labels=[[[1], [1]]], return_tensors="pt"
    )
    with torch.no_grad():
        out = model(**inputs, multimask_output=True)
    masks = processor.post_process_masks(out.pred_masks, inputs["original_sizes"])[0].numpy()
    for row, (x, y), drawn, scores in zip((0, 2), ((30, 40), (100, 20)), masks, out.iou_scores[0], strict=True):
        expected = drawn[int(scores.argmax())]
        assert refined[row].has_mask == bool(expected[y, x])
        if expected[y, x]:
            assert mask_ops.iou(refined[row].mask[None], expected[None])[0, 0] > 0.99
        assert refined[row].point_xy == asked[row].point_xy
    (alone,) = masker.refine_images(images[:1], [[box]])
    assert mask_ops.encode(refined[1].mask) == mask_ops.encode(alone[0].mask)


def test_a_mask_that_misses_the_point_is_not_taken():
    region = replace(Proposal.of_box((0.0, 0.0, 4.0, 4.0), (8, 8), 1.0), point_xy=(6.5, 6.5))
    mask = np.zeros((8, 8), bool)
    mask[:4, :4] = True
    assert with_mask_at_point(region, mask, "m") is region
    mask[6, 6] = True
    assert with_mask_at_point(region, mask, "m").mask_source == "m"


def test_a_mask_that_misses_its_box_is_not_taken(weights, images):
    masker = Sam2(Sam2Params(path=weights("sam2"), min_box_iou=1.0), "m")
    proposal = Proposal.of_box((10.0, 10.0, 50.0, 60.0), (96, 128), 0.5)
    assert masker.refine_images(images[:1], [[proposal]]) == [[proposal]]


def test_everything_mode(weights, images):
    params = Sam2Params(path=weights("sam2"), pred_iou=0.0, stability=0.0, points_per_side=4, points_per_batch=16)
    found = Sam2(params, "m").propose_images(images[:1], [""])[0]
    assert all(p.mask.shape == (96, 128) and p.has_mask for p in found)
