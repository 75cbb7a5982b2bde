"""The three ways in which a model sees a region, and answers in plain text."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.unit.annotate.models.vlm.conftest import completion, image, sent
from umgclip.annotate.models.vlm.annotator import Vlm
from umgclip.annotate.models.vlm.answers import CaptionAnswer, NegativesAnswer, NoAnswerError, TagsAnswer
from umgclip.annotate.models.vlm.forms import json_form, text_form
from umgclip.annotate.models.vlm.pictures import alpha_url
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.params.annotators import VlmParams
from umgclip.records import Text

PARAMS = VlmParams(url="http://127.0.0.1:9/v1", model="m", regions="alpha")
BOX = (20.0, 10.0, 60.0, 40.0)  # of an image of 80 x 60


def vlm(server, **more):
    params = VlmParams(url=server.url, model="m", **({"backoff_s": 0.01, "retries": 0} | more))
    return Vlm(params, "annotate.models.v")


def region(mask=None, size=(60, 80), box=BOX):
    made = Proposal.of_box(box, size, 1.0) if mask is None else Proposal.of_mask(mask, 1.0)
    return Proposal(made.shape, 1.0, tags=(Text(text="cat", source="m"),))


def drawn(size=(60, 80)):
    mask = np.zeros(size, bool)
    mask[10:40, 20:60] = True
    mask[10:20, 20:30] = False
    return mask


@pytest.mark.parametrize(
    ("grammar", "unit", "written"),
    [
        ("json", "thousandth", "[250, 167, 750, 667]"), ("json", "share", "[0.250, 0.167, 0.750, 0.667]"),
        ("json", "pixel", "[20, 10, 60, 40]"), ("bbox_2d", "thousandth", "[250, 167, 750, 667]"),
        ("bbox_2d", "pixel", "[21, 9, 63, 37]"), ("griffon", "share", "[0.250,0.167,0.750,0.667]"),
        ("texthawk", "thousandth", "<box><250><167>,<750><667></box>"),
        ("shikra", "share", "[0.250,0.250,0.750,0.625]"),  # of the square around the image
    ],
)  # fmt: skip
def test_box_text_shows_the_whole_image_and_the_box_in_the_models_own_words(server, grammar, unit, written):
    server.answer = lambda body, number: completion({"caption": "a cat"})
    model = vlm(server, grammar=grammar, box_unit=unit, regions="box_text")
    assert [[t.text for t in one] for one in model.caption_regions([image()], [[region()]])[0]] == [["a cat"]]
    picture, prompt = sent(server.bodies[0])
    sizes = {("bbox_2d", "pixel"): (84, 56), ("shikra", "share"): (80, 80)}
    assert picture.size == sizes.get((grammar, unit), (80, 60))
    assert prompt.partition("\n")[0] == f"Briefly describe this region: {written}"


def test_a_prompt_without_a_place_for_the_box_gets_it_at_its_end(server):
    server.answer = lambda body, number: completion({"negatives": ["a dog"]})
    prompt = "Write wrong texts for {}, which is at {box}."
    model = vlm(server, regions="box_text", grammar="texthawk", answers="json", negatives_prompt=prompt)
    assert [[t.text for t in one] for one in model.write_negatives([image()], [[region()]])[0]] == [["a dog"]]
    model = vlm(server, regions="box_text", grammar="texthawk", answers="json")
    assert model.write_negatives([image()], [[region()]])[0][0][0].text == "a dog"
    first, second = (sent(body)[1].partition("\nAnswer")[0] for body in server.bodies)
    assert first == "Write wrong texts for cat, which is at <box><250><167>,<750><667></box>."
    assert second.startswith("This text describes the picture: cat\n")
    assert second.endswith(" or an object. <box><250><167>,<750><667></box>")


def test_alpha_shows_the_mask_as_describe_anything_wants_it(server):
    server.answer = lambda body, number: completion("A tabby cat with\nwhite paws.", logs=None)
    model = vlm(server, regions="alpha", max_side_px=40, concurrency=1)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    (captions,) = model.caption_regions([pixels], [[region(drawn()), region()]])
    assert [[t.text for t in one] for one in captions] == [["A tabby cat with white paws."]] * 2
    assert captions[0][0].source.startswith("vlm/m@unknown#sha256:")
    (mask, prompt), (box, _) = (sent(body) for body in server.bodies)
    assert (mask.mode, mask.format, mask.size, prompt) == (
        "RGBA", "PNG", (40, 30), "Describe the masked region in detail.",
    )  # fmt: skip
    expected = np.zeros((30, 40), np.uint8)
    expected[5:20, 10:30] = 255
    assert (np.asarray(box)[..., 3] == expected).all()
    expected[5:10, 10:15] = 0
    assert (np.asarray(mask)[..., 3] == expected).all()
    assert not {"response_format"} & set(server.bodies[0])


def test_a_region_under_a_pixel_of_the_image_sent_is_still_seen(server):
    server.answer = lambda body, number: completion("A dot.")
    model = vlm(server, regions="alpha", max_side_px=20)
    model.caption_regions([image(0, (600, 800))], [[region(box=(400.0, 300.0, 402.0, 302.0), size=(600, 800))]])
    alpha = np.asarray(sent(server.bodies[0])[0])[..., 3]
    assert sorted(np.unique(alpha)) == [0, 255]
    assert (alpha == 255).sum() == 1


@pytest.mark.parametrize("size", [(1, 4000), (2, 4000), (4000, 1)])
def test_a_region_of_one_pixel_of_a_sliver_is_still_seen(size):
    wide = size[1] > size[0]
    for at in (0, 100, 101, 3999):
        box = (at, 0, at + 1, size[0]) if wide else (0, at, size[1], at + 1)
        url = alpha_url(image(0, size), region(box=tuple(map(float, box)), size=size), PARAMS)
        alpha = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))[..., 3]
        _, across = np.nonzero(alpha if wide else alpha.T)
        assert set(across) == {at * 1024 // 4000}


def test_the_negator_sees_regions_in_the_same_way(server):
    server.answer = lambda body, number: completion("1. a red dog\n2. a blue cat\n- two cats\n")
    model = vlm(server, regions="alpha")
    (texts,) = model.write_negatives([image()], [[region(drawn())]])
    assert [t.text for t in texts[0]] == ["a red dog", "a blue cat", "two cats"]
    picture, prompt = sent(server.bodies[0])
    assert (picture.mode, prompt.startswith("This text describes the picture: cat\n")) == ("RGBA", True)


def test_crops_stay_jpegs_of_the_region(server):
    server.answer = lambda body, number: completion({"caption": "a cat"})
    vlm(server, crop_context=1.0).caption_regions([image()], [[region(drawn())]])
    picture, prompt = sent(server.bodies[0])
    assert (picture.format, picture.size) == ("JPEG", (40, 30))
    assert prompt.startswith("Name and describe the main object of this picture in one short phrase.\nAnswer with JSON")


def test_a_refused_region_costs_its_caption_in_each_way(server):
    for regions in ("crop", "box_text", "alpha"):
        server.answer = lambda body, number: completion("Sorry, I cannot." if number % 2 else '{"caption": "a cat"}')
        server.bodies.clear()
        model = vlm(server, regions=regions, concurrency=1)
        (captions,) = model.caption_regions([image()], [[region(), region(drawn())]])
        assert [[t.text for t in one] for one in captions] == [[], ["a cat"]]
        assert [(one.role, one.reason, one.box_xyxy) for one in captions.refused] == [
            ("region_captioner", "refusal", BOX)
        ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("A cat on a mat.", "A cat on a mat."), ('"A cat on a mat."', "A cat on a mat."),
        ("```\nA cat on a mat.\n```", "A cat on a mat."), ('{"caption": "a cat"}', "a cat"),
        ("<think>a dog?</think>A cat", "A cat"), ([{"type": "text", "text": "A "}, "cat"], "A cat"),
        ('The sign says "stop"', 'The sign says "stop"'),
    ],
)  # fmt: skip
def test_a_caption_in_plain_text(content, expected):
    assert text_form(CaptionAnswer).read(content).caption == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<ref>a red cat</ref><box><15><41>,<171><458></box>", "a red cat"),
        ("a red cat<box><15><41>,<171><458></box> on a mat.", "a red cat on a mat."),
        ('<point x="1.5" y="2" alt="cat">cat</point>', "cat"), ("cat-[0.100,0.200,0.300,0.400]", "cat"),
        ("a cat [0.1,0.2,0.3,0.4;0.5,0.6,0.7,0.8] on a mat", "a cat on a mat"),
        ("a sign [sic] with 1 < 2", "a sign [sic] with 1 < 2"),
    ],
)  # fmt: skip
def test_a_caption_has_no_marks_of_a_grammar(content, expected):
    assert text_form(CaptionAnswer).read(content).caption == expected
    assert json_form(CaptionAnswer).read(json.dumps({"caption": content})).caption == expected
    with pytest.raises(NoAnswerError, match="some words"):
        json_form(CaptionAnswer).read(json.dumps({"caption": "<box><15><41>,<171><458></box>"}))


@pytest.mark.parametrize(
    ("content", "tags", "bad"),
    [
        ("cat, dog, red car.", ["cat", "dog", "red car"], 0), ("- cat\n- dog\n- cat", ["cat", "dog"], 0),
        ("1. cat\n2) dog", ["cat", "dog"], 0), ("None.", [], 0), ('{"tags": ["cat"]}', ["cat"], 0),
        ("The image shows a cat, a dog and a tree.", ["cat", "dog", "tree"], 0), ("Tags: cat, dog", ["cat", "dog"], 0),
        ("**cat**, dog", ["cat", "dog"], 0), ("cat, dog, and tree", ["cat", "dog", "tree"], 0),
        ("There are no objects.", [], 0), ("**Objects:**\n- cat\n- dog", ["cat", "dog"], 0),
        ("black and white photo, salt and pepper", ["black and white photo", "salt and pepper"], 0),
        ("cat；狗、鸟", ["cat", "狗", "鸟"], 0), ("cat, " + "x" * 300, ["cat"], 1),
    ],
)  # fmt: skip
def test_tags_in_plain_text(content, tags, bad):
    answer = text_form(TagsAnswer).read(content)
    assert (list(answer.tags), len(answer.bad)) == (tags, bad)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (CaptionAnswer, ""), (CaptionAnswer, None), (CaptionAnswer, "<think>a cat"), (CaptionAnswer, "``````"),
        (TagsAnswer, ", ,"), (TagsAnswer, ",".join(map(str, range(250)))), (NegativesAnswer, "-\n"),
        (NegativesAnswer, None), (CaptionAnswer, "a cat \ud83d"), (CaptionAnswer, 5),
        (CaptionAnswer, '{"description": "a cat"}'), (CaptionAnswer, '```json\n{"description": "a cat"}\n```'),
    ],
)  # fmt: skip
def test_what_is_no_plain_text_says_why(kind, content):
    with pytest.raises(NoAnswerError) as end:
        text_form(kind).read(content)
    assert end.value.reason == "invalid_answer"


def test_reasoning_is_no_caption(server):
    message = {"content": None, "reasoning_content": "The user wants a caption."}
    server.answer = lambda body, number: (200, {"choices": [{"message": message}]})
    (failure,) = vlm(server, grammar="griffon").caption_images([image()], [[]])
    assert isinstance(failure, Failure)
    assert (failure.reason, "got only reasoning" in failure.detail) == ("invalid_answer", True)
