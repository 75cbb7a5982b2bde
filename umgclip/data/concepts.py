"""Concepts in alt texts: noun chunks found by function words alone, so that no parser has to be downloaded.

"a dog, an apple and a red car on grass" holds the things dog, apple, red car and the stuff grass: what a
preposition of place introduces is a background more often than an object.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

_ARTICLES = {"a", "an", "the", "some", "one", "two", "three", "four", "five", "its", "his", "her", "their", "this"}
_NOISE = {"photo", "picture", "image", "photograph", "illustration", "drawing"}
_PLACES = ("in front of", "next to", "on top of", "on", "in", "over", "under", "against", "at", "near", "behind")
_JOINTS = ("and", "with", "of", "or", "by", "from")
_SPLIT = re.compile(rf"\b({'|'.join(_PLACES + _JOINTS)})\b|[,.;:!?()\[\]\"]")
_CLEAN = re.compile(r"[^\w\s'&-]")


@dataclass(frozen=True)
class Chunk:
    """A noun chunk and whether a preposition of place introduced it."""

    text: str
    placed: bool


def chunks(caption: str) -> list[Chunk]:
    """The noun chunks of a caption, in order, lower-case, articles dropped, each once."""
    found: list[Chunk] = []
    placed, start, text = False, 0, caption.lower()
    for match in [*_SPLIT.finditer(text), None]:
        end = match.start() if match else len(text)
        words = [w for w in _CLEAN.sub(" ", text[start:end]).split() if w not in _ARTICLES]
        chunk = " ".join(words)
        if chunk and chunk not in _NOISE and all(chunk != other.text for other in found):
            found.append(Chunk(chunk, placed))
        if match:
            placed = match.group(1) in _PLACES
            start = match.end()
    return found


@dataclass(frozen=True)
class Vocabulary:
    """Concepts by kind, sorted; `held_out` may be read in captions but is never written as a region's label."""

    things: tuple[str, ...]
    stuff: tuple[str, ...]
    held_out: tuple[str, ...] = ()

    @property
    def concepts(self) -> tuple[str, ...]:
        """Things, then stuff."""
        return (*self.things, *self.stuff)

    def find(self, caption: str) -> list[str]:
        """The concepts that a caption names, in order."""
        known = set(self.concepts)
        return [chunk.text for chunk in chunks(caption) if chunk.text in known]


@dataclass
class ChunkCounts:
    """In how many captions each chunk stands, and in how many of these a preposition of place introduces it.

    Counts of parts of a set of captions add up to those of the whole, in whatever order.
    """

    seen: Counter[str] = field(default_factory=Counter)
    placed: Counter[str] = field(default_factory=Counter)

    def add(self, captions: Iterable[str]) -> None:
        """Count the chunks of some more captions."""
        for caption in captions:
            found = chunks(caption)
            self.seen.update(chunk.text for chunk in found)
            self.placed.update(chunk.text for chunk in found if chunk.placed)

    def vocabulary(self, min_count: int, held_out: Iterable[str] = ()) -> Vocabulary:
        """Every chunk seen at least `min_count` times; stuff if most of its uses were placed, else a thing."""
        kept = sorted(text for text, count in self.seen.items() if count >= min_count)
        stuff = tuple(text for text in kept if 2 * self.placed[text] > self.seen[text])
        things = tuple(text for text in kept if 2 * self.placed[text] <= self.seen[text])
        return Vocabulary(things, stuff, tuple(sorted(set(held_out))))


def mine(captions: Iterable[str], min_count: int, held_out: Iterable[str] = ()) -> Vocabulary:
    """The vocabulary of a set of captions: every chunk seen at least `min_count` times.

    A concept that a preposition of place introduces in most of its uses is stuff, any other a thing.
    """
    counts = ChunkCounts()
    counts.add(captions)
    return counts.vocabulary(min_count, held_out)


def with_article(name: str) -> str:
    """"an apple", "a dog"."""
    return ("an " if name[:1] in "aeiou" else "a ") + name
