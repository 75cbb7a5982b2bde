"""Noun chunks by function words, and which of them are things or stuff."""

import pytest

from umgclip.data.concepts import ChunkCounts, Vocabulary, chunks, mine, with_article


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


def test_articles() -> None:
    assert [with_article(name) for name in ("dog", "apple", "red apple")] == ["a dog", "an apple", "a red apple"]
