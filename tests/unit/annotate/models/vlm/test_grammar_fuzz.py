"""Ten thousand broken answers in each grammar: nothing else is raised, and no name and no number is invented."""

from __future__ import annotations

import json
import math
import random
import re

import pytest

from umgclip.annotate.models.vlm.answers import NoAnswerError
from umgclip.annotate.models.vlm.boxes import BoxesAnswer
from umgclip.annotate.models.vlm.grammars.registry import BOX_GRAMMARS
from umgclip.annotate.models.vlm.scale import Scale
from umgclip.params.vlm import GRAMMARS

ROUNDS = 10_000
PIECES = [
    "{", "}", "[", "]", '"', ",", ":", "\\", "null", "NaN", "1e999", "-", "-[", "]&", "&", "'", "```", "<think>",
    "</think>", "\ud83d", "\x00", "9" * 400, "é", "true", "\\u0000", "\\ud800", "<box>", "</box>", "<ref>", "</ref>",
    "<point ", "</points>", ";", "0.5", "None", ">", "<", "=", "x2=", "coords=", "inf", "\n", "５", "٣", "1_0", "+1",
    "0x1F", ".", "1.", " ", "\u2028", "[[", "<<",
]  # fmt: skip
SEEDS = {
    "json": [
        '{"objects": [{"label": "cat", "box": [100, 100, 500, 500]}, {"label": "dog", "box": [1, 2, 30, 40]}]}',
        '```json\n[{"label": "T-shirt", "box": [[10, 20], [30, 400]]}]\n```',
    ],
    "bbox_2d": [
        '```json\n[\n\t{"bbox_2d": [323, 118, 444, 825], "label": "watch"},\n\t{"bbox_2d": [44, 8, 565, 25]}\n]\n```',
        '{"bbox_2d": [135, 114, 1000, 672], "label": "house"}\n{"bbox_2d": [1, 4, 100, 67], "label": "sky"}',
    ],
    "griffon": [
        "person-[0.001,0.345,0.111,0.678]&T-shirt-[0.100,0.200,0.300,0.400]&salt & pepper-[0.500,0.500,0.600,0.900]",
        "[0.230,0.334,0.826,0.482]", "None",
    ],
    "texthawk": [
        "<ref>A cat</ref><box><230><334>,<826><482></box> and the dog<box>(10,20),(30,40)</box>",
        "<box><230><334>,<826><482></box>",
    ],
    "shikra": [
        "Two men [0.100,0.200,0.300,0.400;0.500,0.200,0.700,0.400] and a horse[0.1,0.1,0.9,0.9] on grass.",
        "[0.230,0.334,0.826,0.482]",
    ],
    "molmo": [
        'Counting the <points x1="9.1" y1="11.7" x2="17.2" y2="41.3" alt="boats">the boats</points> shows 2.',
        '<point x="51.2" y="26.4" alt="a cat">cat</point>', '<points coords="1 1 073 160 2 173 600" alt="b">c</points>',
    ],
}  # fmt: skip


def mutated(text: str, rng: random.Random) -> str:
    """A text with some of it cut out, doubled, reversed, or replaced by what breaks readers."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice((0, 1, 2, 5, 40)))
        text = text[:at] + rng.choice((rng.choice(PIECES), "", text[at:end] * 2, text[at:end][::-1])) + text[end:]
    return text


def check(answer: BoxesAnswer, content: str, scale: Scale) -> None:
    """Every name and number stands in the text, and every place lies in the image."""
    plain = " ".join(
        "".join(" " if ord(letter) < 32 or 126 < ord(letter) < 160 else letter for letter in content).split()
    )
    numbers = {float(one) for one in re.findall(r"\d+(?:\.\d*)?|\.\d+", content)}
    numbers |= {float(one) for one in re.findall(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?", content)}
    for one in answer.objects:
        if one.label is not None:
            one.label.encode()  # it can be written
            assert one.label.strip()
            assert one.label in plain or "\\" in content, (content, one.label)
            assert one.label_at is not None
        assert all(map(math.isfinite, one.box))
        assert set(one.box) <= numbers, (content, one.box)
        assert one.box_at is not None
        assert answer.text[slice(*one.box_at)] in content or "```" in content
        assert one.is_point == (one.box[0] == one.box[2])
        assert one.is_point or (one.box[0] < one.box[2] and one.box[1] < one.box[3])
        right, bottom = (side * 1.011 for side in scale.sides)
        assert 0 <= one.box[0] <= right or one.box[0] < 0 <= one.box[0] + 0.011 * scale.sides[0]
        assert one.box[2] <= right
        assert one.box[3] <= bottom
    for one in answer.bad:
        one.detail.encode()
        assert len(one.detail) < 400


@pytest.mark.parametrize("grammar", list(GRAMMARS))
def test_ten_thousand_broken_answers(grammar: str) -> None:
    rng = random.Random(grammar)
    units, read, reasons = GRAMMARS[grammar].units, 0, set()
    for number in range(ROUNDS):
        scale = Scale(units[number % len(units)], (640, 480))
        content = mutated(rng.choice(SEEDS[grammar]), rng)
        try:
            answer = BOX_GRAMMARS[grammar].read(content, scale.unit)
            scale.check(answer)
        except NoAnswerError as error:
            reasons.add(error.reason)
            str(error).encode()
            continue
        read += 1
        check(answer, content, scale)
    assert reasons == {"invalid_answer", "bad_parts", "box_scale"}
    assert ROUNDS * 0.1 < read < ROUNDS * 0.95


@pytest.mark.parametrize("grammar", list(GRAMMARS))
def test_an_answer_is_read_in_linear_time(grammar: str) -> None:
    """A server may send 4 MB; what repeats without an end must not take long."""
    for piece in ("-[", "[", "<box>", "<ref>", "<points ", '<point x="', "a&", '{"', '"', "\\", ",", "[0.1,", "<1>"):
        with pytest.raises(NoAnswerError):
            BOX_GRAMMARS[grammar].read(piece * 40_000, GRAMMARS[grammar].units[0])


def test_a_broken_answer_among_json_keeps_its_place() -> None:
    """The spans stay right where a comma was repaired."""
    text = json.dumps([{"bbox_2d": [1, 2, 3, 4], "label": "a"}]).replace("}]", ",},]")
    (one,) = BOX_GRAMMARS["bbox_2d"].read(f"Sure:\n{text}", "thousandth").objects
    assert (one.label, one.label_at, one.box_at) == ("a", (43, 44), (20, 30))
