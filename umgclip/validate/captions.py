"""Captions that may be a model's refusal: by their words, or because many images have the same one.

A canned answer in words that no list knows gives itself away by its number. Honest captions repeat too, such as "a
photo of a dog" over a folder of dogs. They name something: a concept of the vocabulary, a tag or label of one of their
images, or what another caption names as well. A canned answer does none of it.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

import numpy as np
import pandas as pd

from umgclip.data.refusals.apology import refuses
from umgclip.data.vocabulary import chunks

_OF_PEOPLE = ("alt", "human")
_WORD = re.compile(r"\w+")
_PLACES = 1 << 22  # of the table of counts, 16 MB


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
    captions: Callable[[], Iterable[pd.DataFrame]],
    images_min: int,
    known: Collection[str],
    names: Callable[[Collection[str]], pd.DataFrame],
) -> frozenset[str]:
    """Find captions that many images share although they name nothing.

    Captions that refuse by their words are left to `refusing`, so that one fault has one reason.

    A first reading counts rows by a hash of the text, in a table of a fixed size. Only texts whose place in it has
    enough of them are held in memory, so that memory does not grow with the number of different captions.

    Args:
        captions: reads `key` (the image) and `caption` of every row, some at a time; called up to three times.
        images_min: images with the same caption from which it may be a canned answer. Case, white space and
            punctuation make no difference.
        known: the concepts of the vocabulary.
        names: returns `key` and `name` of the tags and labels of some images, by their keys.

    Returns:
        The captions, as they are written.
    """
    counts = np.zeros(_PLACES, np.uint32)
    for frame in captions():
        rows = frame.dropna(subset=["key", "caption"])["caption"].value_counts()
        places = np.fromiter((_place(_plain(text)) for text in rows.index), np.int64, len(rows))
        np.add.at(counts, places, rows.to_numpy(dtype=np.uint32))
    often = counts >= images_min
    if not often.any():
        return frozenset()
    plain: dict[str, str] = {}
    parts = []
    for frame in captions():
        table = frame.dropna(subset=["key", "caption"])[["key", "caption"]]
        some = {text: same for text in table["caption"].unique() if often[_place(same := _plain(text))]}
        plain |= some
        rows_of_some = table[table["caption"].isin(list(some))]
        parts.append(rows_of_some.assign(text=rows_of_some["caption"].map(some))[["key", "text"]].drop_duplicates())
    here = pd.concat(parts).drop_duplicates()
    images = here["key"].groupby(here["text"]).nunique()
    many = {text for text in images.index[images >= images_min] if text}
    many -= {same for text, same in plain.items() if same in many and refuses(text)}
    many -= _naming(many, known)
    if many:
        many -= _sharing(many, (_plain(text) for frame in captions() for text in frame["caption"].dropna().unique()))
    if many:
        here = here[here["text"].isin(list(many))]
        for text, group in here.merge(names(set(here["key"])), on="key").groupby("text"):
            many -= _naming({str(text)}, group["name"].unique())
    return frozenset(text for text, same in plain.items() if same in many)


def _place(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % _PLACES


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
    for other in plain:
        for chunk in chunks(other):
            shared |= owners.get(chunk.text, set()) - {other}
    return shared
