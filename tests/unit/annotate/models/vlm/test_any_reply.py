"""Replies of every shape, as hypothesis makes them: an answer of the asked kind, or a failure that can be counted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umgclip.annotate.models.vlm import wire
from umgclip.annotate.models.vlm.annotator import Vlm
from umgclip.annotate.models.vlm.wire import Raw
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.errors import UmgclipError
from umgclip.params.annotators import VlmParams
from umgclip.records import Text

IMAGE = np.zeros((40, 40, 3), np.uint8)
CHECKS = list(HealthCheck)
QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
SHORT = settings(QUICK, max_examples=40)
LONG = settings(max_examples=20_000, deadline=None, database=None, suppress_health_check=CHECKS)
KEYS = (
    "choices", "message", "content", "refusal", "finish_reason", "logprobs", "logprob", "usage", "total_tokens", "text",
    "error", "reasoning", "caption", "tags", "objects", "label", "box", "bbox_2d", "x0", "y0", "x1", "y1", "token",
    "bytes",
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=20),
    st.sampled_from(["\ud800", "{", "[]", "<think>", "```json\n{}\n```", "9" * 5000, "1e999", '{"caption": "a cat"}',
                     "stop", "length", "I cannot help with that.", "cat-[0.100,0.200,0.300,0.400]&dog-[0.1", "None",
                     "<box><1><2>,<30><40></box>", "a cat [0.1,0.2,0.3,0.4;0.5", '<point x="5" y="6" alt="cat">']),
)  # fmt: skip
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)),
    max_leaves=12,
)
ANSWERS = st.one_of(
    ANYTHING.map(lambda value: json.dumps({"caption": value})),
    ANYTHING.map(lambda value: json.dumps({"tags": value})),
    ANYTHING.map(lambda value: json.dumps({"objects": [{"label": "cat", "box": value}, value]})),
    ANYTHING,
)
TOKENS = st.lists(
    st.fixed_dictionaries({"token": ANSWERS, "logprob": LEAVES}, optional={"bytes": ANYTHING}), max_size=3
)
CHOICES = st.fixed_dictionaries(
    {"message": st.fixed_dictionaries({"content": ANSWERS})},
    optional={"logprobs": st.fixed_dictionaries({"content": st.one_of(TOKENS, ANYTHING)})},
)
COMPLETIONS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)},
    optional={"usage": ANYTHING, "error": ANYTHING},
)


def bodies() -> st.SearchStrategy[bytes]:
    whole = st.one_of(ANYTHING, COMPLETIONS, COMPLETIONS).map(lambda value: json.dumps(value).encode())
    cut = st.tuples(whole, st.integers(0, 400)).map(lambda made: made[0][: len(made[0]) - made[1]])
    deep = st.integers(900, 1000).map(lambda n: b'{"choices":[{"message":{"content":' + b"[" * n + b"]" * n + b"}}]}")
    return st.one_of(whole, whole, cut, deep, st.binary(max_size=60))


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Raw]:
    """The reply that is on its way; no server is asked."""
    held: list[Raw] = [Raw(200, {}, b"")]
    monkeypatch.setattr(wire.Wire, "post", lambda *_args: held[0])
    return held


def check(replies: list[Raw], budget: Any, **more: Any) -> None:
    params = VlmParams(url="http://127.0.0.1:9/v1", model="m", retries=0, concurrency=1, **more)
    model = Vlm(params, "annotate.models.v")
    asked = {"caption_images": ([[]], Text), "tag_images": ([""], Text), "propose_images": ([""], Proposal)}

    @budget
    @given(body=bodies(), status=st.sampled_from([200, 200, 200, 200, 400, 500, 503, 999]), after=st.text(max_size=8))
    def one(body: bytes, status: int, after: str) -> None:
        replies[0] = Raw(status, {"retry-after": after}, body)
        for role, (captions, kind) in asked.items():
            (found,) = getattr(model, role)([IMAGE], captions)
            if isinstance(found, Failure):
                assert found.reason.isidentifier()
                found.detail.encode()
                continue
            assert status == 200
            for text in found:
                assert isinstance(text, kind)
                assert 0.0 <= text.score <= 1.0
                if isinstance(text, Text):
                    assert text.text.strip()
                    text.text.encode()

    one()
    replies[0] = Raw(401, {}, b"\xff")
    with pytest.raises(UmgclipError, match="answers 401"):
        model.tag_images([IMAGE], [""])
    replies[0] = Raw(200, {}, b'{"choices": [{"message": {"content": "{\\"tags\\": [\\"cat\\"]}"}}]}')
    assert [text.text for text in model.tag_images([IMAGE], [""])[0]] == ["cat"]


def test_any_reply_is_an_answer_or_a_failure(replies: list[Raw]) -> None:
    check(replies, QUICK)


@pytest.mark.parametrize("grammar", ["bbox_2d", "griffon", "texthawk", "shikra", "molmo"])
def test_any_reply_in_each_grammar(replies: list[Raw], grammar: str) -> None:
    check(replies, SHORT, grammar=grammar, queries=["cat"], answers="text")


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_any_reply_is_an_answer_or_a_failure_for_long(replies: list[Raw]) -> None:
    check(replies, LONG)
