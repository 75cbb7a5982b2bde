"""Concepts in alt texts: noun chunks found by function words alone, so that no parser has to be downloaded.

"a dog, an apple and a red car on grass" holds the things dog, apple, red car and the stuff grass: what a
preposition of place introduces is a background more often than an object.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

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


def mine(captions: Iterable[str], min_count: int, held_out: Iterable[str] = ()) -> Vocabulary:
    """The vocabulary of a set of captions: every chunk seen at least `min_count` times.

    A concept that a preposition of place introduces in most of its uses is stuff, any other a thing.
    """
    seen: Counter[str] = Counter()
    placed: Counter[str] = Counter()
    for caption in captions:
        for chunk in chunks(caption):
            seen[chunk.text] += 1
            placed[chunk.text] += chunk.placed
    kept = sorted(text for text, count in seen.items() if count >= min_count)
    stuff = tuple(text for text in kept if 2 * placed[text] > seen[text])
    things = tuple(text for text in kept if 2 * placed[text] <= seen[text])
    return Vocabulary(things, stuff, tuple(sorted(set(held_out))))


def with_article(name: str) -> str:
    """"an apple", "a dog"."""
    return ("an " if name[:1] in "aeiou" else "a ") + name
