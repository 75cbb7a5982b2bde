"""A vision-language model on a real HTTP server, which the tests start and which answers as they tell it."""

import time
from collections import Counter

import numpy as np
import pytest

from tests.unit.annotate.models.vlm.conftest import completion, image, sent
from umgclip.annotate.models.vlm.annotator import Vlm
from umgclip.annotate.models.vlm.answers import TagsAnswer
from umgclip.annotate.models.vlm.client import UNKNOWN_SCORE, Client
from umgclip.annotate.models.vlm.forms import parse
from umgclip.annotate.models.vlm.grammars.json_objects import JsonBoxes
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.errors import InputError, UmgclipError
from umgclip.params.annotators import VlmParams


def params(server, **more):
    return VlmParams(url=server.url, model="some/vlm", revision="r1", **({"backoff_s": 0.01} | more))


def vlm(server, **more):
    return Vlm(params(server, **more), "annotate.models.v")


def test_captions_come_in_order_with_score_and_source(server):
    def answer(body, number):
        picture, _ = sent(body)
        shade = picture.getpixel((5, 5))[0]
        time.sleep(0.02 * (10 - shade // 20) / 10)  # the later ones answer first
        return completion({"caption": f"shade {shade // 20}"})

    server.answer = answer
    captions = vlm(server, concurrency=5).caption_images([image(20 * i) for i in range(10)], [[]] * 10)
    assert [own[0].text for own in captions] == [f"shade {i}" for i in range(10)]
    assert captions[0][0].score == pytest.approx(np.exp(-0.1))
    assert captions[0][0].source.startswith("vlm/some/vlm@r1#sha256:")
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"]) == ("some/vlm", 400)
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["caption"]


def test_no_more_than_so_many_at_once(server):
    def answer(body, number):
        time.sleep(0.03)
        return completion({"caption": "a dog"})

    server.answer = answer
    vlm(server, concurrency=3).caption_images([image()] * 12, [[]] * 12)
    assert server.most == 3
    assert len(server.bodies) == 12


@pytest.mark.parametrize(
    "first",
    [
        (500, {"error": "busy"}), (429, {"error": "slow down"}), (503, b"<html>"), completion("no json"),
        completion({"caption": ""}), completion({"description": "a"}), completion({"caption": "a do"}, "length"),
        completion({"caption": "a dog " * 30}), (200, b"no json at all"), (200, {"choices": []}),
    ],
)  # fmt: skip
def test_what_is_no_use_is_asked_again(server, first):
    server.answer = lambda body, number: first if number == 1 else completion({"caption": "a cat"})
    assert vlm(server).caption_images([image()], [[]])[0][0].text == "a cat"
    assert [body["seed"] for body in server.bodies] == [0, 1]


@pytest.mark.parametrize(
    ("always", "reason", "tries"),
    [
        ((500, {"error": "busy"}), "server_error", 3), ((400, {"error": "bad image"}), "bad_request", 3),
        (completion("no json"), "invalid_answer", 3), (completion({"caption": "x"}, "length"), "truncated", 3),
        (completion({"caption": "a dog " * 30}), "repetition", 3),
        (completion({"caption": "I'm sorry, I can't help with that."}), "refusal", 1),
        (completion("I cannot describe people."), "refusal", 1),
        (completion("", refusal="Not this one."), "refusal", 1), (completion("", "content_filter"), "refusal", 1),
        (completion({"caption": "Lo siento, no puedo ayudar con eso."}), "refusal", 1),
        (completion({"caption": "a", "x": "y" * 5000}), "too_large", 3),
    ],
)  # fmt: skip
def test_what_never_is_of_use_fails_for_its_own_image_alone(server, always, reason, tries):
    def answer(body, number):
        return always if sent(body)[0].getpixel((0, 0))[0] > 100 else completion({"caption": "a cat"})

    server.answer = answer
    good, bad, other = vlm(server, retries=2, max_reply_kb=4).caption_images([image(), image(200), image()], [[]] * 3)
    assert (good[0].text, other[0].text) == ("a cat", "a cat")
    assert isinstance(bad, Failure)
    assert bad.reason == reason
    assert len(server.bodies) == 2 + tries


def test_waits_grow_and_follow_the_servers_wish(server):
    waits = []
    server.answer = lambda body, number: (500, {}) if number < 4 else (429, {}, {"retry-after": "7"})
    client = Client(params(server, retries=4, backoff_s=1.0), "m", waits.append)
    (failure,) = Vlm(params(server), "m", client=client).caption_images([image()], [[]])
    assert failure.reason == "server_error"
    assert len(waits) == 4
    assert all(2**i * 0.5 <= wait <= 2**i * 1.5 for i, wait in enumerate(waits[:3]))
    assert waits[3] == 7.0


def test_a_deadline_ends_the_retries(server):
    server.answer = lambda body, number: (500, {})
    client = Client(params(server, retries=50, backoff_s=1.0, deadline_s=3.0), "m", lambda s: None)
    (failure,) = Vlm(params(server), "m", client=client).caption_images([image()], [[]])
    assert failure.reason == "server_error"
    assert len(server.bodies) < 5  # a wait of 4 s would pass the deadline


def test_a_slow_answer_is_a_time_out(server):
    def answer(body, number):
        time.sleep(0.6)
        return completion({"caption": "late"})

    server.answer = answer
    (failure,) = vlm(server, timeout_s=0.1, retries=1).caption_images([image()], [[]])
    assert failure == Failure("timeout", "no answer within 0.1 s")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_ends_the_run(server, status):
    server.answer = lambda body, number: (status, {"error": "no"})
    with pytest.raises(UmgclipError, match=rf"annotate.models.v: .* answers {status} for the model 'some/vlm'"):
        vlm(server).caption_images([image()] * 3, [[]] * 3)


def test_a_server_that_is_gone_ends_the_run():
    gone = Vlm(VlmParams(url="http://127.0.0.1:9/v1", model="m", retries=2, backoff_s=0.01), "annotate.models.v")
    with pytest.raises(
        UmgclipError, match=r"no answer from http://127.0.0.1:9/v1 in 3 tries .*; run it again to continue"
    ):
        gone.caption_images([image()], [[]])


def test_the_token_budget_ends_the_run(server):
    model = vlm(server, token_budget=250, concurrency=1)
    with pytest.raises(UmgclipError, match=r"v.token_budget: expected at most 250 tokens, 300 are used"):
        model.caption_images([image()] * 5, [[]] * 5)
    assert len(server.bodies) == 3


def test_the_key_comes_from_the_environment(server, monkeypatch):
    with pytest.raises(InputError, match="api_key_env: expected the variable SOME_KEY to hold a key"):
        vlm(server, api_key_env="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "secret")
    vlm(server, api_key_env="SOME_KEY").caption_images([image()], [[]])
    assert server.keys == ["Bearer secret"]


def test_tags_once_each_and_without_probabilities_an_unknown_score(server):
    server.answer = lambda body, number: completion('```json\n{"tags": ["dog", " dog ", "sky", ""]}\n```', logs=None)
    (tags,) = vlm(server, logprobs=False, structured=False).tag_images([image()], [""])
    assert [(t.text, t.score) for t in tags] == [("dog", UNKNOWN_SCORE), ("sky", UNKNOWN_SCORE)]
    assert not {"logprobs", "response_format"} & set(server.bodies[0])
    assert '{"tags"' in sent(server.bodies[0])[1]


@pytest.mark.parametrize(
    ("unit", "box", "expected"),
    [
        ("thousandth", [100, 500, 500, 900], (400, 1000, 2000, 1800)),
        ("pixel", [64, 32, 128, 256], (400, 200, 800, 1600)),
        ("share", [0.1, 0.1, 0.2, 0.8], (400, 200, 800, 1600)),
    ],
)
def test_boxes_are_in_pixels_of_the_stored_image(server, unit, box, expected):
    objects = [{"label": "dog", "box": box}, {"label": "cat", "box": [0, 0, 1e-5, 1e-5]}]
    server.answer = lambda body, number: completion({"objects": objects})
    (found,) = vlm(server, box_unit=unit, max_side_px=640).propose_images([image(size=(2000, 4000))], [""])
    assert sent(server.bodies[0])[0].size == (640, 320)
    assert [(p.box_xyxy, p.tags[0].text) for p in found] == [(expected, "dog")]
    assert [(one.reason, one.text.text) for one in found.refused] == [("under_a_pixel", "cat")]


def test_regions_are_shown_as_crops(server):
    server.answer = lambda body, number: completion({"caption": "x".join(map(str, sent(body)[0].size))})
    places = [[Proposal.of_box((10.0, 10.0, 30.0, 20.0), (60, 80), 1.0)], []]
    captions = vlm(server, crop_context=1.0).caption_regions([image(), image()], places)
    assert [[t.text for t in texts] for texts in captions[0]] == [["20x10"]]
    assert captions[1] == []


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (
            '{"objects": [{"label": "a", "box": [5, 5, 1, 9]}]}',
            JsonBoxes,
            "none of 1 is of use: box: expected x0 < x1",
        ),
        ('{"objects": [{"label": "a", "box": [5, 5]}]}', JsonBoxes, "box: expected four finite numbers"),
        ('{"tags": "dog"}', TagsAnswer, "tags: "),
        ("dog, cat", TagsAnswer, "expected JSON such as"),
    ],
)
def test_answers_are_checked(content, kind, message):
    with pytest.raises(ValueError, match=message):
        parse(content, kind)


def test_reasons_can_be_counted(server):
    server.answer = lambda body, number: (400, {"error": "no"}) if number % 2 else completion({"caption": "a dog"})
    results = vlm(server, retries=0, concurrency=1).caption_images([image()] * 6, [[]] * 6)
    assert Counter(type(r).__name__ for r in results) == {"Failure": 3, "list": 3}


def test_a_request_has_the_fields_that_a_server_wants_besides(server):
    more = {"skip_special_tokens": False, "chat_template_kwargs": {"enable_thinking": False}, "model": "other"}
    vlm(server, extra_body=more).caption_images([image()], [[]])
    (body,) = server.bodies
    assert (body["skip_special_tokens"], body["chat_template_kwargs"]) == (False, {"enable_thinking": False})
    assert body["model"] == "some/vlm"
