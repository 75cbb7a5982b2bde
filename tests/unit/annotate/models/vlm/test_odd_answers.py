"""A table of odd answers that servers gave, and what each becomes: words, boxes, or the reason of a failure."""

from __future__ import annotations

import json

import numpy as np
import pytest

from umgclip.annotate.models.vlm import wire
from umgclip.annotate.models.vlm.annotator import Vlm
from umgclip.annotate.models.vlm.wire import Raw
from umgclip.annotate.rejected import Failure
from umgclip.params.annotators import VlmParams

CAT = json.dumps({"caption": "a cat on a mat"})
WORDS = ["a cat on a mat"]
BOX = [("cat", (20.0, 10.0, 100.0, 50.0))]


def said(content, finish="stop", **message):
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}]}


def boxes(*objects):
    return said(json.dumps({"objects": [{"label": label, "box": box} for label, box in objects]}))


CORNERS = [100, 100, 500, 500]
CAPTIONS = {
    "plain": (said(CAT), WORDS), "fence": (said(f"```json\n{CAT}\n```"), WORDS),
    "fence and words": (said(f"Here is the JSON:\n```json\n{CAT}\n```\nHope this helps!"), WORDS),
    "thinking": (said(f"<think>The user wants {{a caption}}.</think>\n\n{CAT}"), WORDS),
    "thinking, close only": (said(f"let me see...</think>{CAT}"), WORDS),
    "null, reasoning_content": (said(None, reasoning_content=CAT), WORDS),
    "null, reasoning": (said(None, reasoning=CAT), WORDS), "parts": (said([{"type": "text", "text": CAT}]), WORDS),
    "object": (said({"caption": "a cat on a mat"}), WORDS), "list": (said(f"[{CAT}]"), WORDS),
    "extra key": (said('{"caption": "a cat on a mat", "confidence": 0.9}'), WORDS),
    "trailing comma": (said('{"caption": "a cat on a mat",}'), WORDS),
    "single quotes": (said("{'caption': 'a cat on a mat'}"), WORDS),
    "Chinese": (said('{"caption": "一只猫坐在垫子上。"}'), ["一只猫坐在垫子上。"]),
    "other key": (said('{"description": "a cat"}'), "invalid_answer"), "bare": (said("A cat."), "invalid_answer"),
    "refusal, Chinese": (said('{"caption": "抱歉，我无法查看这张图片。"}'), "refusal"),
    "refusal": (said('{"caption": "I\'m sorry, I can\'t help with that."}'), "refusal"),
    "refusal, see": (said('{"caption": "I don\'t see any image attached to your message."}'), "refusal"),
    "refusal, Spanish": (said('{"caption": "Lo siento, no puedo ayudar con eso."}'), "refusal"),
    "empty": (said(""), "invalid_answer"), "null": (said(None), "invalid_answer"),
    "null caption": (said('{"caption": null}'), "invalid_answer"),
    "blank": (said('{"caption": " "}'), "invalid_answer"),
    "cut": (said('{"caption": "a cat on', "length"), "truncated"),
    "cut, stop": (said('{"caption": "a cat on'), "invalid_answer"),
    "half a character": (said('{"caption": "a cat \\ud83d"}'), "invalid_answer"),
    "nul": (said('{"caption": "a cat\\u0000 mat"}'), ["a cat mat"]), "no choices": ({"choices": []}, "invalid_answer"),
    "error": ({"error": {"message": "overloaded"}}, "invalid_answer"), "list of 1": ([1], "invalid_answer"),
    "message null": ({"choices": [{"message": None}]}, "invalid_answer"),
    "usage": ({**said(CAT), "usage": {"total_tokens": "many"}}, WORDS),
    "usage, list": ({**said(CAT), "usage": [1]}, WORDS),
}  # fmt: skip
BOXES = {
    "plain": (boxes(("cat", CORNERS)), BOX), "empty": (boxes(), []),
    "list": (said(json.dumps([{"label": "cat", "box": CORNERS}])), BOX),
    "Qwen": (said("```json\n" + json.dumps([{"bbox_2d": CORNERS, "label": "cat"}]) + "\n```"), BOX),
    "numbers as texts": (boxes(("cat", ["100", "100", "500", "500"])), BOX),
    "text": (boxes(("cat", "100,100,500,500")), BOX), "nested": (boxes(("cat", [[100, 100], [500, 500]])), BOX),
    "keys": (boxes(("cat", {"x1": 100, "y1": 100, "x2": 500, "y2": 500})), BOX),
    "0 to 1": (boxes(("cat", [0.1, 0.1, 0.5, 0.5])), "box_scale"),
    "pixels of 2000": (boxes(("cat", [1200, 800, 1900, 1400])), "box_scale"),
    "above 1000": (boxes(("cat", [100, 100, 1200, 500])), "box_scale"),
    "one bad of three": (
        boxes(("cat", CORNERS), ("dog", [500, 100, 100, 500]), ("bird", CORNERS)), [*BOX, ("bird", BOX[0][1])],
    ),
    "one flat": (boxes(("cat", CORNERS), ("line", [100, 100, 100, 500])), BOX),
    "just outside": (boxes(("cat", [-5, 100, 500, 500])), [("cat", (0.0, 10.0, 100.0, 50.0))]),
    "infinity": (said('{"objects":[{"label":"cat","box":[0,0,Infinity,Infinity]}]}'), "bad_parts"),
    "nan": (said('{"objects":[{"label":"cat","box":[0,0,NaN,5]}]}'), "bad_parts"),
    "1e400": (said('{"objects":[{"label":"cat","box":[0,0,1e400,5]}]}'), "bad_parts"),
    "five": (boxes(("cat", [*CORNERS, 0.9])), "bad_parts"), "three": (boxes(("cat", [1, 2, 3])), "bad_parts"),
    "point": (said('{"objects":[{"label":"cat","point":[100,100]}]}'), "bad_parts"),
    "no label": (boxes(("", CORNERS)), "bad_parts"), "number": (boxes((5, CORNERS)), "bad_parts"),
    "Chinese": (boxes(("猫", CORNERS)), [("猫", BOX[0][1])]),
    "tags": (said("<ref>cat</ref><box>(100,100),(500,500)</box>"), "invalid_answer"),
    "200 and more": (boxes(*[(f"cat {n}", [n, 1, n + 9, 9]) for n in range(250)]), "repetition"),
    "null": (said(None), "invalid_answer"), "words": (said("I see a cat."), "invalid_answer"),
}  # fmt: skip
TAGS = {
    "plain": ('["cat", "mat"]', ["cat", "mat"]), "blank": ('["", " ", "cat"]', ["cat"]),
    "objects": ('[{"name": "cat"}]', "bad_parts"), "text": ('"cat, mat"', "invalid_answer"),
    "long": (json.dumps(["x" * 5000]), "bad_parts"), "null": ("null", "invalid_answer"),
    "250": (json.dumps([f"tag {n}" for n in range(250)]), "invalid_answer"),
}  # fmt: skip


@pytest.fixture
def answer(monkeypatch):
    """What becomes of a body, in a role; no server is asked."""
    held = {}
    monkeypatch.setattr(wire.Wire, "post", lambda *_: Raw(200, {}, held["body"]))
    model = Vlm(VlmParams(url="http://127.0.0.1:9/v1", model="m", retries=0, concurrency=1), "annotate.models.v")
    image = np.zeros((100, 200, 3), np.uint8)

    def ask(role, body):
        held["body"] = json.dumps(body).encode()
        (made,) = getattr(model, role)([image], [[] if role == "caption_images" else ""])
        return made.reason if isinstance(made, Failure) else made

    return ask


def test_captions(answer):
    became = {name: answer("caption_images", body) for name, (body, _) in CAPTIONS.items()}
    became = {name: one if isinstance(one, str) else [text.text for text in one] for name, one in became.items()}
    assert became == {name: expected for name, (_, expected) in CAPTIONS.items()}


def test_boxes(answer):
    became = {name: answer("propose_images", body) for name, (body, _) in BOXES.items()}
    became = {n: o if isinstance(o, str) else [(p.tags[0].text, p.box_xyxy) for p in o] for n, o in became.items()}
    assert became == {name: expected for name, (_, expected) in BOXES.items()}


def test_tags(answer):
    became = {name: answer("tag_images", said(f'{{"tags": {text}}}')) for name, (text, _) in TAGS.items()}
    became = {name: one if isinstance(one, str) else [text.text for text in one] for name, one in became.items()}
    assert became == {name: expected for name, (_, expected) in TAGS.items()}
