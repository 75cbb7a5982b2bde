"""Write texts that look right for a region and are wrong: another colour, material, number, attribute or object.

Training compares a region with its own text and with these (FG-CLIP, Xie et al., ICML 2025). The rule makes them of
closed lists of words and of the vocabulary; a model may write some as well (the role `negator`). Whoever wrote it, a
text that is right for the image, or that names a held-out concept, is not written.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from umgclip.annotate.neighbours import Neighbours
from umgclip.annotate.rejected import Rejected
from umgclip.annotate.rules.caption_text import clean, text_fault
from umgclip.annotate.rules.contrasts import replaced, spans_of, word_swaps
from umgclip.annotate.rules.tag_names import TagNames, plain, singulars
from umgclip.data.vocabulary import Vocabulary, chunks
from umgclip.data.wording import is_plural, name_key
from umgclip.model.clip.prompts import with_article
from umgclip.params.roles import RulesParams
from umgclip.records import ImageRecord, Region, Text

_SOURCE = "rule#{}"
_WINDOW = 3  # nouns are drawn among this many times as many of the nearest, so that equal texts get different ones
_MOST_CONCEPTS = 3  # of a text that are swapped
_PLURALS = {
    "person": "people", "child": "children", "man": "men", "woman": "women", "mouse": "mice", "foot": "feet",
    "tooth": "teeth", "goose": "geese", "sheep": "sheep", "fish": "fish", "deer": "deer", "wolf": "wolves",
    "leaf": "leaves", "knife": "knives", "shelf": "shelves", "scarf": "scarves", "loaf": "loaves",
}  # fmt: skip


def text_of(region: Region) -> str | None:
    """Return the text that training pairs a region with: its first caption, else its label with an article."""
    if region.captions and region.captions[0].text.strip():
        return region.captions[0].text
    return with_article(region.tags[0].text) if region.tags else None


@dataclass(frozen=True)
class _Right:
    """Texts in plain form and keys of concepts that are right for an image."""

    texts: frozenset[str]
    names: frozenset[str]


@dataclass(frozen=True)
class NegativeRule:
    """The rule `negatives`, with what it needs to know.

    Attributes:
        params: the section `annotate.rules`; `negatives` is the most that a region gets.
        vocabulary: concepts that may replace each other.
        names: spellings and synonyms of these concepts.
        held_out: keys of names that no region may have, not even as what it is not: training would learn it.
        english: whether texts are English; otherwise only names are swapped, and no article or plural is changed.
        neighbours: the nearest concepts of each; None: any concept of the kind.
    """

    params: RulesParams
    vocabulary: Vocabulary
    names: TagNames
    held_out: frozenset[str] = field(default_factory=frozenset)
    english: bool = True
    neighbours: Neighbours | None = None

    def wants(self, region: Region) -> bool:
        """Return whether a region gets negatives: it has a text, and none came with it."""
        return bool(self.params.negatives) and region.negatives is None and text_of(region) is not None

    def write(
        self, record: ImageRecord, written: Sequence[Sequence[Text]], rows: Sequence[int]
    ) -> tuple[ImageRecord, list[Rejected]]:
        """Return the record with negatives, and the answers of models that were refused.

        Args:
            record: of the image, with all other annotations.
            written: negatives that models wrote, for each of the rows.
            rows: numbers of the regions that get negatives.
        """
        right, rejected = self._right(record), []
        regions = list(record.regions or [])
        for row, texts in zip(rows, written, strict=True):
            region = regions[row]
            usable, refused = self._checked(region, texts, right)
            rejected += refused
            more = self._made(record.key, region, right)
            chosen = _each_once([*usable, *more], self.params.negatives or 0)
            regions[row] = region.model_copy(update={"negatives": chosen})
        return record.model_copy(update={"regions": regions}), rejected

    def _right(self, record: ImageRecord) -> _Right:
        regions = record.regions or []
        tags = [tag.text for tag in record.tags or []]
        tags += [tag.text for region in regions for tag in region.tags or []]
        captions = [text.text for text in record.captions or []]
        captions += [text.text for region in regions for text in region.captions or []]
        names = {self.names.normalised(tag) for tag in tags}
        names |= {name for text in captions for name, _ in self._named(text)}
        return _Right(frozenset(map(plain, [*tags, *captions])), frozenset(map(name_key, names)))

    def _checked(self, region: Region, texts: Sequence[Text], right: _Right) -> tuple[list[Text], list[Rejected]]:
        """Clean what models wrote; refuse what is empty, refuses to answer, loops, is right or is held out."""
        usable, rejected = [], []
        for text in texts:
            cleaned = clean(text.text, self.params.caption_words_max)
            fault = text_fault(cleaned, self.params.phrase_repeats_max) or self._fault(cleaned, right)
            if fault is None:
                usable.append(text if cleaned == text.text else text.model_copy(update={"text": cleaned}))
            else:
                rejected.append(Rejected("negator", fault, text, region.box_xyxy, region.id))
        return usable, rejected

    def _fault(self, text: str, right: _Right) -> str | None:
        name = self.names.canonical(text)
        if plain(text) in right.texts or (name is not None and name_key(name) in right.names):
            return "right_text"
        named = {name_key(each) for each, _ in self._named(text)}
        return "held_out" if self.held_out & named else None

    def _named(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield the concepts that a text names, each with its spelling there: of "two red cars" also car, as cars."""
        for name in self.vocabulary.find(text):
            yield from ((name, spelling) for spelling in (name, *self._spellings.get(name, ())))
        for chunk in chunks(text) if self.english else ():
            words = chunk.text.split()
            for start in range(len(words)):
                spelling = " ".join(words[start:])
                if (concept := self.names.canonical(spelling)) is not None:
                    yield concept, spelling

    def _made(self, key: str, region: Region, right: _Right) -> Iterator[Text]:
        """Yield the rule's own texts, one kind after the other in turn, each kind in an order drawn for the region."""
        text = text_of(region) or ""
        concepts = self._concepts(text, region)
        kinds: dict[str, list[Text]] = {}
        for swap in word_swaps(text) if self.english else ():
            kinds.setdefault(swap.kind, []).append(Text(text=swap.text, source=_SOURCE.format(swap.kind)))
        for name, span in concepts:
            swapped = self._noun_swaps(text, (name, span), right, (key, region))
            kinds[f"noun {name}"] = list(itertools.islice(swapped, _WINDOW * (self.params.negatives or 0)))
        ordered = [sorted(texts, key=lambda one: _drawn(key, region.id, one.text)) for texts in kinds.values()]
        for several in itertools.zip_longest(*ordered):
            yield from (one for one in several if one is not None and self._fault(one.text, right) is None)

    def _concepts(self, text: str, region: Region) -> list[tuple[str, tuple[int, int]]]:
        """Return the concepts that a text names, each with the place of its name, the region's label first."""
        label = [(tag.text, tag.text) for tag in (region.tags or [])[:1]]
        placed: list[tuple[str, tuple[int, int]]] = []
        for name, spelling in [*label, *self._named(text)]:
            span = next(iter(spans_of(text, spelling)), None)
            if span is not None and not any(span[0] < end and start < span[1] for _, (start, end) in placed):
                placed.append((name, span))
        return placed[:_MOST_CONCEPTS]

    @cached_property
    def _spellings(self) -> dict[str, list[str]]:
        spellings: dict[str, list[str]] = {}
        for spelling, name in self.vocabulary.listed:
            if spelling != name:
                spellings.setdefault(name, []).append(spelling)
        return spellings

    def _noun_swaps(
        self, text: str, concept: tuple[str, tuple[int, int]], right: _Right, where: tuple[str, Region]
    ) -> Iterator[Text]:
        name, span = concept
        plural = self.english and self._is_plural(text, name, span)
        for other, cosine in self._others(name, where):
            if name_key(other) in right.names | self.held_out or _is_kin(name, other):
                continue
            score = 1.0 if cosine is None else min(1.0, (cosine + 1) / 2)
            new = replaced(text, span, _plural(other) if plural else other, english=self.english)
            yield Text(text=new, score=round(score, 4), source=_SOURCE.format("noun"))

    @staticmethod
    def _is_plural(text: str, name: str, span: tuple[int, int]) -> bool:
        """Return whether a name stands in the plural: "dogs" for dog, and "jeans" unless the text has "a jeans"."""
        if name in singulars(plain(text[span[0] : span[1]])):
            return True
        return is_plural(name) and re.search(r"\ban?\s+(?:[\w'-]+\s+){0,3}$", text[: span[0]], re.IGNORECASE) is None

    def _others(self, name: str, where: tuple[str, Region]) -> Iterable[tuple[str, float | None]]:
        """Return concepts of the same kind with their cosines, the nearest first; without neighbours in any order.

        A name outside the vocabulary has the neighbours of the concept that ends it, as "dog" ends "old dog"; without
        one it has none: any concept might be right for it.
        """
        if self.neighbours is not None:
            words = name.split()
            ends = (" ".join(words[start:]) for start in range(len(words)))
            known = (self.names.canonical(end) or end for end in ends)
            return next(filter(None, map(self.neighbours.of, known)), [])
        key, region = where
        is_stuff = name in self.vocabulary.stuff or (region.is_stuff and name not in self.vocabulary.things)
        pool = self.vocabulary.stuff if is_stuff else self.vocabulary.things
        draw = random.Random(_drawn(key, region.id, name))  # noqa: S311 - no secret
        count = min(len(pool), 8 * (self.params.negatives or 0) + 16)
        return [(pool[row], None) for row in draw.sample(range(len(pool)), count)]


def _each_once(texts: Iterable[Text], most: int) -> list[Text]:
    """Return the first texts that differ by more than an article, case and punctuation."""
    chosen: dict[str, Text] = {}
    for text in texts:
        if len(chosen) == most:
            break
        chosen.setdefault(plain(text.text), text)
    return list(chosen.values())


def _drawn(*parts: str) -> bytes:
    """Return bytes that look random and depend on nothing but the parts."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()


def _is_kin(name: str, other: str) -> bool:
    """Return whether one name holds the other's last word, or is a form of it: a hot dog may pass as a dog."""
    name, other = plain(name), plain(other)
    words, others = name.split(), other.split()
    return (
        words[-1:] == others[-1:]
        or words[-1] in others
        or others[-1] in words
        or name in singulars(other)
        or (other in singulars(name))
    )


def _plural(name: str) -> str:
    """Return the plural of an English name; of one that is plural, the name itself."""
    head, _, last = name.rpartition(" ")
    if is_plural(last):
        return name
    if last in _PLURALS:
        plural = _PLURALS[last]
    elif re.search(r"(?:us|ss|x|z|ch|sh)$", last):
        plural = f"{last}es"
    elif re.search(r"[^aeiou]y$", last):
        plural = f"{last[:-1]}ies"
    else:
        plural = f"{last}s"
    return f"{head} {plural}".strip()
