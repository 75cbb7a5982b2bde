"""Answers as servers really give them, and ten thousand that are broken: nothing is raised, nothing is invented."""

import contextlib
import json
import random
import re

import numpy as np
import pytest

from umgclip.annotate.cache.codec import pack, unpack
from umgclip.annotate.models.crop_captions import captions_of_crops
from umgclip.annotate.models.detection import Detection, to_proposals
from umgclip.annotate.models.vlm.answers import CaptionAnswer, NoAnswerError, TagsAnswer
from umgclip.annotate.models.vlm.forms import parse
from umgclip.annotate.models.vlm.grammars.json_objects import JsonBoxes
from umgclip.annotate.models.vlm.reply import UNKNOWN_SCORE, read_reply
from umgclip.annotate.models.vlm.scale import Scale
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.annotate.roles import Partly
from umgclip.records import Text

CAT = '{"caption": "a cat on a mat"}'
OBJECT = {"label": "cat", "box": [100, 100, 500, 500]}


@pytest.mark.parametrize(
    "content",
    [
        CAT, f"```json\n{CAT}\n```", f"Here is the JSON:\n```json\n{CAT}\n```\nHope this helps!",
        f"<think>The user wants {{a caption}}.</think>\n\n{CAT}", f"let me see...</think>{CAT}",
        f'<think>{{"caption": "a dog"}}</think>{CAT}', [{"type": "text", "text": CAT}], json.loads(CAT), f"[{CAT}]",
        '{"caption": "a cat on a mat", "confidence": 0.9}', '{"caption": "a cat on a mat",}',
        "{'caption': 'a cat on a mat'}", f"Draft {{...}}\n{CAT}", '{"caption": "a cat\\u0000 on\\n a mat "}',
    ],
)  # fmt: skip
def test_a_caption_is_found_in_what_is_around_it(content):
    assert parse(content, CaptionAnswer).caption == "a cat on a mat"


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (None, "expected JSON such as"), ("", "expected JSON such as"), ("A cat on a mat.", "expected JSON such as"),
        ('{"caption": "a cat on', "expected JSON such as"), ('{"description": "a cat"}', "caption: expected a field"),
        ('{"caption": null}', "caption: expected a text"), ('{"caption": "  "}', "caption: expected some words"),
        ('{"caption": "a cat \\ud83d"}', "half a character"), ("[" * 100_000, "expected JSON such as"),
        ("<think>" + CAT, "expected JSON such as"),
        ('{"caption": ' + "9" * 5000 + "}", "caption: expected a text|JSON"),
    ],
)  # fmt: skip
def test_what_is_no_caption_says_why(content, detail):
    with pytest.raises(NoAnswerError, match=detail):
        parse(content, CaptionAnswer)


@pytest.mark.parametrize(
    "value",
    [
        {"objects": [OBJECT]}, [OBJECT], [{"bbox_2d": [100, 100, 500, 500], "label": "cat"}],
        {"objects": [{**OBJECT, "score": 0.9}]}, {"objects": [{**OBJECT, "box": ["100", "100", "500", "500"]}]},
        {"objects": [{**OBJECT, "box": "100,100,500,500"}]}, {"objects": [{**OBJECT, "box": [[100, 100], [500, 500]]}]},
        {"objects": [{**OBJECT, "box": {"x1": 100, "y1": 100, "x2": 500, "y2": 500}}]},
    ],
)  # fmt: skip
def test_four_numbers_are_a_box(value):
    (one,) = parse(json.dumps(value), JsonBoxes).objects
    assert (one.label, one.box) == ("cat", (100.0, 100.0, 500.0, 500.0))


@pytest.mark.parametrize(
    "bad",
    [
        {"label": "dog", "box": [500, 100, 100, 500]}, {"label": "dog", "box": [1, 1, 1, 5]}, {"label": "dog"},
        {"label": "dog", "box": [0, 0, float("inf"), 5]}, {"label": "dog", "box": [0, 0, float("nan"), 5]},
        {"label": "dog", "box": [1, 2, 3]}, {"label": "dog", "box": [1, 2, 3, 4, 0.9]},
        {"label": "", "box": [1, 1, 9, 9]},
        {"label": "dog", "box": [True, 1, 9, 9]}, {"label": "dog", "box": [10**400, 1, 9, 9]}, "dog", None,
    ],
)  # fmt: skip
def test_one_bad_box_costs_itself_alone(bad):
    answer = parse(json.dumps({"objects": [OBJECT, bad]}), JsonBoxes)
    assert ([one.label for one in answer.objects], len(answer.bad)) == (["cat"], 1)
    with pytest.raises(NoAnswerError, match="none of 1 is of use") as end:
        parse(json.dumps({"objects": [bad]}), JsonBoxes)
    assert end.value.reason == "bad_parts"


def test_an_answer_that_was_cut_off_is_not_read_in_part():
    cut = json.dumps({"objects": [OBJECT, OBJECT]})[:-10]
    with pytest.raises(NoAnswerError):
        parse(cut, JsonBoxes)
    with pytest.raises(NoAnswerError):
        parse('{"tags": ["cat", "dog"], "more": ["x"', TagsAnswer)


@pytest.mark.parametrize(
    ("unit", "box", "fault"),
    [
        ("thousandth", (100, 100, 1005, 500), None), ("thousandth", (0.1, 0.1, 0.5, 0.5), "more than one thousandth"),
        ("thousandth", (100, 100, 1200, 500), "within 1000 x 1000"),
        ("thousandth", (-50, 1, 5, 5), "within 1000 x 1000"),
        ("pixel", (0, 0, 200, 100), None), ("pixel", (0, 0, 100, 900), "within 200 x 100"),
        ("pixel", (0.1, 0.1, 0.9, 0.9), "more than one pixel"),
        ("share", (0, 0, 1, 1), None), ("share", (0, 0, 1, 2), "within 1 x 1"),
    ],
)  # fmt: skip
def test_boxes_of_another_scale_are_refused_with_the_key(unit, box, fault):
    answer = parse({"objects": [{"label": "cat", "box": list(box)}]}, JsonBoxes)
    scale = Scale(unit, (200, 100))
    if fault is None:
        scale.check(answer)
        return
    with pytest.raises(NoAnswerError, match=rf"box_unit {unit}: expected boxes .*{fault}") as end:
        scale.check(answer)
    assert end.value.reason == "box_scale"


def test_one_box_out_of_the_picture_tells_that_all_are_of_another_scale():
    answer = parse({"objects": [OBJECT, {"label": "dog", "box": [1200, 800, 1900, 1400]}]}, JsonBoxes)
    with pytest.raises(NoAnswerError, match="box_unit thousandth"):
        Scale("thousandth", (2000, 1500)).check(answer)


@pytest.mark.parametrize(
    ("logs", "score"),
    [
        ([0.0, 0.0], 1.0), ([None], UNKNOWN_SCORE), ([float("nan")], UNKNOWN_SCORE), ([-9999.0], 0.0),
        ("x", UNKNOWN_SCORE),
        ([1e308, 1e308], UNKNOWN_SCORE), ([5.0], 1.0), ([True], UNKNOWN_SCORE), ([], UNKNOWN_SCORE),
        ([10**400], UNKNOWN_SCORE),
    ],
)  # fmt: skip
def test_scores_are_not_invented(logs, score):
    content = [{"logprob": log} for log in logs] if isinstance(logs, list) else logs
    choice = {"message": {"content": CAT}, "logprobs": {"content": content}}
    assert read_reply(json.dumps({"choices": [choice]}).encode()).score == score


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [({"total_tokens": 5}, 5), ({"total_tokens": "7"}, 7), ({"total_tokens": "many"}, None), ([1], None), (None, None)],
)
def test_odd_usage_is_no_fault(usage, tokens):
    body = {"choices": [{"message": {"content": CAT}}], "usage": usage}
    assert read_reply(json.dumps(body).encode()).tokens == tokens


def test_reasoning_stands_in_for_a_content_that_is_null():
    message = {"content": None, "reasoning_content": CAT}
    reply = read_reply(json.dumps({"choices": [{"message": message}]}).encode())
    assert parse(reply.content, CaptionAnswer).caption == "a cat on a mat"


def test_one_refused_crop_costs_its_caption_alone():
    places = [
        Proposal.of_box((0.0, 0.0, 9.0, 9.0), (10, 10), 1.0),
        Proposal.of_box((1.0, 1.0, 9.0, 9.0), (10, 10), 1.0),
    ]
    said = [[Text(text="a cat", source="m")], Failure("refusal", "Sorry, I cannot.")]
    image = np.zeros((10, 10, 3), np.uint8)
    (found,) = captions_of_crops([image], [places], 1.0, lambda _crops: said)
    assert [[t.text for t in texts] for texts in found] == [["a cat"], []]
    assert [(one.role, one.reason, one.box_xyxy) for one in found.refused] == [
        ("region_captioner", "refusal", (1.0, 1.0, 9.0, 9.0))
    ]
    for failures in ([said[0], Failure("timeout", "")], [Failure("invalid_answer", "")] * 2):
        (found,) = captions_of_crops([image], [places], 1.0, lambda _crops, answers=failures: answers)
        assert isinstance(found, Failure)


def test_what_of_an_answer_was_no_use_is_stored_with_it():
    found = to_proposals(
        [Detection((0.0, 0.0, 9.0, 9.0), 0.5, "cat"), Detection((0.0, 0.0, 0.2, 9.0), 0.5, "dog")], (10, 10), "m", 9
    )
    again = unpack("proposer", pack("proposer", found))
    assert isinstance(again, Partly)
    assert [p.box_xyxy for p in again] == [(0.0, 0.0, 9.0, 9.0)]
    assert again.refused == found.refused
    assert again.refused[0].text.text == "dog"


def mutated(text, rng):
    """A text with some of it cut out, doubled, swapped, or replaced by what breaks readers."""
    pieces = ["{", "}", "[", "]", '"', ",", ":", "\\", "null", "NaN", "1e999", "-", "'", "```", "<think>", "</think>",
              "\ud83d", "\x00", "9" * 400, "é", "true", '{"caption": ', "\\u0000", "\\ud800"]  # fmt: skip
    for _ in range(rng.randint(1, 2)):
        at, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        end = min(end, at + rng.randint(0, 5))
        text = text[:at] + rng.choice([*pieces, "", text[at:end] * 2, text[at:end][::-1]]) + text[end:]
    return text


SEEDS = [
    (CAT, CaptionAnswer), (f"```json\n{CAT}\n```", CaptionAnswer), ('{"tags": ["cat", "mat"]}', TagsAnswer),
    (json.dumps({"objects": [OBJECT, {"label": "dog", "box": [1, 2, 30, 40]}]}), JsonBoxes),
]  # fmt: skip


def test_ten_thousand_broken_answers_raise_nothing_else_and_invent_nothing():
    rng = random.Random(0)
    letters = re.compile(r"[^\W\d_]+")
    read = 0
    for number in range(10_000):
        seed, kind = SEEDS[number % len(SEEDS)]
        content = mutated(seed, rng)
        try:
            answer = parse(content, kind)
        except NoAnswerError:
            continue
        read += 1
        source = content.encode("utf-8", "replace").decode()
        with contextlib.suppress(ValueError):
            source += json.loads(f'"{content}"')
        for text in answer.texts:
            text.encode()  # it can be written
            assert text.strip()
            assert not any(ord(letter) < 32 for letter in text)
            assert all(word in source or "\\" in content for word in letters.findall(text)), (content, text)
        for one in getattr(answer, "objects", ()):
            x0, y0, x1, y1 = one.box
            assert x0 < x1 < float("inf")
            assert y0 < y1 < float("inf")
    assert 2000 < read < 9000


def test_broken_replies_raise_nothing_else():
    rng = random.Random(1)
    whole = json.dumps(
        {
            "choices": [
                {"message": {"content": CAT}, "finish_reason": "stop", "logprobs": {"content": [{"logprob": -0.1}]}}
            ],
            "usage": {"total_tokens": 5},
        }
    )
    for _ in range(2000):
        try:
            reply = read_reply(mutated(whole, rng).encode("utf-8", "surrogatepass"))
        except ValueError:
            continue
        assert 0.0 <= reply.score <= 1.0
        assert reply.tokens is None or reply.tokens >= 0
        assert isinstance(reply.refusal, str)
        with contextlib.suppress(NoAnswerError):
            parse(reply.content, CaptionAnswer)
