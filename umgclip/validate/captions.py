"""Captions that may be a model's refusal: by their words, or because many images have the same one.

A canned answer in words that no list knows gives itself away by its number. Honest captions repeat too, such as "a
photo of a dog" over a folder of dogs. They name something: a concept of the vocabulary, a tag or label of one of their
images, or what another caption names as well. A canned answer does none of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

import pandas as pd

from umgclip.data.refusals.apology import refuses
from umgclip.data.vocabulary import chunks

_OF_PEOPLE = ("alt", "human")
_WORD = re.compile(r"\w+")


def refusing(texts: pd.Series, sources: pd.Series | None = None) -> pd.Series:
    """Return the texts that refuse to describe; null for all others. Texts that repeat are looked at once.

    Args:
        texts: captions, or null.
        sources: of each caption. Of those that came with the images or that a person wrote, only what is unmistakable
            counts. None: all are a model's.
    """
    given = pd.Series(data=False, index=texts.index) if sources is None else sources.isin(_OF_PEOPLE)
    bad = {text for text in texts[~given].dropna().unique() if refuses(text)}
    plain = {text for text in texts[given].dropna().unique() if refuses(text, strict=True)}
    return texts.where((texts.isin(bad) & ~given) | (texts.isin(plain) & given)).astype("str")


def canned(
    captions: pd.DataFrame, images_min: int, known: Collection[str], names: Callable[[], pd.DataFrame]
) -> frozenset[str]:
    """Find captions that many images share although they name nothing.

    Captions that refuse by their words are left to `refusing`, so that one fault has one reason.

    Args:
        captions: `key` (the image) and `caption` of every row; an image may have several rows.
        images_min: images with the same caption from which it may be a canned answer. Case, white space and
            punctuation make no difference.
        known: the concepts of the vocabulary.
        names: returns `key` and `name` of the tags and labels of all images.

    Returns:
        The captions, as they are written.
    """
    table = captions.dropna(subset=["key", "caption"])
    plain = {text: _plain(text) for text in table["caption"].unique()}
    texts = table["caption"].map(plain)
    images = table["key"].groupby(texts).nunique()
    many = {text for text in images.index[images >= images_min] if text}
    many -= {same for text, same in plain.items() if same in many and refuses(text)}
    many -= _naming(many, known)
    if many:
        many -= _sharing(many, plain.values())
    if many:
        here = table.assign(text=texts)[texts.isin(many)][["key", "text"]].drop_duplicates()
        for text, group in here.merge(names(), on="key").groupby("text"):
            many -= _naming({str(text)}, group["name"].unique())
    return frozenset(text for text, same in plain.items() if same in many)


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def _naming(texts: Collection[str], names: Iterable[str]) -> set[str]:
    """Return the texts in which a name stands, as words in a row or, in scripts that write no spaces, anywhere."""
    plain = frozenset(filter(None, map(_plain, names)))
    longest = max((len(name.split()) for name in plain), default=0)
    joined = [name for name in plain if not name.isascii()]
    return {text for text in texts if _rows(text, longest) & plain or any(name in text for name in joined)}


def _rows(text: str, longest: int) -> frozenset[str]:
    words = text.split()
    sizes = range(1, longest + 1)
    return frozenset(" ".join(words[at : at + size]) for size in sizes for at in range(len(words) - size + 1))


def _sharing(many: Collection[str], plain: Iterable[str]) -> set[str]:
    """Return the texts of `many` of which a noun chunk stands in another text."""
    owners: dict[str, set[str]] = defaultdict(set)
    for text in many:
        for chunk in chunks(text):
            owners[chunk.text].add(text)
    shared: set[str] = set()
    for other in set(plain):
        for chunk in chunks(other):
            shared |= owners.get(chunk.text, set()) - {other}
    return shared
