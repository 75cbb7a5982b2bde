"""Captions, tags and scores by models, against transformers' own forward."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

from umgclip.annotate.models.foundation.blip2 import Blip2
from umgclip.annotate.models.foundation.clip import Clip
from umgclip.annotate.models.foundation.florence2 import Florence2, locations
from umgclip.annotate.models.foundation.qwen3_vl import Qwen3Vl
from umgclip.annotate.models.source_name import prompt_key
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.data.vocabulary import Vocabulary
from umgclip.params.annotators import Blip2Params, ClipParams, Florence2Params, Qwen3VlParams


def places(images):
    return [[Proposal.of_box((4.0, 4.0, 40.0, 50.0), i.shape[:2], 0.5)] for i in images]


@pytest.mark.parametrize("family", ["clip", "siglip2"])
def test_tags_and_scores_are_those_of_the_models_forward(weights, images, vocabulary, family):
    model = hf.AutoModel.from_pretrained(weights(family)).eval()
    processor = hf.AutoProcessor.from_pretrained(weights(family))
    texts = ["a photo of a " + name for name in vocabulary.concepts]
    length = model.config.text_config.max_position_embeddings
    inputs = processor(
        text=texts, images=[Image.fromarray(i) for i in images], padding="max_length", max_length=length,
        return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        out = model(**inputs)
    logits = out.logits_per_image
    expected = logits.softmax(-1) if family == "clip" else logits.sigmoid()
    tagger = Clip(ClipParams(path=weights(family), threshold=0.0, batch=2), "m", vocabulary)
    for tags, row in zip(tagger.tag_images(images, [""] * 3), expected.numpy(), strict=True):
        said = {tag.text: tag.score for tag in tags}
        np.testing.assert_allclose([said[name] for name in vocabulary.concepts], row, atol=1e-5)
        assert [tag.score for tag in tags] == sorted((tag.score for tag in tags), reverse=True)
    cosines = (torch.nn.functional.normalize(out.image_embeds, dim=-1)[:1]
               @ torch.nn.functional.normalize(out.text_embeds, dim=-1)[:1].T).item()  # fmt: skip
    assert tagger.score(images[:1], texts[:1]) == pytest.approx([(cosines + 1) / 2], abs=1e-5)


def test_a_concept_may_have_a_threshold_of_its_own(weights, images, vocabulary):
    params = ClipParams(path=weights("siglip2"), threshold=0.0, thresholds={"cat": 1.0})
    (tags,) = Clip(params, "m", vocabulary).tag_images(images[:1], [""])
    assert {tag.text for tag in tags} == set(vocabulary.concepts) - {"cat"}


def test_regions_are_tagged_by_kind(weights, images, vocabulary):
    tagger = Clip(ClipParams(path=weights("clip"), threshold=0.0), "m", vocabulary)
    found = places(images)
    found[0][0] = replace(found[0][0], is_stuff=True)
    tagged = tagger.tag_regions(images, [""] * 3, found)
    assert tagged[0][0].tags[0].text in vocabulary.stuff
    assert tagged[1][0].tags[0].text in vocabulary.things
    assert tagged[1][0].tags[0].source == tagger.name


def test_no_concepts_no_tags(weights, images):
    tagger = Clip(ClipParams(path=weights("clip"), threshold=0.0), "m", Vocabulary((), ()))
    assert tagger.tag_images(images, [""] * 3) == [[], [], []]


def test_florence_captions_regions_and_tags(weights, images):
    params = Florence2Params(
        path=weights("florence2"), captions=["<CAPTION>", "<DETAILED_CAPTION>"], max_new_tokens=8, batch=2
    )
    model = Florence2(params, "m")
    captions = model.caption_images(images, [[]] * 3)
    assert [[t.source.rsplit("#")[1] for t in own] for own in captions] == [["<CAPTION>", "<DETAILED_CAPTION>"]] * 3
    assert all(0 <= t.score <= 1 for own in captions for t in own)
    single = Florence2(params.model_copy(update={"batch": 1}), "m").caption_images(images, [[]] * 3)
    assert [[t.text for t in own] for own in single] == [[t.text for t in own] for own in captions]
    regions = model.caption_regions(images, places(images))
    assert [[len(texts) for texts in own] for own in regions] == [[1]] * 3
    assert all(isinstance(tags, list) for tags in model.tag_images(images, [""] * 3))
    assert all(isinstance(found, list) for found in model.propose_images(images, [""] * 3))


def test_florence_boxes_from_an_answer(weights):
    model = Florence2(Florence2Params(path=weights("florence2"), boxes="<OD>"), "m")
    answer = "</s><s>cat<loc_100><loc_100><loc_500><loc_500>dog<loc_0><loc_0><loc_999><loc_999></s>"
    parsed = model._loaded.processor.post_process_generation(answer, task="<OD>", image_size=(128, 96))["<OD>"]
    found = model._proposals(parsed, 0.5, (96, 128))
    assert [p.tags[0].text for p in found] == ["cat", "dog"]
    assert found[0].box_xyxy == (12.0, 9.0, 64.0, 48.0)
    dense = Florence2(Florence2Params(path=weights("florence2"), boxes="<DENSE_REGION_CAPTION>"), "m")
    (place, _) = dense._proposals(parsed, 0.5, (96, 128))
    assert (place.tags, place.captions[0].text) == ((), "cat")


def test_locations_are_thousandths():
    assert locations((12.8, 12.0, 64.0, 96.0), (96, 128)) == "<loc_100><loc_125><loc_500><loc_999>"


def test_the_score_is_the_mean_probability_of_the_tokens(weights, images):
    model = Florence2(Florence2Params(path=weights("florence2"), captions=["<CAPTION>"], max_new_tokens=6), "m")
    (own,) = model.caption_images(images[:1], [[]])
    inputs = model._loaded.processor(images=Image.fromarray(images[0]), text="<CAPTION>", return_tensors="pt")
    with torch.no_grad():
        out = model._loaded.model.generate(
            **inputs, max_new_tokens=6, do_sample=False, num_beams=1, return_dict_in_generate=True, output_scores=True
        )
    logs = []
    for step, token in zip(out.scores, out.sequences[0, -len(out.scores) :], strict=True):
        logs.append(float(step[0].log_softmax(-1)[token]))
        if int(token) == 2:
            break
    assert own[0].score == pytest.approx(np.exp(np.mean(logs)), rel=1e-4)


@pytest.mark.parametrize("kind", ["blip2", "qwen3_vl"])
def test_captioners_of_images_and_crops(weights, images, kind):
    if kind == "blip2":
        model = Blip2(Blip2Params(path=weights(kind), max_new_tokens=5, batch=2), "m")
        prompts = [model._params.prompt] * 2
    else:
        model = Qwen3Vl(Qwen3VlParams(path=weights(kind), max_new_tokens=5, batch=2), "m")
        prompts = [model._params.prompt, model._params.region_prompt]
    captions = model.caption_images(images, [[]] * 3)
    assert not any(isinstance(own, Failure) for own in captions), captions
    assert all(len(own) == 1 and prompts[0][:20] not in own[0].text for own in captions)
    assert captions[0][0].source.endswith("#" + prompt_key(prompts[0]))
    regions = model.caption_regions(images, places(images))
    assert [[len(texts) for texts in own] for own in regions] == [[1]] * 3
    assert regions[0][0][0].source.endswith("#" + prompt_key(prompts[1]))
