"""Each grammar against answers as its models publish them, with its empty answer, and what is wrong with the others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from umgclip.annotate.models.vlm.answers import NoAnswerError
from umgclip.annotate.models.vlm.grammars.registry import BOX_GRAMMARS
from umgclip.params.annotators import VlmParams
from umgclip.params.vlm import GRAMMARS

QWEN = '```json\n[\n\t{"bbox_2d": [323, 118, 444, 825], "label": "watch"},\n\t{"bbox_2d": [444, 118, 565, 825], "label": "watch"}\n]\n```'  # noqa: E501
BOATS = (
    'Counting the <points x1="9.1" y1="11.7" x2="17.2" y2="41.3" x3="19.6" y3="3.4" x4="26.8" y4="54.4" x5="30.8"'
    ' y5="1.6" alt="the boats">the boats</points> shows a total of 5.'
)
ROBOATS = (
    'Counting the <points coords="1 1 073 160 2 173 600 3 258 725 4 323 735 5 353 160" alt="boats">the boats</points>'
    " shows a total of 5."
)


def read(grammar, content, unit=None):
    return BOX_GRAMMARS[grammar].read(content, unit or GRAMMARS[grammar].units[0])


def objects(grammar, content, unit=None):
    return [(one.label, one.box) for one in read(grammar, content, unit).objects]


def refused(grammar, content, unit=None):
    with pytest.raises(NoAnswerError) as end:
        read(grammar, content, unit)
    return end.value.reason, str(end.value)


@pytest.mark.parametrize(
    ("grammar", "content", "expected"),
    [
        ("json", '{"objects": [{"label": "cat", "box": [1, 2, 30, 40]}]}', [("cat", (1, 2, 30, 40))]),
        # issue 2020 of Qwen3-VL's repository
        ("bbox_2d", QWEN, [("watch", (323, 118, 444, 825)), ("watch", (444, 118, 565, 825))]),
        ("bbox_2d", '{"bbox_2d": [135, 114, 1016, 672]}', [(None, (135, 114, 1016, 672))]),
        (
            "bbox_2d",
            '{"bbox_2d": [1, 2, 3, 4], "label": "a"}\n{"bbox_2d": [5, 6, 7, 8], "label": "b"}',
            [("a", (1, 2, 3, 4)), ("b", (5, 6, 7, 8))],
        ),
        ("bbox_2d", 'Draft: [{"bbox_2d": [1, 2, 3, 4], "label": "a"}] Final: []', []),
        # the example in Griffon's own prompt
        ("griffon", "person-[0.001,0.345,0.111,0.678]", [("person", (0.001, 0.345, 0.111, 0.678))]),
        (
            "griffon",
            "T-shirt-[0.100,0.200,0.300,0.400]&hot dog-[0.000,0.000,1.000,0.500]",
            [("T-shirt", (0.1, 0.2, 0.3, 0.4)), ("hot dog", (0, 0, 1, 0.5))],
        ),
        (
            "griffon",
            "salt & pepper-[0.100,0.200,0.300,0.400] & a-[b]-[0.100,0.200,0.300,0.500]",
            [("salt & pepper", (0.1, 0.2, 0.3, 0.4)), ("a-[b]", (0.1, 0.2, 0.3, 0.5))],
        ),
        (
            "griffon",
            "Here are the objects:\ncat-[0.100, 0.200, 0.300, 0.400]&\ndog-[0.500,0.500,0.600,0.600]\nDone.",
            [("cat", (0.1, 0.2, 0.3, 0.4)), ("dog", (0.5, 0.5, 0.6, 0.6))],
        ),
        ("griffon", "[0.100,0.200,0.300,0.400]&[0.500,0.500,0.600,0.600]", [
            (None, (0.1, 0.2, 0.3, 0.4)), (None, (0.5, 0.5, 0.6, 0.6)),
        ]),
        ("griffon", "None", []),
        ("griffon", "<think>person-[0.001,0.345,0.111,0.678]?</think>None.", []),
        ("texthawk", "<box><230><334>,<826><482></box>", [(None, (230, 334, 826, 482))]),
        (
            "texthawk",
            "<ref>A black cat</ref><box><230><334>,<826><482></box><box><1><2>,<3><4></box> and the dog"
            "<box>(10,20),(30,40)</box>",
            [("A black cat", (230, 334, 826, 482)), ("A black cat", (1, 2, 3, 4)), ("dog", (10, 20, 30, 40))],
        ),
        ("shikra", "[0.230,0.334,0.826,0.482]", [(None, (0.23, 0.334, 0.826, 0.482))]),
        (
            "shikra",
            "Two men [0.100,0.200,0.300,0.400;0.500,0.200,0.700,0.400] and a horse[0.1,0.1,0.9,0.9] on grass.",
            [("Two men", (0.1, 0.2, 0.3, 0.4)), ("Two men", (0.5, 0.2, 0.7, 0.4)), ("horse", (0.1, 0.1, 0.9, 0.9))],
        ),
        ("molmo", '<point x="51.2" y="26.4" alt="cat">cat</point>', [("cat", (51.2, 26.4, 51.2, 26.4))]),
        ("molmo", '<point x="51.2" y="26.4">a cat</point>', [("a cat", (51.2, 26.4, 51.2, 26.4))]),
        ("molmo", "There are none.", []), ("molmo", "This isn't in the image.", []),
    ],
)  # fmt: skip
def test_answers_as_models_publish_them(grammar, content, expected):
    assert objects(grammar, content) == expected


def test_points_of_both_generations_of_molmo():
    first = objects("molmo", BOATS)
    assert [label for label, _ in first] == ["the boats"] * 5
    assert [place[:2] for _, place in first] == [(9.1, 11.7), (17.2, 41.3), (19.6, 3.4), (26.8, 54.4), (30.8, 1.6)]
    second = objects("molmo", ROBOATS, "thousandth")
    assert [place[:2] for _, place in second] == [(73, 160), (173, 600), (258, 725), (323, 735), (353, 160)]
    assert objects("molmo", '<points alt="a" coords="1 193 076 2 226 144">b</points>', "thousandth") == [
        ("a", (193, 76, 193, 76)), ("a", (226, 144, 226, 144)),
    ]  # fmt: skip
    assert all(one.is_point for one in read("molmo", BOATS).objects)
    reason, detail = refused("molmo", ROBOATS)
    assert (reason, "expected x and y, got coords" in detail) == ("box_scale", True)
    assert refused("molmo", BOATS, "thousandth")[0] == "box_scale"


@pytest.mark.parametrize(
    ("grammar", "content", "good", "details"),
    [
        ("griffon", "cat-[0.1,0.2,0.3,0.4]&dog-[0.100,0.200,0.300,0.400]", ["dog"], ["three decimals"]),
        ("griffon", "cat-[0.500,0.200,0.300,0.400]&dog-[0.100,0.200,0.300,0.400]", ["dog"], ["x0 < x1"]),
        ("griffon", "cat [0.100,0.200,0.300,0.400]&dog-[0.100,0.200,0.300,0.400]", ["dog"], ["expected name-["]),
        ("griffon", "dog-[0.100,0.200,0.300,0.400]&cat-[0.100,0.2", ["dog"], ["cut off"]),
        ("griffon", "dog-[0.100,0.200,0.300,0.400]&cat-[0.100,-0.200,0.3,0.4]", ["dog"], ["three decimals"]),
        ("texthawk", "cat<box><1><2>,<3></box> dog<box><1><2>,<3><4></box>", ["dog"], ["expected <x0><y0>"]),
        ("texthawk", "dog<box><1><2>,<3><4></box> cat<box><1><2>", ["dog"], ["cut off"]),
        ("texthawk", "dog<box><1><2>,<3><4></box> cat<box><9><2>,<3><4></box>", ["dog"], ["x0 < x1"]),
        ("shikra", "dog [0.1,0.1,0.2,0.2;0.3,0.3]", ["dog"], ["four numbers"]),
        ("shikra", "dog [0.1,0.1,0.2,0.2] cat [0.1,", ["dog"], ["cut off"]),
        ("molmo", '<points x1="1.0" y1="2.0" x2="3.0" x3="5.0" y3="6.0" alt="a">a</points>', ["a", "a"], ["x2 and y2"]),
        ("molmo", '<point x="1" y="2" alt="a">a</point><point alt="b">b</point>', ["a"], ["expected x and y"]),
        ("molmo", '<point x="1" y="2" alt="a">a</point><point x="4', ["a"], ["cut off"]),
        ("molmo", '<point x="1e9" y="2" alt="b">b</point><point x="1" y="2" alt="a">', ["a"], ["numbers x and y"]),
        ("bbox_2d", '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"box_2d": [1, 2, 3, 4]}]', ["a"], ["four finite"]),
        (
            "bbox_2d",
            '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": [1, 2, 3, 4], "label": 5}]',
            ["a"],
            ["a text"],
        ),
    ],
)
def test_one_bad_part_costs_itself_alone(grammar, content, good, details):
    answer = read(grammar, content)
    assert [one.label for one in answer.objects] == good
    assert len(answer.bad) == len(details)
    for one, detail in zip(answer.bad, details, strict=True):
        assert detail in one.detail


@pytest.mark.parametrize(
    ("grammar", "alone"),
    [
        ("griffon", "cat-[0.1,0.2,0.3,0.4]"), ("texthawk", "cat<box><1><2></box>"), ("shikra", "cat [0.1,0.2]"),
        ("molmo", '<point alt="cat">cat</point>'), ("bbox_2d", '[{"label": "cat"}]'), ("json", '[{"label": "cat"}]'),
    ],
)  # fmt: skip
def test_an_answer_of_bad_parts_alone_is_none(grammar, alone):
    assert refused(grammar, alone)[0] == "bad_parts"


@pytest.mark.parametrize("grammar", list(GRAMMARS))
@pytest.mark.parametrize(
    "content",
    ["", None, "There is a cat on the mat.", "<think>none</think>", 5, [None], "[" * 70_000, "<box>" * 20_000],
)
def test_what_is_no_answer_is_never_nothing(grammar, content):
    assert refused(grammar, content)[0] == "invalid_answer" or content == "<box>" * 20_000


@pytest.mark.parametrize(("grammar", "key"), [("bbox_2d", "bbox_2d"), ("json", "box")])
def test_several_lists_of_one_answer_are_joined(grammar, key):
    cat = json.dumps({key: [100, 200, 500, 600], "label": "cat"})
    dog = json.dumps({key: [1, 2, 50, 60], "label": "dog"})
    both = [("cat", (100, 200, 500, 600)), ("dog", (1, 2, 50, 60))]
    assert objects(grammar, f"cats: [{cat}] dogs: []") == both[:1]
    assert objects(grammar, f"```json\n[{cat}]\n```\n```json\n[{dog}]\n```") == both
    assert objects(grammar, f'{{"objects": [{cat}]}} {{"objects": [{dog}]}}') == both
    assert objects(grammar, f"Cats [{cat}], dogs [{dog}], all: [{cat}, {dog}]") == both
    assert objects(grammar, f"Let me think: [{cat}]. Wait, it is [{dog}]") == both[1:]
    assert objects(grammar, f"<think>[{cat}]</think>[{dog}]") == both[1:]
    answer = read(grammar, f"cats: [{cat}] dogs: [{dog}]")
    assert [answer.text[slice(*one.label_at)] for one in answer.objects] == ["cat", "dog"]


@pytest.mark.parametrize("grammar", list(GRAMMARS))
def test_a_clear_sentence_says_that_nothing_is_there(grammar):
    for content in (
        "None", "There are none.", "There is no cat in the image.", "There are no cats or dogs visible in this image.",
        "No objects detected.", "The cat is not visible.", "I do not see any cats in the image.",
        "Sure! There are none. Let me know if you need anything else.", "The image does not contain any cats.",
    ):  # fmt: skip
        assert objects(grammar, content) == [], content
    for content in (
        "There is no doubt that this is a cat.", "There is no cat on the left.", "I cannot see the image.",
        "There is no cat, but there is a dog.", "I found a cat. There is no dog in the image.", "No.",
        "no " + "a " * 190, "there is no " + "a, " * 120,
    ):  # fmt: skip
        assert refused(grammar, content)[0] == "invalid_answer", content


@pytest.mark.parametrize("grammar", list(GRAMMARS))
def test_the_content_may_come_in_parts(grammar):
    text = {"json": '{"objects": []}', "bbox_2d": "[]"}.get(grammar, "None")
    parts = [{"type": "text", "text": text[:2]}, {"type": "text", "text": text[2:]}]
    assert objects(grammar, parts) == []


@pytest.mark.parametrize(
    ("grammar", "unit", "box", "written"),
    [
        ("json", "thousandth", (230, 334, 826, 482), "[230, 334, 826, 482]"),
        ("json", "share", (0.23, 0.334, 0.826, 0.482), "[0.230, 0.334, 0.826, 0.482]"),
        ("json", "pixel", (23.4, 33, 82, 48), "[23, 33, 82, 48]"),
        ("bbox_2d", "pixel", (23.4, 33, 82, 48), "[23, 33, 82, 48]"),
        ("griffon", "share", (0.23, 0.334, 0.826, 0.482), "[0.230,0.334,0.826,0.482]"),
        ("texthawk", "thousandth", (230, 334, 826, 1000), "<box><230><334>,<826><999></box>"),
        ("shikra", "share", (0.23, 0.334, 0.826, 0.482), "[0.230,0.334,0.826,0.482]"),
    ],
)
def test_a_box_that_is_written_is_read_again(grammar, unit, box, written):
    """What a prompt says of a region is what an answer would say of it."""
    assert BOX_GRAMMARS[grammar].write_box(tuple(map(float, box)), unit) == written
    around = {
        "json": '{"objects": [{"label": "cat", "box": %s}]}', "bbox_2d": '[{"label": "cat", "bbox_2d": %s}]',
        "griffon": "cat-%s", "texthawk": "cat%s", "shikra": "cat%s",
    }  # fmt: skip
    ((label, place),) = objects(grammar, around[grammar] % written, unit)
    assert label == "cat"
    assert place == pytest.approx(box, abs={"share": 0.0005}.get(unit, 1.0))


@pytest.mark.parametrize("grammar", list(GRAMMARS))
def test_spans_point_at_the_name_and_at_the_numbers(grammar):
    content = {
        "json": '{"objects": [{"label": "c\\u0061t", "box": [1, 2, 30, 40], "box_of": [9]}]}',
        "bbox_2d": '[{"extra": {"label": "dog", "bbox_2d": [7]}, "bbox_2d": [1, 2, 30, 40], "label": "cat"}]',
        "griffon": "cat-[0.001,0.002,0.030,0.040]", "texthawk": "<ref>cat</ref><box><1><2>,<30><40></box>",
        "shikra": "a cat [0.1,0.2,0.30,0.40]", "molmo": '<point x="1" y="40" alt="cat">x</point>',
    }[grammar]  # fmt: skip
    answer = read(grammar, f"Über: \n{content}" if grammar != "shikra" else content)
    (one,) = answer.objects
    assert answer.text[slice(*one.label_at)] in ("cat", "c\\u0061t")
    numbers = re.sub(r"[^\d.]+", " ", answer.text[slice(*one.box_at)]).split()
    assert answer.text[slice(*one.box_at)].strip("0123456789.")[:1] != " "
    assert [float(number) for number in numbers] == list(one.box)[: len(numbers)] or one.is_point


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"grammar": "griffon", "box_unit": "pixel"}, "box_unit: expected share with grammar griffon, got pixel"),
        ({"grammar": "bbox_2d", "box_unit": "share"}, "box_unit: expected thousandth or pixel with grammar bbox_2d"),
        ({"grammar": "json", "box_unit": "percent"}, "box_unit: expected thousandth or pixel or share"),
        ({"grammar": "molmo", "regions": "box_text"}, "regions: expected crop or alpha with grammar molmo"),
        ({"region_prompt": "What is at {box}?"}, "regions: expected box_text with {box} in a prompt, got crop"),
        ({"queries": []}, "queries: expected names, caption, vocabulary, or null"),
        ({"queries_prompt": "Find all."}, "queries_prompt"),
        ({"grammar": "yolo"}, "'json', 'bbox_2d', 'griffon', 'texthawk', 'shikra' or 'molmo'"),
    ],
)
def test_a_unit_or_view_that_a_grammar_cannot_have_is_a_fault_of_the_params(keys, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        VlmParams(url="http://127.0.0.1:1/v1", model="m", **keys)


def test_params_hold_what_is_sent_when_they_say_nothing():
    def of(**keys):
        return VlmParams(url="http://127.0.0.1:1/v1", model="m", **keys)

    assert (of().box_unit, of().answers, of().names_per_question) == ("thousandth", "json", 80)
    assert (of(grammar="molmo").box_unit, of(grammar="molmo").answers) == ("percent", "text")
    assert of(grammar="griffon").queries_prompt.startswith("Examine the image for any objects from the category set.")
    assert of(regions="alpha").region_prompt == "Describe the masked region in detail."
    assert (of(regions="alpha").answers, of(regions="alpha", answers="json").answers) == ("text", "json")
    again = VlmParams.model_validate_json(json.dumps(of(grammar="shikra", regions="box_text").model_dump()))
    assert again == of(grammar="shikra", regions="box_text")


def test_the_examples_of_the_documentation_are_params():
    text = (Path(__file__).parents[5] / "docs" / "annotators.md").read_text(encoding="utf-8")
    section = text.partition("### Examples\n")[2].partition("\n###")[0]
    block = "\n".join(line for line in section.splitlines() if line.startswith("    "))
    models = yaml.safe_load(block)["models"]
    made = {name: VlmParams.model_validate(entry) for name, entry in models.items()}
    assert {one.grammar for one in made.values()} == {"griffon", "bbox_2d", "molmo", "texthawk", "json"}
    assert (made["dam"].answers, made["texthawk"].region_prompt) == ("text", "Briefly describe this region: {box}")
