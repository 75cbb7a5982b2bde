"""Boxes and points of a model on a real server: what it is asked, what its answers become, what each box scores."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.unit.annotate.models.vlm.conftest import completion, image, sent
from umgclip.annotate.cache.codec import pack, unpack
from umgclip.annotate.cache.inputs import input_digest
from umgclip.annotate.cache.role_calls import ROLE_CALLS
from umgclip.annotate.models.vlm.annotator import Vlm
from umgclip.annotate.models.vlm.client import UNKNOWN_SCORE
from umgclip.annotate.rejected import Failure
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.params.annotators import VlmParams

CONCEPTS = Vocabulary(("cat", "dog", "hot dog"), ("sky",))
TEXTS = {
    "json": '{"objects": [{"label": "cat", "box": [100, 500, 500, 900]}]}',
    "bbox_2d": '```json\n[\n\t{"bbox_2d": [100, 500, 500, 900], "label": "cat"}\n]\n```',
    "griffon": "cat-[0.100,0.500,0.500,0.900]",
    "texthawk": "<ref>cat</ref><box><100><500>,<500><900></box>",
    "shikra": "There is a cat [0.1,0.5,0.5,0.8].",  # of the square around an image of 80 x 60
}


def vlm(server, vocabulary=CONCEPTS, **more):
    params = VlmParams(url=server.url, model="m", **({"backoff_s": 0.01, "retries": 0} | more))
    return Vlm(params, "annotate.models.v", vocabulary)


def propose(model, *images, caption=""):
    return model.propose_images(list(images or [image()]), [caption] * max(1, len(images)))


def named(proposals):
    return [(one.tags[0].text if one.tags else None, one.box_xyxy) for one in proposals]


def refused(proposals):
    return [(one.reason, one.text.text if one.text else None) for one in proposals.refused]


@pytest.mark.parametrize("grammar", list(TEXTS))
def test_an_answer_in_each_grammar_becomes_a_region_of_the_stored_image(server, grammar):
    server.answer = lambda body, number: completion(TEXTS[grammar].replace("0.8]", "0.7]"))
    (proposals,) = propose(vlm(server, grammar=grammar, max_side_px=640), image(size=(1000, 2000)))
    assert named(proposals) == [("cat", (200, 500, 1000, 900))]
    assert proposals.refused == ()
    (body,) = server.bodies
    assert ("response_format" in body) == (grammar == "json")
    picture, prompt = sent(body)
    assert picture.size == ((640, 640) if grammar == "shikra" else (640, 320))
    assert ("JSON alone" in prompt) == (grammar == "json")


@pytest.mark.parametrize(
    ("grammar", "content"),
    [
        ("griffon", "cat-[100.000,500.000,500.000,900.000]"), ("shikra", "[100,500,500,900]"),
        ("texthawk", "<box><100><500>,<500><1900></box>"), ("json", [{"label": "cat", "box": [0.1, 0.5, 0.5, 0.9]}]),
        ("bbox_2d", [{"label": "cat", "bbox_2d": [100, 500, 1500, 900]}]),
        ("molmo", '<point x="610" y="40.6" alt="cat">cat</point>'),
        ("molmo", '<point x="0.61" y="0.4" alt="cat">cat</point>'),
        ("molmo", '<points coords="1 1 610 406" alt="cat">cat</points>'),
    ],
)  # fmt: skip
def test_another_scale_is_an_error_with_its_reason_and_never_nothing(server, grammar, content):
    server.answer = lambda body, number: completion(content)
    (failure,) = propose(vlm(server, grammar=grammar))
    assert isinstance(failure, Failure)
    assert failure.reason == "box_scale"
    assert "box_unit" in failure.detail


def test_a_category_set_is_one_question_in_griffons_words(server):
    server.answer = lambda body, number: completion(
        "Dogs-[0.100,0.500,0.500,0.900]&zebra-[0.100,0.100,0.200,0.200]&the sky-[0.000,0.000,1.000,0.400]"
    )
    (proposals,) = propose(vlm(server, grammar="griffon", queries="vocabulary"), image(size=(100, 100)))
    assert named(proposals) == [("dog", (10, 50, 50, 90)), ("sky", (0, 0, 100, 40))]
    assert [one.is_stuff for one in proposals] == [False, True]
    assert refused(proposals) == [("not_asked", "zebra")]
    assert sent(server.bodies[0])[1] == (
        "Examine the image for any objects from the category set. Report the coordinates of each detected object. "
        "The category set includes cat, dog, hot dog, sky."
        "\nAnswer in the format: class name-[x1, y1, x2, y2], and concatenate them with &."
    )


def test_names_come_from_the_caption_the_vocabulary_or_a_list(server):
    server.answer = lambda body, number: completion('{"objects": []}')

    def asked(queries, caption):
        server.bodies.clear()
        assert propose(vlm(server, queries=queries), caption=caption) == [[]]
        return [sent(body)[1].split(": ")[1].split(".")[0] for body in server.bodies]

    assert asked("caption", "a dog under the sky") == ["dog, sky"]
    assert asked("caption", "a whale") == ["cat, dog, hot dog, sky"]
    assert asked("vocabulary", "a dog") == ["cat, dog, hot dog, sky"]
    assert asked(["owl", "elk", "owl"], "a dog") == ["owl, elk"]


def test_many_names_are_asked_in_groups_and_one_refusal_costs_its_group(server):
    def answer(body, number):
        names = sent(body)[1].split("includes ")[1].split(".")[0].split(", ")
        if "w7" in names:
            return completion("I'm sorry, but I cannot help with that.")
        return completion(f"{names[0]}-[0.100,0.500,0.500,0.900]")

    server.answer = answer
    names = [f"w{number}" for number in range(25)]
    (proposals,) = propose(vlm(server, grammar="griffon", queries=names, names_per_question=5))
    assert sorted(one.tags[0].text for one in proposals) == ["w0", "w10", "w15", "w20"]
    ((one),) = proposals.refused
    assert (one.role, one.reason) == ("proposer", "refusal")
    assert one.detail == 'asked for w5, w6, w7, w8, w9: "I\'m sorry, but I cannot help with that."'
    server.answer = lambda body, number: (503, {}) if "w7" in sent(body)[1] else completion("None")
    (failure,) = propose(vlm(server, grammar="griffon", queries=names, names_per_question=5))
    assert failure.reason == "server_error"  # another try may help


def test_ten_thousand_words_are_asked_or_refused_before_anything_is_sent(server):
    words = Vocabulary(tuple(f"word {number}" for number in range(10_000)), ())
    server.answer = lambda body, number: completion("word 7-[0.100,0.500,0.500,0.900]" if number == 1 else "None")
    more = {"grammar": "griffon", "queries": "vocabulary", "concurrency": 1, "names_per_question": 3000}
    (proposals,) = propose(vlm(server, words, **more))
    assert named(proposals) == [("word 7", (8, 30, 40, 54))]
    assert [sent(body)[1].count("word ") for body in server.bodies] == [3000, 3000, 3000, 1000]
    vlm(server, words, grammar="griffon", queries="vocabulary")  # 125 questions
    with pytest.raises(InputError, match=r"annotate.models.v.queries: expected at most 200 names .* got 10000; raise"):
        vlm(server, words, grammar="molmo", queries="vocabulary")
    with pytest.raises(InputError, match="got 10000"):
        vlm(server, words, grammar="molmo", queries="caption")


@pytest.mark.parametrize(
    ("grammar", "content", "label"),
    [
        ("shikra", "Answer: [0.1,0.5,0.5,0.9].", "cat"), ("shikra", "[0.1,0.5,0.5,0.9]", "cat"),
        ("shikra", "The black cat is at [0.1,0.5,0.5,0.9]", "cat"), ("shikra", "A dog [0.1,0.5,0.5,0.9]", None),
        ("texthawk", "<box><100><500>,<500><900></box>", "cat"),
        ("texthawk", "<ref>dog</ref><box><100><500>,<500><900></box>", None),
        ("griffon", "[0.100,0.500,0.500,0.900]", "cat"), ("griffon", "cats-[0.100,0.500,0.500,0.900]", "cat"),
        ("griffon", "Sure! cat-[0.100,0.500,0.500,0.900]", "cat"), ("shikra", "no cat [0.1,0.5,0.5,0.9]", None),
        ("griffon", "black cat-[0.100,0.500,0.500,0.900]", None),
        ("bbox_2d", '{"bbox_2d": [100, 500, 500, 900]}', "cat"),
    ],
)  # fmt: skip
def test_a_place_without_a_name_is_of_the_one_name_in_the_question(server, grammar, content, label):
    server.answer = lambda body, number: completion(content)
    (proposals,) = propose(vlm(server, grammar=grammar, queries=["cat"]))
    assert [name for name, _ in named(proposals)] == ([] if label is None else [label])
    assert [reason for reason, _ in refused(proposals)] == ([] if label else ["not_asked"])


def test_without_a_question_for_names_a_place_without_a_name_has_no_label(server):
    server.answer = lambda body, number: completion("[0.100,0.500,0.500,0.900]")
    (proposals,) = propose(vlm(server, grammar="griffon"))
    assert named(proposals) == [(None, (8, 30, 40, 54))]
    (proposals,) = propose(vlm(server, grammar="griffon", queries=["cat", "dog"]))
    assert (list(proposals), refused(proposals)) == ([], [("not_asked", None)])


def test_a_point_becomes_the_segment_that_holds_it(server):
    pixels = image(255, (100, 200))
    pixels[20:60, 30:80] = (200, 30, 30)
    server.answer = lambda body, number: completion(
        '<point x="27" y="40" alt="cat">cat</point>'
        if "cat" in sent(body)[1]
        else '<points x1="90.0" y1="90.0" x2="150" alt="dog">dog</points>'
    )
    (proposals,) = propose(vlm(server, grammar="molmo", queries=["cat", "dog"], concurrency=1), pixels)
    (region,) = proposals
    assert (named(proposals), region.has_mask, region.is_stuff) == ([("cat", (30, 20, 80, 60))], True, False)
    assert region.point_xy == (54.5, 40.5)  # the masker's prompt, on which its stored answers depend
    both = (region, replace(region, point_xy=None))
    digests = {input_digest(ROLE_CALLS["masker"], "sam2", "", ("", [one])) for one in both}
    assert len(digests) == 2
    assert unpack("proposer", pack("proposer", proposals))[0].point_xy == (54.5, 40.5)
    assert refused(proposals) == [("bad_box", "dog"), ("no_region", "dog")]
    assert [sent(body)[1] for body in server.bodies] == ["Point to every cat", "Point to every dog"]


ITEM = '{"bbox_2d": [10, 20, 300, 400], "label": "c'
TOKENS = [("```json\n[", -9.0), (ITEM, -0.5), ("at", -0.25), ('"}]\n```', -9.0), ("<|im_end|>", -9.0)]


@pytest.mark.parametrize(
    ("grammar", "tokens", "expected"),
    [
        # a token that spells a piece of the name and of the box counts in both products
        ("bbox_2d", TOKENS, math.exp((-0.5 - 0.25 - 0.5) / 2)),
        ("bbox_2d", [("<think>\nno [\n</think>", -3.0), *TOKENS], math.exp((-0.5 - 0.25 - 0.5) / 2)),
        (
            "griffon",
            [("c", -0.2), ("at", -0.4), ("-[", -7.0), ("0.1", -0.1), ("00,0.200,0.300,", -0.8), ("0.400]", -1.0)],
            math.exp((-0.6 - 1.9) / 2),
        ),
        ("griffon", [("[", -7.0), ("0.100,0.200,0.300,0.400", -0.3), ("]", -7.0)], math.exp(-0.15)),
        (
            "texthawk",
            [("cat", -0.2), ("<box>", -9.0), ("<1", -0.1), ("><2>,<300><400", -0.1), ("></box>", -9.0)],
            math.exp(-0.2),
        ),
        ("shikra", [("A cat", -0.2), (" [", -9.0), ("0.1,0.2,0.3,0.4", -0.4), ("]", -9.0)], math.exp(-0.3)),
        (
            "json",
            [('[{"label":"', -9.0), ("cat", 0.0), ('","box":[', -9.0), ("1,2,300,400", -1.0), ("]}]", -9.0)],
            math.exp(-0.5),
        ),
        # an accent that two tokens spell
        (
            "griffon",
            [("caf", -0.1), (None, -0.2), (None, -0.3), ("-[", -7.0), ("0.100,0.200,0.300,0.400]", 0.0)],
            math.exp(-0.3),
        ),
        # vLLM writes -9999 for a probability of 0
        ("shikra", [("cat[", -9999.0), ("0.1,0.2,0.3,0.4]", 0.0)], 0.0),
        # what the tokens spell is not the answer
        ("shikra", [("dog[", -0.1), ("0.1,0.2,0.3,0.4]", 0.0)], UNKNOWN_SCORE),
        ("shikra", [], UNKNOWN_SCORE),
        ("shikra", None, UNKNOWN_SCORE),
    ],
)  # fmt: skip
def test_a_box_scores_by_the_tokens_of_its_name_and_of_its_numbers(server, grammar, tokens, expected):
    bytes_of = iter([[0xC3], [0xA9]])
    spelled = [
        {"token": token, "logprob": log, "bytes": [*token.encode()]}
        if token is not None
        else {"token": "\ufffd", "logprob": log, "bytes": next(bytes_of)}
        for token, log in tokens or []
    ]
    content = b"".join(bytes(one["bytes"]) for one in spelled).decode().removesuffix("<|im_end|>")
    content = content.partition("</think>")[2] or content
    if not spelled or content.startswith("dog"):
        content = "cat[0.1,0.2,0.3,0.4]"
    status, body = completion(content, logs=None)
    if tokens is not None:
        body["choices"][0]["logprobs"] = {"content": spelled}
    server.answer = lambda _body, number: (status, body)
    (proposals,) = propose(vlm(server, grammar=grammar, logprobs=tokens is not None))
    assert [one.score for one in proposals] == pytest.approx([expected])


def test_boxes_of_one_answer_have_scores_of_their_own(server):
    tokens = [("cat", -0.1), ("-[0.100,0.200,0.300,0.400]", -0.1), ("&", -5.0), ("dog", -2.0), ("-[0.1", -2.0),
              ("00,0.200,0.300,0.400]", 0.0)]  # fmt: skip
    server.answer = lambda body, number: completion("".join(token for token, _ in tokens), tokens=tokens)
    (proposals,) = propose(vlm(server, grammar="griffon"))
    assert [(one.tags[0].text, round(one.score, 4)) for one in proposals] == [
        ("cat", round(math.exp(-0.1), 4)), ("dog", round(math.exp(-2), 4)),
    ]  # fmt: skip
    assert [one.tags[0].score for one in proposals] == [one.score for one in proposals]


@pytest.mark.parametrize(
    ("size", "more", "expected"),
    [
        ((4000, 1), {}, (11, 1024)), ((1, 4000), {}, (1024, 11)), ((50, 90), {}, (90, 50)),
        # Qwen2.5-VL counts in pixels of the image that it scales to multiples of 28
        ((60, 80), {"grammar": "bbox_2d", "box_unit": "pixel"}, (84, 56)),
        ((2000, 4000), {"grammar": "bbox_2d", "box_unit": "pixel"}, (1008, 504)),
        ((10, 4000), {"grammar": "bbox_2d", "box_unit": "pixel", "max_side_px": 100}, (84, 56)),
    ],
)  # fmt: skip
def test_an_image_is_sent_in_a_size_that_servers_take(server, size, more, expected):
    server.answer = lambda body, number: completion("[]")
    assert propose(vlm(server, **more), image(size=size)) == [[]]
    assert sent(server.bodies[0])[0].size == expected


def test_a_sliver_of_an_image_gets_boxes_of_its_own_pixels(server):
    server.answer = lambda body, number: completion([{"label": "cat", "box": [0, 500, 1000, 750]}])
    (proposals,) = propose(vlm(server), image(size=(4000, 1)))
    assert named(proposals) == [("cat", (0, 2000, 1, 3000))]


def test_shikra_sees_a_white_square_with_the_image_in_its_middle(server):
    server.answer = lambda body, number: completion("[0.250,0.000,0.750,0.500]")
    (proposals,) = propose(vlm(server, grammar="shikra", max_side_px=40), image(0, (100, 50)))
    assert named(proposals) == [(None, (0, 0, 50, 50))]
    shades = np.asarray(sent(server.bodies[0])[0].convert("L"))
    assert shades.shape == (40, 40)
    assert min(shades[:, :9].min(), shades[:, 31:].min()) > 240
    assert shades[:, 12:28].max() < 15


def test_pixels_of_qwen25_are_those_of_the_image_that_was_sent(server):
    def answer(body, number):
        width, height = sent(body)[0].size
        return completion([{"bbox_2d": [width // 2, 0, width, height // 4], "label": "cat"}])

    server.answer = answer
    (proposals,) = propose(vlm(server, grammar="bbox_2d", box_unit="pixel"), image(size=(1000, 3000)))
    assert named(proposals) == [("cat", (1500, 0, 3000, 250))]


@pytest.mark.parametrize("grammar", list(TEXTS))
def test_reasoning_beside_an_empty_content_is_an_answer_only_if_it_can_be_no_draft(server, grammar):
    reasoning = TEXTS[grammar]
    server.answer = lambda body, number: (200, {"choices": [{"message": {"content": None, "reasoning": reasoning}}]})
    (proposals,) = propose(vlm(server, grammar=grammar))
    assert named(proposals) == [("cat", (8, 30, 40, 54))]
    reasoning = f"Maybe this one:\n{TEXTS[grammar]}"
    (proposals,) = propose(vlm(server, grammar=grammar))
    if grammar in ("json", "bbox_2d"):
        assert named(proposals) == [("cat", (8, 30, 40, 54))]
    else:
        assert proposals.reason == "invalid_answer"
        assert "expected a content, got only reasoning" in proposals.detail


@pytest.mark.parametrize("grammar", list(TEXTS))
def test_a_draft_in_reasoning_alone_is_no_answer(server, grammar):
    reasoning = f"Let me think: {TEXTS[grammar]} but then it may be a dog"
    server.answer = lambda body, number: (200, {"choices": [{"message": {"content": "", "reasoning": reasoning}}]})
    (failure,) = propose(vlm(server, grammar=grammar))
    assert failure.reason == "invalid_answer"
    assert "expected a content, got only reasoning" in failure.detail


def test_answers_are_the_same_for_parts_thinking_and_words_around(server):
    for grammar, text in TEXTS.items():
        for content in (
            [{"type": "text", "text": text[:20]}, {"type": "text", "text": text[20:]}],
            f"<think>\nLet me see {text.replace('100', '1')}.\n</think>\n\n{text}", f"Here you are:\n{text}",
            f"{text}\n\nI hope this helps!",
        ):  # fmt: skip
            body = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
            server.answer = lambda _body, number, body=body: (200, body)
            (proposals,) = propose(vlm(server, grammar=grammar))
            assert named(proposals) == [("cat", (8, 30, 40, 54))], (grammar, content)


def test_a_server_that_dies_in_the_middle_ends_the_run_and_other_faults_their_image(server):
    def answer(body, number):
        shade = np.asarray(sent(body)[0].convert("L")).mean()
        return completion("None") if shade < 100 else (400, {"error": "image too small"})

    server.answer = answer
    good, bad = propose(vlm(server, grammar="griffon"), image(0), image(200))
    assert good == []
    assert (bad.reason, "image too small" in bad.detail) == ("bad_request", True)
    assert json.dumps(server.bodies[0])
    assert isinstance(sent(server.bodies[0])[0], Image.Image)
