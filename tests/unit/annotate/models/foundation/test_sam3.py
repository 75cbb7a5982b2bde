"""SAM 3 against transformers' own forward and post-processing, and what its words contradict each other in."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file

from umgclip.annotate.cache.codec import pack, unpack
from umgclip.annotate.cache.identity import answer_identities
from umgclip.annotate.cache.inputs import input_digest
from umgclip.annotate.cache.role_calls import ROLE_CALLS
from umgclip.annotate.models.foundation.sam3 import Sam3
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.annotate.roles import Partly
from umgclip.data.vocabulary import Vocabulary
from umgclip.geometry import masks as mask_ops
from umgclip.params import AnnotateParams
from umgclip.params.annotators import Sam3Params
from umgclip.records import Text

BOXES = [(10.0, 10.0, 50.0, 60.0), (20.0, 20.0, 100.0, 90.0)]


def model_of(weights, vocabulary, **changes):
    params = {"threshold": 0.0, "stuff_threshold": 0.0, "rival_iou": 1.0, "overlap": 0.0, "device": "cpu", **changes}
    return Sam3(Sam3Params(path=weights("sam3"), **params), "m", vocabulary)


@pytest.fixture
def own(weights):
    return hf.Sam3Model.from_pretrained(weights("sam3")).eval(), hf.Sam3Processor.from_pretrained(weights("sam3"))


def forward(own, image, **prompts):
    model, processor = own
    with torch.no_grad():
        return model(**processor(images=Image.fromarray(image), return_tensors="pt", **prompts))


def described(answer):
    return [(p.tags[0].text, p.is_stuff, round(p.score, 5), p.encoded().counts) for p in answer]


def test_things_are_those_of_transformers_with_the_word_as_label(weights, vocabulary, images, own):
    model = model_of(weights, vocabulary, queries=["cat", "traffic light"])
    for image, answer in zip(images, model.propose_images(images, [""] * 3), strict=True):
        expected = []
        for word in ("cat", "traffic light"):
            result = own[1].post_process_instance_segmentation(
                forward(own, image, text=word), threshold=0.0, mask_threshold=0.5, target_sizes=[image.shape[:2]]
            )[0]
            expected += [
                (word, float(score), mask.numpy().astype(bool))
                for score, mask in zip(result["scores"], result["masks"], strict=True)
                if mask.any()
            ]
        expected.sort(key=lambda one: -one[1])
        assert len(answer) == len(expected) > 5
        for proposal, (word, score, mask) in zip(answer, expected, strict=True):
            assert (proposal.tags[0].text, proposal.is_stuff) == (word, False)
            assert proposal.score == proposal.tags[0].score == pytest.approx(score, abs=1e-5)
            assert mask_ops.iou(proposal.mask[None], mask[None])[0, 0] > 0.99
            assert proposal.source == proposal.mask_source == model.name


def test_a_background_is_the_semantic_mask_of_its_word(weights, vocabulary, images, own):
    (answer,) = model_of(weights, vocabulary, queries=["sand"]).propose_images(images[:1], [""])
    out = forward(own, images[0], text="sand")
    result = own[1].post_process_semantic_segmentation(
        out, target_sizes=[images[0].shape[:2]], threshold=0.5, return_segmentation_scores=True
    )[0]
    mask = result.segmentation.numpy().astype(bool)
    inside = float(result.segmentation_scores[0][result.segmentation.bool()].mean())
    assert 0 < mask.mean() < 1
    assert [(p.tags[0].text, p.is_stuff) for p in answer] == [("sand", True)]
    assert mask_ops.iou(answer[0].mask[None], mask[None])[0, 0] > 0.99
    assert answer[0].score == pytest.approx(inside * float(out.presence_logits.sigmoid()), abs=1e-5)


def test_a_batch_says_what_single_images_say(weights, vocabulary, images):
    captions = ["a cat on sand", "a dog", "a person and a car on sand by a wall"]
    single = model_of(weights, vocabulary, batch=1, queries="caption").propose_images(images, captions)
    batched = model_of(weights, vocabulary, batch=4, queries="caption").propose_images(images, captions)
    for one, other in zip(single, batched, strict=True):
        assert len(one) == len(other)
        np.testing.assert_allclose([p.score for p in one], [p.score for p in other], atol=1e-5)
        assert [p.tags[0].text for p in one] == [p.tags[0].text for p in other]
        assert all(mask_ops.iou(a.mask[None], b.mask[None])[0, 0] > 0.99 for a, b in zip(one, other, strict=True))
    assert [{p.tags[0].text for p in one} for one in batched] == [
        {"cat", "sand"}, {"dog"}, {"person", "car", "sand", "wall"}
    ]  # fmt: skip


def test_an_image_is_encoded_once_and_a_word_once(weights, vocabulary, images):
    model = model_of(weights, vocabulary, batch=2, queries=["cat", "dog", "sand"])
    encoded, worded = [], []
    model._loaded.model.vision_encoder.register_forward_hook(lambda _, given, __: encoded.append(len(given[0])))
    model._loaded.model.text_encoder.register_forward_hook(
        lambda _, __, given, ___: worded.append(len(given["input_ids"])), with_kwargs=True
    )
    model.propose_images(images, [""] * 3)
    model.propose_images(images[:1], [""])
    assert encoded == [2, 1, 1]
    assert sum(worded) == 3


def test_negated_words_are_refused_and_not_asked(weights, vocabulary, images):
    words = ["cat", "person without helmet", "no dogs"]
    (answer,) = model_of(weights, vocabulary, queries=words).propose_images(images[:1], [""])
    assert {p.tags[0].text for p in answer} == {"cat"}
    assert isinstance(answer, Partly)
    (refused,) = [one for one in answer.refused if one.reason == "negated"]
    assert (refused.role, refused.text.text) == ("proposer", "person without helmet")
    assert refused.detail == "not looked for: person without helmet, no dogs"
    stored = unpack("proposer", pack("proposer", answer))
    assert stored.refused == answer.refused
    assert described(stored) == described(answer)


def test_what_two_words_claim_goes_to_the_better_one(weights, vocabulary, images):
    words = ["cat", "dog", "person", "sand", "wall"]
    alone = model_of(weights, vocabulary, queries=words).propose_images(images[:1], [""])[0]
    answer = model_of(weights, vocabulary, queries=words, rival_iou=0.05, overlap=0.9).propose_images(images[:1], [""])[
        0
    ]
    things = [p for p in answer if not p.is_stuff]
    for row, one in enumerate(things):
        for other in things[:row]:
            if one.tags[0].text != other.tags[0].text:
                assert mask_ops.iou(one.mask[None], other.mask[None])[0, 0] <= 0.05
    reasons = [one.reason for one in answer.refused]
    assert "rival" in reasons
    assert len(answer) + len(answer.refused) == len(alone) + len(getattr(alone, "refused", ()))
    rival = next(one for one in answer.refused if one.reason == "rival")
    assert rival.box_xyxy is not None
    assert rival.text.score <= things[0].score


def test_boxes_get_the_mask_of_the_query_that_fits_them(weights, vocabulary, images, own):
    model = model_of(weights, vocabulary, min_box_iou=0.0, batch=2)
    given = [[Proposal.of_box(box, image.shape[:2], 0.5) for box in BOXES] for image in images[:2]]
    given.append([])
    refined = model.refine_images(images, given)
    assert [len(one) for one in refined] == [2, 2, 0]
    for image, of_image, before in zip(images[:2], refined[:2], given, strict=False):
        for box, proposal in zip([p.box_xyxy for p in before], of_image, strict=True):
            out = forward(own, image, input_boxes=[[list(box)]])
            height, width = image.shape[:2]
            predicted = out.pred_boxes[0] * torch.tensor([width, height, width, height])
            low = torch.maximum(predicted[:, :2], torch.tensor(box[:2]))
            high = torch.minimum(predicted[:, 2:], torch.tensor(box[2:]))
            shared = (high - low).clamp(min=0).prod(-1)
            area = (predicted[:, 2:] - predicted[:, :2]).prod(-1) + (box[2] - box[0]) * (box[3] - box[1])
            best = int((shared / (area - shared) * out.pred_logits[0].sigmoid()).argmax())
            mask = own[1].post_process_instance_segmentation(out, 0.0, 0.5, [(height, width)])[0]["masks"][best]
            assert proposal.has_mask == bool(mask.any())
            if proposal.has_mask:
                assert mask_ops.iou(proposal.mask[None], mask.numpy()[None].astype(bool))[0, 0] > 0.99
                assert (proposal.mask_source, proposal.source) == (model.name, None)


def test_stuff_and_masks_that_miss_their_box_stay_as_they_are(weights, vocabulary, images):
    ground = Proposal.of_mask(np.ones((96, 128), bool), 0.5, is_stuff=True)
    thing = Proposal.of_box(BOXES[0], (96, 128), 0.5)
    refined = model_of(weights, vocabulary, min_box_iou=1.0).refine_images(images[:1], [[thing, ground]])
    assert refined == [[thing, ground]]


def test_a_batch_that_runs_out_of_memory_is_halved(weights, vocabulary, images, monkeypatch):
    captions = ["a cat and a dog on sand"] * 3
    expected = [described(one) for one in model_of(weights, vocabulary, batch=1).propose_images(images, captions)]
    model = model_of(weights, vocabulary, batch=4)
    inner, sizes = model._loaded.model.forward, []

    def forward(**inputs):
        pairs, held = len(inputs["attention_mask"]), len(inputs["vision_embeds"].fpn_hidden_states[0])
        sizes.append(pairs)
        assert pairs == held
        if pairs > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(**inputs)

    monkeypatch.setattr(model._loaded.model, "forward", forward)
    answers = model.propose_images(images, captions)
    assert [described(one) for one in answers] == expected
    assert max(sizes) == 4


def test_images_are_freed_where_one_word_has_no_room_beside_them(weights, vocabulary, images, monkeypatch):
    model = model_of(weights, vocabulary, batch=3)
    held, inner, encode = [0], model._loaded.model.forward, model._encoded

    def encoded(batch):
        held[0] = len(batch)
        return encode(batch)

    def forward(**inputs):
        if held[0] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(**inputs)

    monkeypatch.setattr(model, "_encoded", encoded)
    monkeypatch.setattr(model._loaded.model, "forward", forward)
    answers = model.propose_images(images, ["a cat"] * 3)
    assert [len(one) > 0 for one in answers] == [True] * 3
    held[0] = 2
    monkeypatch.setattr(model, "_encoded", encode)
    (alone,) = model.propose_images(images[:1], ["a cat"])
    assert alone == Failure("out_of_memory", "OutOfMemoryError: CUDA out of memory")


def test_the_published_weights_are_part_of_a_video_model(weights, vocabulary, images, tmp_path):
    shutil.copytree(weights("sam3"), tmp_path / "video")
    plain = hf.AutoConfig.from_pretrained(weights("sam3"))
    hf.Sam3VideoConfig(detector_config=plain.to_dict()).save_pretrained(tmp_path / "video")
    tensors = {f"detector_model.{k}": v for k, v in load_file(tmp_path / "video" / "model.safetensors").items()}
    tensors["tracker_model.layer.weight"] = torch.zeros(3)
    save_file(tensors, tmp_path / "video" / "model.safetensors", metadata={"format": "pt"})
    one = model_of(weights, vocabulary).propose_images(images[:1], ["a cat"])
    other = model_of(lambda _: str(tmp_path / "video"), vocabulary).propose_images(images[:1], ["a cat"])
    assert described(one[0]) == described(other[0])


def test_no_words_at_all_are_refused():
    with pytest.raises(ValueError, match="queries: expected caption, vocabulary, or words"):
        Sam3Params(path="folder", queries=[])


def test_stored_answers_are_used_until_something_they_depend_on_changes(vocabulary):
    def identities(words=vocabulary, **changes):
        section = AnnotateParams.model_validate(
            {
                "roles": {"proposer": "sam", "masker": "sam"},
                "models": {"sam": {"kind": "sam3", "path": "folder", **changes}},
            }
        )
        digests = answer_identities(section, "base", words, {"sam": "weights"})
        return digests["proposer.sam"], digests["masker.sam"]

    proposer, masker = identities()
    assert (proposer, masker) == identities(device="cpu")
    for changes in ({"threshold": 0.1}, {"queries": ["cat"]}, {"rival_iou": 0.1}, {"words": Vocabulary(("a",), ())}):
        assert identities(**changes)[0] != proposer, changes
    assert [one == other for one, other in zip(identities(min_box_iou=0.1), (proposer, masker), strict=True)] == [
        True, False
    ]  # fmt: skip
    assert identities(threshold=0.1)[1] == masker


def test_an_answer_depends_on_the_caption_and_a_mask_on_the_box():
    one, other = (Proposal.of_box(box, (96, 128), 0.5) for box in BOXES)

    def digests(caption="a cat", thing=one):
        return [
            input_digest(ROLE_CALLS["proposer"], "sam3", "image", ("image", caption)),
            input_digest(ROLE_CALLS["masker"], "sam3", "image", ("image", [thing])),
        ]

    before = digests()
    assert [a == b for a, b in zip(before, digests(caption="a dog"), strict=True)] == [False, True]
    assert [a == b for a, b in zip(before, digests(thing=other), strict=True)] == [True, False]
    assert before == digests(thing=replace(one, score=0.1, tags=(Text(text="cat", source="m"),)))
