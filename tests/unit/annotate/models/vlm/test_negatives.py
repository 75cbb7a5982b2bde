"""Wrong texts of regions by a model on a server: what it is asked, what is read, what is stored."""

import json

import numpy as np
import pytest

from umgclip.annotate.cache.codec import pack, unpack
from umgclip.annotate.models.vlm.annotator import Vlm
from umgclip.annotate.models.vlm.answers import NegativesAnswer, NoAnswerError
from umgclip.annotate.models.vlm.client import Answer, Client
from umgclip.annotate.models.vlm.forms import parse
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.params import AnnotateParams
from umgclip.params.annotators import VlmParams
from umgclip.params.roles import RolesParams, RulesParams
from umgclip.records import Text

PARAMS = VlmParams(url="http://127.0.0.1:1/v1", model="m", revision="r")
IMAGE = np.zeros((10, 10, 3), np.uint8)


class Scripted(Client):
    """Gives the answers that it was told, one after the other."""

    def __init__(self, *contents):
        super().__init__(PARAMS, "vlm")
        self.contents, self.prompts = list(contents), []

    def ask(self, questions):
        self.prompts += [question.prompt for question in questions]
        given = [self.contents.pop(0) for _ in questions]
        said = [one if isinstance(one, Failure) else parse(json.dumps(one), NegativesAnswer) for one in given]
        return [one if isinstance(one, Failure) else Answer(one, 0.9) for one in said]


def region(*captions, tag="cat"):
    texts = tuple(Text(text=words, source="m") for words in captions)
    return Proposal(
        Proposal.of_box((1.0, 1.0, 9.0, 9.0), (10, 10), 1.0).shape, 1.0, tags=(Text(text=tag, source="m"),),
        captions=texts,
    )  # fmt: skip


def test_each_region_is_asked_about_by_its_text():
    client = Scripted({"negatives": ["a blue cat", "a red dog", 7]}, ["a bus", ""], Failure("refusal", "Sorry"))
    answers = Vlm(PARAMS, "vlm", client=client).write_negatives(
        [IMAGE, IMAGE], [[region("a red cat"), region(tag="car")], [region("an owl"), region("an owl")][:1]]
    )
    assert [prompt.split(":")[1].split("\n")[0].strip() for prompt in client.prompts] == ["a red cat", "car", "an owl"]
    assert [[t.text for t in texts] for texts in answers[0]] == [["a blue cat", "a red dog"], ["a bus"]]
    (text, *_) = answers[0][0]
    assert (text.score, text.source.partition("#")[0]) == (0.9, "vlm/m@r")
    (bad,) = answers[0].refused
    assert (bad.role, bad.reason, bad.box_xyxy) == ("negator", "bad_negative", (1.0, 1.0, 9.0, 9.0))
    # a single refusal may be about the region: the image stays
    assert (answers[1], answers[1].refused[0].reason, answers[1].refused[0].role) == ([[]], "refusal", "negator")


def test_an_image_fails_where_another_try_may_help():
    answers = Vlm(PARAMS, "vlm", client=Scripted(Failure("timeout", ""))).write_negatives([IMAGE], [[region()]])
    assert answers == [Failure("timeout", "")]


@pytest.mark.parametrize("content", [{"negatives": []}, {"negatives": "a dog"}, {"texts": ["a"]}, [[]], "a dog", [""]])
def test_answers_without_a_text_are_none(content):
    with pytest.raises(NoAnswerError):
        parse(content if isinstance(content, str) else json.dumps(content), NegativesAnswer)


def test_answers_are_stored():
    (answer,) = Vlm(PARAMS, "v", client=Scripted(["a bus", 3])).write_negatives([IMAGE], [[region()]])
    again = unpack("negator", pack("negator", answer))
    assert (again, again.refused) == (answer, answer.refused)


def test_a_role_without_the_rule_is_refused():
    with pytest.raises(ValueError, match=r"roles.negator: expected rules.negatives, .* got null"):
        AnnotateParams(roles=RolesParams(negator=["v"]), models={"v": PARAMS})
    AnnotateParams(roles=RolesParams(negator="v"), models={"v": PARAMS}, rules=RulesParams(negatives=3))
    with pytest.raises(ValueError, match="negatives_prompt"):
        VlmParams(url="http://127.0.0.1:1/v1", model="m", negatives_prompt="Write some.")
