"""Wrong texts of regions: swaps of words, swaps of names, and what is never written."""

from dataclasses import replace

import numpy as np
import pytest

from umgclip.annotate.neighbours import nearest_names
from umgclip.annotate.rules.contrasts import replaced, word_swaps
from umgclip.annotate.rules.negatives import NegativeRule
from umgclip.annotate.rules.tag_names import TagNames, plain
from umgclip.data.vocabulary import Vocabulary
from umgclip.params.roles import RulesParams
from umgclip.records import ImageRecord, Region, Source, Text

THINGS = ("apple", "bus", "cat", "dog", "green apple", "hot dog", "lemon", "owl", "socks", "wolf")
VOCABULARY = Vocabulary(THINGS, ("grass", "sand", "snow"), ("owl",), (("kitten", "cat"),))


def rule(most=5, vocabulary=VOCABULARY, **changes):
    names = TagNames(vocabulary.concepts, dict(vocabulary.listed))
    return NegativeRule(RulesParams(negatives=most), vocabulary, names, frozenset({"owl"}), **changes)


def text(words, source="m"):
    return Text(text=words, source=source)


def region(*captions, tags=(), id="r", **more):
    about = {"captions": [*map(text, captions)], "tags": [*map(text, tags)]}
    return Region(id=id, box_xyxy=(0.0, 0.0, 9.0, 9.0), **{**about, **more})


def record(*regions, key="k", captions=(), tags=()):
    about = {"captions": [*map(text, captions)], "tags": [*map(text, tags)], "regions": list(regions)}
    return ImageRecord(key=key, width=9, height=9, sha256="0", source=Source(dataset="d"), **about)


def written(one, given, answers=None):
    """Return the negatives of the regions, None where there are none, and the reasons of refusals."""
    rows = [row for row, each in enumerate(given.regions) if one.wants(each)]
    result, rejected = one.write(given, answers or [[] for _ in rows], rows)
    texts = [None if r.negatives is None else [n.text for n in r.negatives] for r in result.regions]
    return texts, [(r.reason, r.text.text, r.region_id) for r in rejected]


@pytest.mark.parametrize(
    ("said", "kind", "expected"),
    [
        ("A red car", "colour", ["An orange car", "A yellow car", "A green car"]),
        ("the car is gray", "colour", ["the car is red", "the car is orange", "the car is yellow"]),
        ("an orange and an apple", "colour", []),
        ("orange, apple", "colour", []),
        ("red and white stripes", "colour", ["orange and white stripes", "yellow and white stripes"]),
        ("the Green Bay team", "colour", []),
        ("a steel bench", "material", ["a wooden bench", "a plastic bench"]),
        ("a glass of water", "material", []),
        ("two dogs", "count", ["three dogs", "four dogs", "five dogs", "six dogs"]),
        ("two of them", "count", []),
        ("an old woman", "attribute", ["a young woman"]),
        ("a small round table", "attribute", ["a large round table", "a small square table"]),
        ("a dog sitting there", "attribute", ["a dog standing there", "a dog lying there"]),
        ("a cat in front of a bus", "relation", ["a cat behind a bus"]),
        ("the dog on the left", "relation", ["the dog on the right"]),
        ("a phone in its left hand", "relation", ["a phone in its right hand"]),
        ("a photo taken right now", "relation", []),
    ],
)
def test_one_word_is_swapped_for_another_of_its_kind(said, kind, expected):
    swapped = [swap.text for swap in word_swaps(said) if swap.kind == kind]
    assert swapped[: len(expected)] == expected
    assert bool(swapped) == bool(expected)
    assert said not in swapped


def test_a_name_gives_way_to_others_of_its_kind_and_never_to_what_is_in_the_image():
    given = record(region("a cat"), region("snow", tags=["snow"], is_stuff=True), captions=["a cat and a bus on snow"])
    (cat, snow), _ = written(rule(20), given)
    assert set(cat) == {"an apple", "a dog", "a green apple", "a hot dog", "a lemon", "socks", "a wolf"}
    assert set(snow) == {"grass", "sand"}


@pytest.mark.parametrize(
    ("said", "tags", "present", "absent"),
    [
        ("a hot dog", ["hot dog"], "a lemon", "a dog"),  # may be seen as one
        ("a kitten", ["cat"], "a dog", "a cat"),  # a synonym
        ("two wolves near three dogs", ["dog"], "two wolves near three buses", "two wolves near three dog"),
        ("a brown animal", ["dog"], "a black animal", "a cat"),  # the label is not in the text
        ("A dog.", ["dog"], "An apple.", "A dog"),
    ],
)
def test_names_in_texts(said, tags, present, absent):
    (texts,), _ = written(rule(40), record(region(said, tags=tags)))
    assert present in texts
    assert absent not in texts
    assert not any("owl" in one for one in texts)  # held out


def test_the_label_serves_where_there_is_no_caption_and_a_region_without_words_gets_none():
    (named, bare), _ = written(rule(3), record(region(tags=["lemon"]), region(id="b")))
    assert len(named) == 3
    assert bare is None


def test_what_is_right_for_another_region_is_not_wrong():
    given = record(region("a red bus"), region("A blue bus.", id="b"), tags=["green apple"])
    (red, blue), _ = written(rule(40), given)
    assert "a blue bus" not in red
    assert "A red bus." not in blue
    assert "a green bus" in red
    assert all(plain(one) not in {"red bus", "blue bus"} for one in (*red, *blue))


def test_kinds_take_turns_and_equal_texts_get_different_negatives():
    given = record(region("a red bus"), region("a red bus", id="b"))
    (first, second), _ = written(rule(4), given)
    assert len(first) == len(set(first)) == 4
    assert sum("red" not in one for one in first) == 2  # colours, and objects
    assert first != second
    assert written(rule(4), given)[0] == [first, second]
    assert written(rule(4), given.model_copy(update={"key": "other"}))[0][0] != first


def test_sources_and_scores_say_what_was_swapped():
    embeddings = np.eye(len(VOCABULARY.concepts), dtype=np.float32)
    embeddings[9] = embeddings[2] * 0.6 + embeddings[9] * 0.8  # a wolf is like a cat
    near = nearest_names(VOCABULARY, embeddings, 4)
    given = record(region("a red cat"))
    result, _ = rule(40, neighbours=near).write(given, [[]], [0])
    by_text = {one.text: (one.source, one.score) for one in result.regions[0].negatives}
    assert by_text["a red wolf"] == ("rule#noun", 0.8)
    assert by_text["a blue cat"] == ("rule#colour", 1.0)
    assert sum(source == "rule#noun" for source, _ in by_text.values()) == 4  # of them, an owl is held out


def test_neighbours_are_of_the_same_kind_near_and_not_the_same():
    embeddings = np.eye(13, dtype=np.float32)
    embeddings[0] = embeddings[6] * 0.96 + embeddings[0] * 0.28  # an apple is called a lemon
    embeddings[3] = embeddings[6] * 0.6 + embeddings[3] * 0.8
    near = nearest_names(VOCABULARY, embeddings, 20)
    assert near.of("lemon")[0] == ("dog", pytest.approx(0.6))
    assert not {"apple", "owl", "sand", "lemon"} & {name for name, _ in near.of("lemon")}
    assert [name for name, _ in near.of("snow")] == ["grass", "sand"]
    assert near.of("tree") == []
    oracle = sorted((-float(embeddings[5] @ row), name) for row, name in zip(embeddings, THINGS, strict=False))
    assert [n for n, _ in near.of("hot dog")] == [n for _, n in oracle if n not in ("hot dog", "owl")]


@pytest.mark.parametrize(
    ("said", "old", "new", "expected"),
    [
        ("a cat", "cat", "jeans", "jeans"),
        ("A cat on a chair", "cat", "jeans", "Jeans on a chair"),
        ("A red cat", "cat", "socks", "Red socks"),
        ("a small red cat", "cat", "people", "small red people"),
        ("A dog with a cat", "cat", "glasses", "A dog with glasses"),
        ("a man holding cat", "cat", "jeans", "a man holding jeans"),
        ("a photo of cat", "cat", "jeans", "a photo of jeans"),
        ("the cat", "cat", "jeans", "the jeans"),
        ("a cat", "cat", "owl", "an owl"),
        ("a cat", "cat", "glass lens", "a glass lens"),
        ("a jeans", "jeans", "cat", "a cat"),
    ],
)
def test_articles_fit_what_is_put_in(said, old, new, expected):
    start = said.index(old)
    assert replaced(said, (start, start + len(old)), new) == expected


def test_a_plural_without_an_article_gives_way_to_plurals():
    vocabulary = Vocabulary(("cat", "jeans", "mouse"), ())
    (bare, one), _ = written(rule(9, vocabulary), record(region("jeans on a line"), region("an old jeans", id="b")))
    assert {"cats on a line", "mice on a line"} <= set(bare)
    assert "an old cat" in one


def test_a_label_outside_the_vocabulary_has_the_neighbours_of_the_concept_that_ends_it_or_none():
    near = nearest_names(VOCABULARY, np.eye(len(VOCABULARY.concepts), dtype=np.float32), 4)
    given = record(region(tags=["shaggy dog"]), region(tags=["gizmo"], id="g"), region("a red gizmo", id="c"))
    result, _ = rule(20, neighbours=near).write(given, [[], [], []], [0, 1, 2])
    dog, gizmo, red = result.regions
    assert {one.score for one in dog.negatives} == {0.5}
    assert "a lemon" in [one.text for one in dog.negatives] or "an apple" in [one.text for one in dog.negatives]
    assert gizmo.negatives == []
    assert {one.source for one in red.negatives} == {"rule#colour"}


def test_no_more_negatives_than_a_concept_has_neighbours():
    assert RulesParams(negatives=48).negatives == 48
    with pytest.raises(ValueError, match="less than or equal to 48"):
        RulesParams(negatives=49)


def test_what_a_model_wrote_comes_first_and_is_checked():
    answers = ["A red dog.", "a blue cat", "The image shows a blue cat", "a green owl", "I'm sorry, I can't", "kitten",
               "a cat cat cat cat"]  # fmt: skip
    given = record(region("a red cat", tags=["cat"]), captions=["a red dog"])
    texts, rejected = written(rule(3), given, [[*map(text, answers)]])
    assert texts[0][0] == "a blue cat"
    assert len(texts[0]) == 3
    assert [(reason, said) for reason, said, _ in rejected] == [
        ("right_text", "A red dog."), ("held_out", "a green owl"), ("refusal", "I'm sorry, I can't"),
        ("right_text", "kitten"), ("repetition", "a cat cat cat cat"),
    ]  # fmt: skip
    assert {where for *_, where in rejected} == {"r"}


def test_what_came_with_the_image_stays():
    given = [text("a blue cup", "finehard")]
    one, none = region("a cup", negatives=given), region("a cup", negatives=[], id="n")
    assert not rule().wants(one)
    assert not rule().wants(none)
    assert not rule(None).wants(region("a cup"))


def test_other_languages_swap_names_alone():
    vocabulary = Vocabulary(
        ("chat rouge", "chien", "猫", "犬"), (), (), (("chien", "chien"), ("猫", "猫"), ("犬", "犬"))
    )
    one = rule(9, vocabulary, english=False)
    (french, japanese), _ = written(one, record(region("a two chien"), region("黒い猫がいる", id="j")))
    assert set(french) == {"a two chat rouge", "a two 犬"}
    assert set(japanese) == {"黒い犬がいる", "黒いchat rougeがいる"}


def test_a_vocabulary_of_one_name_leaves_nothing_to_swap():
    (texts,), _ = written(rule(5, Vocabulary(("dog",), ())), record(region("a dog")))
    assert texts == []
    assert replace(rule(), neighbours=None).write(record(), [], [])[1] == []
