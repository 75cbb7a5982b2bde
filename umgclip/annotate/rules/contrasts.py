"""Swaps of one English word for another of its kind: colours, materials, counts, attributes and relations.

The lists are closed and short on purpose: two words of a list exclude each other, so a text with one of them swapped is
wrong for whatever the text was right for. A word counts only where it describes something ("a red car", "the car is
red"), not where it is the thing ("an orange and an apple"), and not as a part of a name ("Green Bay").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from umgclip.data.phrases import is_unspaced
from umgclip.data.wording import is_plural
from umgclip.model.clip.prompts import with_article

_Span = tuple[int, int]

# words of one group mean the same
_COLOURS = (
    ("red",), ("orange",), ("yellow",), ("green",), ("blue",), ("purple", "violet"), ("pink",), ("brown",), ("black",),
    ("white",), ("grey", "gray"),
)  # fmt: skip
_MATERIALS = (
    ("wooden", "wood"), ("metal", "metallic", "steel", "iron"), ("plastic",), ("glass",), ("leather",),
    ("stone", "concrete"), ("brick",), ("paper", "cardboard"), ("ceramic", "porcelain"),
    ("woollen", "woolen", "wool", "cotton", "fabric", "cloth"),
)  # fmt: skip
_COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_POSES = ("standing", "sitting", "lying")
_OPPOSITES = {
    "small": ("large",), "little": ("large",), "tiny": ("huge",), "large": ("small",), "big": ("small",),
    "huge": ("tiny",), "tall": ("short",), "long": ("short",), "young": ("old",), "new": ("old",), "open": ("closed",),
    "closed": ("open",), "empty": ("full",), "full": ("empty",), "wet": ("dry",), "dry": ("wet",), "clean": ("dirty",),
    "dirty": ("clean",), "round": ("square",), "square": ("round",), "thick": ("thin",), "thin": ("thick",),
    "wide": ("narrow",), "narrow": ("wide",), "bright": ("dark",), "dark": ("bright",), "smooth": ("rough",),
    "rough": ("smooth",), "striped": ("plain", "spotted"), "spotted": ("striped", "plain"),
}  # fmt: skip
_LIVING = frozenset(("man", "woman", "person", "boy", "girl", "child", "lady", "dog", "cat", "horse", "couple"))
_RELATIONS = (
    ("in front of", "behind"), ("behind", "in front of"), ("on top of", "under"), ("underneath", "on top of"),
    ("beneath", "on top of"), ("above", "below"), ("below", "above"), ("inside", "outside"), ("outside", "inside"),
)  # fmt: skip
_SIDE = re.compile(
    r"\b(?P<side>left|right)(?=[ -](?:of|side|hand|arm|leg|foot|eye|ear|wing|corner|half|edge)\b)"
    r"|\b(?:the|upper|lower|top|bottom|far) (?P<end>left|right)\b(?! \w)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\w'-]+")
_COPULAS = frozenset(("is", "are", "was", "were", "looks", "look", "painted"))
# words behind which no noun is described: "an orange on a plate", "a glass with water"
_FUNCTION_WORDS = (
    "a about above across after against along among an and are as at away back because before behind below beneath "
    "beside between but by can down during for from had has have he her here his i in inside into is it its just like "
    "near next not of off on onto or our out outside over she so some than that the their them then there these they "
    "this those through to toward towards under until up was we were when where which while who whose will with "
    "without you your"
)
_ENDS = frozenset(_FUNCTION_WORDS.split())
# an article, and up to three words between it and what is replaced
_ARTICLE = re.compile(r"\b(an?)\s+((?:(?!an?\b)[\w'-]+\s+){0,3})$", re.IGNORECASE)


@dataclass(frozen=True)
class Swap:
    """A text with one thing in it swapped, and the kind of that thing."""

    kind: str
    text: str


def word_swaps(text: str) -> Iterator[Swap]:
    """Yield the texts that differ from an English text in one word of a closed list."""
    words = _words(text)
    for place, one in enumerate(words):
        span = one.span
        following = words[place + 1].span[0] if one.behind else None
        if text[span[0]].isupper() and (place or (following is not None and text[following].isupper())):
            continue  # a part of a proper name
        for kind, others in _alternatives(words, place):
            for other in others:
                yield Swap(kind, replaced(text, span, other))
    yield from _relation_swaps(text)


@dataclass(frozen=True)
class _Word:
    """A word in lower case, its place, and the words behind it up to the next punctuation mark, at most two."""

    word: str
    span: _Span
    behind: tuple[str, ...]


def _words(text: str) -> list[_Word]:
    matches = list(_WORD.finditer(text))
    words: list[_Word] = []
    for match, after in zip(reversed(matches), [None, *reversed(matches)], strict=False):
        joined = after is not None and not text[match.end() : after.start()].strip()
        behind = (words[-1].word, *words[-1].behind[:1]) if joined else ()
        words.append(_Word(match.group().lower(), match.span(), behind))
    return words[::-1]


def _alternatives(words: Sequence[_Word], place: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the kinds of a word, each with the words that exclude it at this place."""
    word, following = words[place].word, next(iter(words[place].behind), "")
    there = {one.word for one in words}
    for kind, groups in (("colour", _COLOURS), ("material", _MATERIALS)):
        group = next((group for group in groups if word in group), None)
        if group is not None and _describes(words, place, groups):
            yield kind, [other[0] for other in groups if not there & set(other)]
    if word in _COUNTS and following and following not in _ENDS:
        yield "count", [other for other in _COUNTS[:5] if other != word]
    if word in _POSES:
        yield "attribute", [other for other in _POSES if other != word]
    if _describes(words, place, ()):
        if word in _OPPOSITES:
            yield "attribute", _OPPOSITES[word]
        elif word == "short":
            yield "attribute", ["tall" if following in _LIVING else "long"]
        elif word == "old":
            yield "attribute", ["young" if following in _LIVING else "new"]


def _describes(words: Sequence[_Word], place: int, groups: Sequence[Sequence[str]]) -> bool:
    """Return whether a word describes a noun behind it, or what a verb before it is about."""
    following = words[place].behind
    if place and words[place - 1].word in _COPULAS and words[place - 1].behind:
        return True
    if len(following) == 2 and following[0] == "and" and any(following[1] in group for group in groups):
        return True  # red and white stripes
    return bool(following) and following[0] not in _ENDS


def _relation_swaps(text: str) -> Iterator[Swap]:
    for relation, other in _RELATIONS:
        for span in spans_of(text, relation):
            if span[0]:  # at the start it is no relation between two things
                yield Swap("relation", replaced(text, span, other))
    for match in _SIDE.finditer(text):
        group = "side" if match.group("side") else "end"
        other = "right" if match.group(group).lower() == "left" else "left"
        yield Swap("relation", replaced(text, match.span(group), other))


def spans_of(text: str, name: str) -> list[_Span]:
    """Return where a name stands in a text as whole words, in any case; in scripts without spaces anywhere."""
    pattern = re.escape(name) if is_unspaced(name) else rf"(?<![\w'-]){re.escape(name)}(?![\w'-])"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


def replaced(text: str, span: _Span, new: str, *, english: bool = True) -> str:
    """Return a text with other words in a span: a capital stays one, and the article before it fits.

    `a` becomes `an` where it must. It goes where the new words are plural and end the name: of "A red cat" comes
    "Red jeans".
    """
    start, end = span
    if text[start].isupper():
        new = new[:1].upper() + new[1:]
    head = text[:start]
    article = _ARTICLE.search(head) if english else None
    if article is None:
        return head + new + text[end:]
    between = article.group(2)
    words = between.lower().split()
    described = not _ENDS & set(words) and not any(word.endswith("ing") for word in words)
    if described and is_plural(new) and not is_plural(text[start:end]):
        name = between + new
        if article.group(1)[0].isupper():
            name = name[:1].upper() + name[1:]
        return head[: article.start()] + name + text[end:]
    if not between:
        right = with_article(new.lower()).partition(" ")[0]
        right = right.capitalize() if article.group(1)[0].isupper() else right
        head = head[: article.start(1)] + right + head[article.end(1) :]
    return head + new + text[end:]
