"""What becomes of texts and boxes, rule by rule."""

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from umgclip.annotate.rules.agreement import agreed
from umgclip.annotate.rules.caption_text import clean, text_fault
from umgclip.annotate.rules.overlap import best_overlap, suppressed
from umgclip.annotate.rules.repetition import loops
from umgclip.annotate.rules.size import size_fault
from umgclip.annotate.rules.tag_names import TagNames
from umgclip.data.refusals.apology import refuses
from umgclip.data.vocabulary import Vocabulary
from umgclip.data.vocabulary_file import joined, read_vocabulary
from umgclip.errors import InputError
from umgclip.params.roles import RulesParams
from umgclip.records import Text


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("The image shows a dog on a sofa.", "A dog on a sofa."),
        ("This photo depicts: two cats", "Two cats"),
        ("</s><s>a red car<loc_12><loc_40></s>", "a red car"),
        ("**A dog**\n\n- on   grass", "A dog on grass"),
        ('"A cat."', "A cat."),
        ("an apple, a dog and an owl on sand", "an apple, a dog and an owl on sand"),
        ("The image quality lab in Oslo", "The image quality lab in Oslo"),
        ("<|im_start|>", ""),
    ],
)
def test_captions_are_cleaned(said, written):
    assert clean(said, 50) == written


def test_long_captions_end_with_a_sentence():
    assert clean("A dog runs. It is brown. It jumps over", 7) == "A dog runs. It is brown."
    assert clean("a dog that runs over a field", 4) == "a dog that runs"


@pytest.mark.parametrize(
    "said",
    [
        "I'm sorry, but I can't help with that.", "I’m unable to describe people.", "As an AI language model, I",
        "Sorry, I cannot see the image", "Unfortunately, the image is not visible", "No image was provided.",
        "There is no image attached", "Please upload the image", "I cannot identify the person.",
    ],
)  # fmt: skip
def test_refusals(said):
    assert refuses(said)
    assert text_fault(said, 2) == "refusal"


@pytest.mark.parametrize("said", ["a sorry sight", "No parking sign on a wall", "an ice cream", "Please stop sign"])
def test_what_only_looks_like_a_refusal(said):
    assert not refuses(said)


@pytest.mark.parametrize(
    ("said", "bad"),
    [
        ("a dog a dog a dog", True), ("very very good", False), ("the the the the", True),
        ("a cat, a dog, a cat, a dog, a cat, a dog", True), ("a dog and a cat and a dog", False),
        (" ".join(["red", "blue", "green", "red", "green", "blue"] * 5), True),
    ],
)  # fmt: skip
def test_repetition(said, bad):
    assert loops(said, 2) is bad


@pytest.mark.parametrize("said", ["", "123 ...", "— !"])
def test_nothing_said_is_empty(said):
    assert text_fault(said, 2) == "empty"


def test_tags_are_spelled_as_the_vocabulary_does():
    names = TagNames(
        ["dog", "berry", "wolf", "socks", "glass", "traffic light", "woman"], {"puppy": "dog", "kerb": "x"}
    )
    said = ["Dogs", "a dog", "THE  berries", "wolves", "socks", "glass", "traffic lights", "puppies", "women", "kerbs"]
    known = ["dog", "dog", "berry", "wolf", "socks", "glass", "traffic light", "dog", "woman", None]
    assert [names.canonical(text) for text in said] == known
    assert names.normalised("A Zebra!") == "zebra"


def test_a_vocabulary_file_says_where_it_comes_from(tmp_path):
    path = tmp_path / "v.yaml"
    path.write_text("source: me, 2026\nlicense: CC0-1.0\nthings: [dog]\nstuff: [sand]\nsynonyms: {puppy: dog}\n")
    both = joined(Vocabulary(("cat", "sand"), ("dog", "sky"), ("owl",)), read_vocabulary(path))
    assert (both.things, both.stuff, both.held_out) == (("cat", "dog"), ("sand", "sky"), ("owl",))


def test_a_text_file_lists_a_thing_a_line(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("dog\n\n  traffic  light \nDog\n", encoding="utf-8-sig")
    assert read_vocabulary(path).things == ["dog", "traffic light"]
    path.write_text("\n")
    with pytest.raises(InputError, match="names.txt: expected a concept a line, got an empty file"):
        read_vocabulary(path)
    path.write_bytes("Möwe".encode("latin-1"))
    with pytest.raises(InputError, match="names.txt: expected UTF-8, got invalid"):
        read_vocabulary(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("things: [dog]", "source: Field required"),
        ("source: a\nlicense: b\nthings: [dog, dog]", "expected each concept once, got dog twice"),
        ("source: a\nlicense: b\nsynonyms: {puppy: dog}", "synonyms: expected concepts of this file, got dog"),
        ("source: a\nlicence: b", "license: Field required"),
        ("source: [", "not valid YAML"),
    ],
)
def test_a_bad_vocabulary_file_is_explained(tmp_path, text, message):
    (tmp_path / "v.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_vocabulary(tmp_path / "v.yaml")
    with pytest.raises(InputError, match="rules.vocabulary: expected a vocabulary file, found none at"):
        read_vocabulary(tmp_path / "none.yaml")


def test_nms_is_torchvisions():
    rng = np.random.default_rng(0)
    for _ in range(20):
        low = rng.uniform(0, 60, (40, 2))
        boxes = np.concatenate([low, low + rng.uniform(5, 40, (40, 2))], 1)
        scores, labels = rng.permutation(40) / 40, rng.integers(0, 3, 40)
        kept = batched_nms(torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels), 0.4)
        gone = suppressed(boxes, scores, [str(label) for label in labels], 0.4, None)
        assert set(range(40)) - set(gone) == set(kept.tolist())
        assert set(gone.values()) <= {"nms"}


def test_contained_regions_go_unless_their_label_differs():
    boxes = np.array([[0, 0, 100, 100], [10, 10, 30, 30], [10, 10, 30, 30], [90, 90, 130, 130]], float)
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    assert suppressed(boxes, scores, ["dog", "dog", "cat", "dog"], None, 0.85) == {1: "contained"}
    assert suppressed(boxes, scores, [None] * 4, None, None) == {}
    assert best_overlap(boxes, boxes[:1]).tolist() == pytest.approx([1.0, 0.04, 0.04, 100 / 11500])


@pytest.mark.parametrize(
    ("box", "reason"),
    [((0, 0, 50, 50), None), ((0, 0, 9, 9), "too_small"), ((0, 0, 100, 95), "too_large"), ((0, 0, 80, 20), "too_long")],
)
def test_sizes(box, reason):
    params = RulesParams(area_px_min=100, area_share_max=0.9, aspect_max=3.0)
    assert size_fault(tuple(map(float, box)), (100, 100), params) == reason


def test_who_agrees():
    tags = [Text(text="dog", score=s, source=n) for s, n in ((0.4, "a"), (0.9, "b"), (0.5, "a"))]
    (merged,) = agreed(tags)
    assert (merged.score, merged.source, merged.agreed_by) == (0.9, "b", ["a"])
    assert agreed(tags[:1]) == tags[:1]
    assert "agreed_by" not in tags[0].model_dump()
