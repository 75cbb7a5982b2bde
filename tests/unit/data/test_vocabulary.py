"""Noun chunks by function words, and which of them are things or stuff."""

import pytest

from umgclip.data.vocabulary import ChunkCounts, Vocabulary, chunks, looks_english, mine
from umgclip.data.vocabulary_file import ConceptParams, VocabularyFile, joined
from umgclip.errors import DataError


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a dog, an apple and a red car on grass", ["dog", "apple", "red car", "@grass"]),
        ("A photo of a DOG.", ["dog"]),
        ("two cats next to the sofa, in front of a brick wall", ["cats", "@sofa", "@brick wall"]),
        ("a bird on top of its nest over water", ["bird", "@nest", "@water"]),
        ("an umbrella with a hot-dog; a T-shirt & hat", ["umbrella", "hot-dog", "t-shirt & hat"]),
        ("a dog and a dog on a dog", ["dog"]),
        ("the onion in a sandwich", ["onion", "@sandwich"]),  # "on", "in", "and" inside words are no joints
        ("ein Hund auf der Straße", ["ein hund auf der straße"]),
        ("a *fancy* café", ["fancy café"]),
        ("", []),
        ("a, the , . and", []),
    ],
)
def test_chunks(caption: str, expected: list[str]) -> None:
    assert [("@" if chunk.placed else "") + chunk.text for chunk in chunks(caption)] == expected


def test_mining_tells_things_from_stuff_by_the_majority_of_uses() -> None:
    captions = [
        *["a dog on grass"] * 3,
        "grass and a cat",  # grass is a thing once, stuff three times
        "a cat under a dog",  # dog is placed once of four times
        *["a boat", "a pier near a boat"],  # a tie is a thing
        "a rare owl on moss",
    ]
    vocabulary = mine(captions, min_count=2)
    assert vocabulary.things == ("boat", "cat", "dog")
    assert vocabulary.stuff == ("grass",)
    assert vocabulary.concepts == ("boat", "cat", "dog", "grass")
    assert "pier" in mine(captions, min_count=1).things
    assert "moss" in mine(captions, min_count=1).stuff


def test_a_caption_counts_once_however_often_it_names_a_concept() -> None:
    assert mine(["a dog and a dog and a dog"], min_count=2).concepts == ()


def test_parts_are_counted_apart_and_in_any_order() -> None:
    captions = ["a dog on grass", "grass and a cat", "a cat under a dog", "a dog on grass"]
    whole, parts = ChunkCounts(), [ChunkCounts(), ChunkCounts()]
    whole.add(captions)
    parts[0].add(captions[2:])
    parts[1].add(captions[:2])
    parts[0].seen.update(parts[1].seen)
    parts[0].placed.update(parts[1].placed)
    parts[0].captions += parts[1].captions
    assert parts[0] == whole
    assert parts[0].vocabulary(2) == mine(captions, 2)


def test_held_out_names_are_kept_apart_and_still_found() -> None:
    vocabulary = mine(["a dog and a cat"] * 2, 2, held_out=["dog", "unknown", "dog"])
    assert vocabulary.held_out == ("dog", "unknown")
    assert vocabulary.things == ("cat", "dog")
    assert vocabulary.find("a dog with a cat on sand") == ["dog", "cat"]


def test_finding_reads_whole_chunks_in_order() -> None:
    vocabulary = Vocabulary(things=("dog", "hot dog"), stuff=("grass",))
    assert vocabulary.find("grass under a hot dog, a small dog and a dog") == ["grass", "hot dog", "dog"]
    assert vocabulary.find("") == []


@pytest.mark.parametrize(("photos_of_each", "least"), [(9, 5), (5, 5), (3, 3), (1, 1)])
def test_photographs_of_few_of_each_kind_have_concepts_too(photos_of_each: int, least: int) -> None:
    names = ["dog", "red car", "teapot", "lighthouse"]
    counts = ChunkCounts()
    counts.add(f"a photo of a {name}" for name in names * photos_of_each)
    assert counts.least("auto") == least
    assert counts.vocabulary("auto").concepts == tuple(sorted(names))
    assert counts.least(4) == 4


def test_many_rare_chunks_do_not_become_concepts() -> None:
    counts = ChunkCounts()
    counts.add(f"holiday {number}" for number in range(3000))
    assert counts.least("auto") == 5
    counts = ChunkCounts()
    counts.add([*["a dog"] * 5, *(f"a thing called {number}" for number in range(15))])
    assert counts.least("auto") == 5, "a fifth of all that is named is found"


LISTED = VocabularyFile(
    source="me", license="CC0", things=["Cup of coffee", "Hund", "狗"], stuff=["Straße"],
    synonyms={"pott kaffee": "Cup of coffee"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a photo of a cup of  COFFEE and a dog", ["Cup of coffee", "dog"]),
        ("ein Foto von einem Hund auf der STRASSE.", ["Hund", "Straße"]),
        ("Hundehütte", []),
        ("noch ein Pott Kaffee", ["Cup of coffee"]),
        ("一只狗在公园里", ["狗"]),
        ("a cup of tea", []),
    ],
)
def test_listed_concepts_are_found_in_any_language(caption: str, expected: list[str]) -> None:
    vocabulary = joined(Vocabulary(("dog",), ()), LISTED)
    assert vocabulary.find(caption) == expected


def test_why_there_is_no_concept_names_the_keys() -> None:
    def why(captions: list[str], **changes: object) -> str:
        counts = ChunkCounts()
        counts.add(captions)
        given = {"section": "base", "min_count": 5, "language": "en", "file": None, "file_key": "base.vocabulary"}
        with pytest.raises(DataError) as caught:
            ConceptParams(**(given | changes)).vocabulary(counts)  # type: ignore[arg-type]
        return str(caught.value)

    said = why(["a photo of a dog"] * 3 + ["a cat"])
    assert "no noun chunk stands in 5 or more of the 4 captions (base.min_concept_count: 5)" in said
    assert "'dog' in 3, 'cat' in 1" in said
    assert "lower base.min_concept_count or set it to auto" in said
    assert "name it in base.vocabulary" in said
    assert "none of the 2 captions holds a noun chunk" in why(["a photo of a", "the"])
    assert "name it in base.vocabulary" in why(["ein Hund"], language="none")


def test_captions_look_english_by_their_function_words() -> None:
    assert looks_english("A photo of a dog")
    assert not looks_english("ein Foto von einem Hund")
