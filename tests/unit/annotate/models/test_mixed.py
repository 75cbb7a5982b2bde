"""Annotators of which single roles are filled by others, and what the rules keep of what they say."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from umgclip.annotate.annotator import Annotator, build_annotator
from umgclip.annotate.models.build import Parts
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.annotate.rules.apply import RuleSet
from umgclip.annotate.rules.tag_names import TagNames
from umgclip.data.stream import Sample
from umgclip.data.vocabulary import Vocabulary
from umgclip.model.clip import files
from umgclip.params import AnnotateParams, TowerParams
from umgclip.params.roles import RulesParams
from umgclip.records import ImageRecord, Region, Source, Text

VOCABULARY = Vocabulary(("cat", "dog", "owl"), ("sand",), ("owl",))
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def text(words, score=0.9, source="m"):
    return Text(text=words, score=score, source=source)


class Scripted:
    """Every role, answering as it is told; each image gets answers of its own."""

    def __init__(self, name="m", **answers):
        self.name, self.answers = name, answers

    def _say(self, role, images):
        said = self.answers.get(role, [])
        return [said(row) if callable(said) else said for row in range(len(images))]

    def propose_images(self, images, captions):
        return [self._proposals(said) for said in self._say("boxes", images)]

    def _proposals(self, said):
        if isinstance(said, Failure):
            return said
        found = []
        for box, *tags in said:
            proposal = Proposal.of_box(tuple(map(float, box)), (60, 80), 0.8)
            found.append(replace(proposal, tags=tuple(text(t) for t in tags), source=self.name))
        return found

    def tag_regions(self, images, captions, proposals):
        return list(proposals)

    def caption_regions(self, images, proposals):
        said = self.answers.get("region_captions", [])
        return [[[text(words) for words in said] for _ in found] for found in proposals]

    def tag_images(self, images, captions):
        return [[text(t, source=self.name) for t in said] for said in self._say("tags", images)]

    def caption_images(self, images, proposals):
        return [[text(t) for t in said] for said in self._say("captions", images)]

    def score(self, images, texts):
        return [self.answers["score"](words) for words in texts]

    def refine_images(self, images, proposals):
        return list(proposals)

    def embed_images(self, images):
        return np.zeros((len(images), 4), np.float32)

    def embed_regions(self, images, proposals):
        return [[replace(p, embedding=np.ones(4, np.float32)) for p in found] for found in proposals]


def annotator(*models, given_labels=True, threshold=0.5, **rules):
    one = models[0]
    parts = Parts(
        one, models, (one,), (one,), (one,), models, models, one if "score" in one.answers else None, given_labels
    )
    names = TagNames(VOCABULARY.concepts, {"kitten": "cat"})
    return Annotator(parts, RuleSet(RulesParams(**rules), VOCABULARY, names, threshold, frozenset({"owl"})))


def sample(**given):
    record = ImageRecord(key="k", width=80, height=60, sha256="0", source=Source(dataset="d"), **given)
    return Sample(PIXELS, record)


def reasons(annotated):
    return dict(Counter(one.reason for one in annotated.rejected))


def test_a_detectors_boxes_are_regions_without_masks():
    (one,) = annotator(Scripted(boxes=[((5, 5, 40, 40.5), "Kittens"), ((50, 9, 70, 30), "owl")]))([sample()])
    cat, owl = one.record.regions
    assert (cat.box_xyxy, cat.mask, cat.source, cat.tags[0].text) == ((5, 5, 40, 40.5), None, "m", "cat")
    assert owl.tags == []
    assert reasons(one) == {"held_out": 1}
    assert one.rejected[0].region_id == owl.id
    assert one.embeddings.shape == (3, 4)


def test_labels_of_the_proposer_are_dropped_unless_asked_for():
    (one,) = annotator(Scripted(boxes=[((5, 5, 40, 40), "cat")]), given_labels=False)([sample()])
    assert one.record.regions[0].tags == []


def test_what_came_with_the_image_stays_and_is_not_found_again():
    given = Region(id="h", box_xyxy=(5.0, 5.0, 40.0, 40.0), tags=[text("dog", source="human")], captions=[])
    tags, captions = [text("dog", source="human")], [text("my dog", source="human")]
    model = Scripted(boxes=[((5, 5, 40, 39), "cat"), ((45, 5, 75, 39), "cat")], tags=["dog", "cat"], captions=["a dog"])
    (one,) = annotator(model)([sample(regions=[given], tags=tags, captions=captions)])
    assert one.record.regions[0] == given
    assert [r.tags[0].text for r in one.record.regions] == ["dog", "cat"]
    assert [(t.text, t.source) for t in one.record.tags] == [("dog", "human"), ("cat", "m")]
    assert [c.text for c in one.record.captions] == ["my dog", "a dog"]
    assert reasons(one) == {"given": 1}


def test_doubles_go_by_label():
    boxes = [((5, 5, 40, 40), "cat"), ((5, 5, 40, 39), "cat"), ((5, 5, 40, 38), "dog")]
    (one,) = annotator(Scripted(boxes=boxes), nms_iou=0.5)([sample()])
    assert [r.tags[0].text for r in one.record.regions] == ["cat", "dog"]
    (rejected,) = one.rejected
    assert (rejected.reason, rejected.text.text, rejected.box_xyxy) == ("nms", "cat", (5.0, 5.0, 40.0, 39.0))
    assert rejected.row("k", "s")["x1"] == 40.0


def test_captions_have_to_be_fit_and_to_fit():
    said = ["The image shows a cat.", "A cat.", "I'm sorry, I can't", "a dog a dog a dog a dog", "a wrong one"]
    model = Scripted(captions=said, score=lambda words: 0.2 if "wrong" in words else 0.9)
    (one,) = annotator(model, store_filter_score=True)([sample()])
    assert [(c.text, c.filter_score) for c in one.record.captions] == [("A cat.", 0.9)]
    assert reasons(one) == {"double": 1, "filter_score": 1, "refusal": 1, "repetition": 1}


def test_long_captions_and_regions_have_thresholds_of_their_own():
    model = Scripted(
        boxes=[((5, 5, 40, 40), "cat")], captions=["a cat", "a cat " + "and one more thing " * 2],
        region_captions=["a cat", "an owl in the dark"], score=lambda words: 0.6,
    )  # fmt: skip
    settings = {"long_caption_words": 5, "long_caption_threshold": 0.7, "region_caption_threshold": 0.6}
    (one,) = annotator(model, threshold=0.5, **settings)([sample()])
    assert [c.text for c in one.record.captions] == ["a cat"]
    assert [c.text for c in one.record.regions[0].captions] == ["a cat"]
    assert reasons(one) == {"filter_score": 1, "held_out": 1}


def test_tags_need_sources_that_agree():
    two = annotator(Scripted("m", tags=["cat", "dog"]), Scripted("n", tags=["kitten", "unicorn"]), agree_min=2)
    two = Annotator(
        Parts(**{**two.parts.__dict__, "taggers": two.parts.proposers}), two.rules  # both tag
    )  # fmt: skip
    (one,) = two([sample()])
    assert [(t.text, t.agreed_by) for t in one.record.tags] == [("cat", ["n"])]
    assert reasons(one) == {"agreement": 1, "unknown_tag": 1}


def test_a_failure_of_one_image_leaves_the_others():
    def boxes(row):
        return Failure("model_error", "bad") if row == 1 else [((5, 5, 40, 40), "cat")]

    results = annotator(Scripted(boxes=boxes))([sample(), sample(), sample()])
    assert [dict(r.failures) for r in results] == [{}, {"proposer": Failure("model_error", "bad")}, {}]
    assert [len(r.record.regions) for r in results] == [1, 0, 1]


def test_roles_that_are_not_asked_leave_null():
    model = Scripted()
    parts = Parts(model, (model,), (), (), (), (), (), None)
    rules = annotator(model).rules
    (one,) = Annotator(parts, rules)([sample()])
    assert (one.record.tags, one.record.captions, one.record.regions) == (None, None, [])
    (asked,) = annotator(model)([sample()])
    assert (asked.record.tags, asked.record.captions) == ([], [])


def test_proposals_alone_carry_no_words():
    (one,) = annotator(Scripted(boxes=[((5, 5, 40, 40), "cat")], captions=["a cat"])).propose([sample()])
    assert one.record.regions[0].tags == []
    assert (one.record.captions, one.record.tags) == ([], [])


@pytest.fixture
def base(tmp_path, tiny: TowerParams):
    torch.manual_seed(0)
    config = files.tower_config(tiny)
    files.save(tmp_path, files.build(config), config)
    return tmp_path


def test_the_built_in_annotator_needs_no_transformers(base, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)  # importing it would fail
    built = build_annotator(AnnotateParams(), base, VOCABULARY)
    assert [p.name for p in built.parts.proposers] == ["segment_tree"]
    (one,) = built([sample(captions=[text("a cat on sand", source="alt")])])
    assert one.record.regions
    assert all(r.mask is not None and r.source is None for r in one.record.regions)
