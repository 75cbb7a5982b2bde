"""Concepts in alt texts: noun chunks found by function words alone, so that no parser has to be downloaded.

"a dog, an apple and a red car on grass" holds the things dog, apple, red car and the stuff grass: what a
preposition of place introduces is a background more often than an object.

The function words are English. Captions of another language name concepts that are listed (`data/vocabulary_file.py`),
and so do English ones: a listed "cup of coffee" is one concept, where chunks would be cup and coffee.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from umgclip.data.phrases import Phrases

_ARTICLES = {"a", "an", "the", "some", "one", "two", "three", "four", "five", "its", "his", "her", "their", "this"}
_NOISE = {"photo", "picture", "image", "photograph", "illustration", "drawing"}
_PLACES = ("in front of", "next to", "on top of", "on", "in", "over", "under", "against", "at", "near", "behind")
_JOINTS = ("and", "with", "of", "or", "by", "from")
_SPLIT = re.compile(rf"\b({'|'.join(_PLACES + _JOINTS)})\b|[,.;:!?()\[\]\"]")
_CLEAN = re.compile(r"[^\w\s'&-]")
_ENGLISH = re.compile(r"\b(an?|the|of|and|with|on|in|at|is|are|to|for|two|some)\b")
_USUAL_COUNT, _ENOUGH_SHARE, _MOST_CONCEPTS = 5, 0.2, 2000

MinCount = int | Literal["auto"]


@dataclass(frozen=True)
class Chunk:
    """A noun chunk and whether a preposition of place introduced it."""

    text: str
    placed: bool


def chunks(caption: str) -> list[Chunk]:
    """Return the noun chunks of a caption in order, lower-case, without articles, each once."""
    noun_chunks: list[Chunk] = []
    placed, start, text = False, 0, caption.lower()
    for match in [*_SPLIT.finditer(text), None]:
        end = match.start() if match else len(text)
        words = [w for w in _CLEAN.sub(" ", text[start:end]).split() if w not in _ARTICLES]
        chunk = " ".join(words)
        if chunk and chunk not in _NOISE and all(chunk != other.text for other in noun_chunks):
            noun_chunks.append(Chunk(chunk, placed))
        if match:
            placed = match.group(1) in _PLACES
            start = match.end()
    return noun_chunks


@dataclass(frozen=True)
class Vocabulary:
    """Concepts by kind, sorted; `held_out` may be read in captions but is never written as a region's label.

    `listed` are names that a vocabulary file gives, with their concepts: they are found in a caption as words in a row,
    in any language. All other concepts are found as noun chunks.
    """

    things: tuple[str, ...]
    stuff: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    listed: tuple[tuple[str, str], ...] = ()

    @property
    def concepts(self) -> tuple[str, ...]:
        """All concepts: first the things, then the stuff."""
        return (*self.things, *self.stuff)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.concepts)

    @cached_property
    def _phrases(self) -> Phrases:
        return Phrases(dict(self.listed))

    def find(self, caption: str) -> list[str]:
        """Return the concepts that a caption names, each once: first listed ones, then the others, in order."""
        listed, rest = self._phrases.take(caption) if self.listed else ([], caption)
        chunked = [chunk.text for chunk in chunks(rest) if chunk.text in self._known]
        return list(dict.fromkeys([*listed, *chunked]))


@dataclass
class ChunkCounts:
    """In how many captions each chunk stands, and in how many of these a preposition of place introduces it.

    Counts of parts of a set of captions add up to those of the whole, in any order.
    """

    seen: Counter[str] = field(default_factory=Counter)
    placed: Counter[str] = field(default_factory=Counter)
    captions: int = 0

    def add(self, captions: Iterable[str]) -> None:
        """Count the chunks of some more captions; empty ones are none."""
        for caption in captions:
            noun_chunks = chunks(caption)
            self.captions += bool(caption.strip())
            self.seen.update(chunk.text for chunk in noun_chunks)
            self.placed.update(chunk.text for chunk in noun_chunks if chunk.placed)

    def vocabulary(self, min_count: MinCount, held_out: Iterable[str] = ()) -> Vocabulary:
        """Return every chunk seen at least `min_count` times: stuff if a preposition placed most uses, else a thing."""
        least = self.least(min_count)
        frequent = sorted(text for text, count in self.seen.items() if count >= least)
        stuff = tuple(text for text in frequent if 2 * self.placed[text] > self.seen[text])
        things = tuple(text for text in frequent if 2 * self.placed[text] <= self.seen[text])
        return Vocabulary(things, stuff, tuple(sorted(set(held_out))))

    def least(self, min_count: MinCount) -> int:
        """Return how often a chunk has to occur; `auto`: 5 times, fewer if hardly any chunk does.

        With `auto` it is the most, up to 5, at which concepts are at least a fifth of all that captions name, and no
        more than 2,000: 900 photographs of 300 named things have 3 of each. Where there is no such number it is 5.
        """
        if min_count != "auto":
            return min_count
        counts = list(self.seen.values())
        for least in range(_USUAL_COUNT, 0, -1):
            enough = [count for count in counts if count >= least]
            if sum(enough) >= _ENOUGH_SHARE * sum(counts):
                return least if least == _USUAL_COUNT or len(enough) <= _MOST_CONCEPTS else _USUAL_COUNT
        return _USUAL_COUNT

    def why_none(self, min_count: MinCount, section: str, vocabulary_key: str) -> str:
        """Why no concept was found, and which keys of `params.yaml` help; for errors.

        Args:
            min_count: as asked.
            section: of `params.yaml`, whose `min_concept_count` and `language` were used.
            vocabulary_key: dotted name of the parameter that names a vocabulary file.
        """
        if not self.captions:
            cause = "no image has a caption (import a table of them with --captions)"
        elif not self.seen:
            cause = f"none of the {self.captions} captions holds a noun chunk"
        else:
            often = ", ".join(f"{text!r} in {count}" for text, count in self.seen.most_common(3))
            cause = (
                f"no noun chunk stands in {self.least(min_count)} or more of the {self.captions} captions "
                f"({section}.min_concept_count: {min_count}); the most frequent: {often}"
            )
        lower = f"lower {section}.min_concept_count or set it to auto, or " if self.seen else ""
        return (
            f"{cause}. Noun chunks are found by English words: {lower}list the concepts in a file and name it in "
            f"{vocabulary_key} (with {section}.language: none for captions that are not English)"
        )


def looks_english(caption: str) -> bool:
    """Check whether a caption has an English function word; names alone ("red car") have none in any language."""
    return _ENGLISH.search(caption.lower()) is not None


def mine(captions: Iterable[str], min_count: MinCount, held_out: Iterable[str] = ()) -> Vocabulary:
    """Mine the vocabulary of captions: every chunk seen at least `min_count` times.

    A concept that a preposition of place introduces in most of its uses is stuff, any other a thing.
    """
    counts = ChunkCounts()
    counts.add(captions)
    return counts.vocabulary(min_count, held_out)
