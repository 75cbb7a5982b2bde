"""The one form of every text that is stored or compared: captions, tags, names of classes.

Sources write one name in many ways: `"cat "` and `cat`, `traffic  light`, an accent as one character or as two, a
byte order mark in front, half of an emoji that a program cut in two. Names are compared by
`name_key`, and texts are stored as `tidy` returns them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from umgclip.safe_text import well_formed

# control characters; white space among them is parted as such
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# what nobody sees: soft hyphen, zero-width space, marks of direction, word joiner, byte order mark. The joiners of
# Persian, Indic scripts and emoji (U+200C, U+200D) change what is seen
_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")


def tidy(text: str) -> str:
    """Return a text as it is stored: composed Unicode (NFC), single spaces, no invisible characters.

    `tidy(tidy(text)) == tidy(text)`; upper and lower case stay.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", _UNSEEN.sub("", well_formed(text)))
    return " ".join(_CONTROL.sub(" ", text).split())


def name_key(name: str) -> str:
    """Return the key by which names are compared: names that differ in case or white space share one."""
    return unicodedata.normalize("NFC", tidy(name).casefold())


def first_spellings(names: Iterable[str]) -> dict[str, str]:
    """Return tidy names by key, each in its first spelling; leave out empty ones."""
    spellings: dict[str, str] = {}
    for name in names:
        if clean := tidy(name):
            spellings.setdefault(name_key(clean), clean)
    return spellings


# garments, tools and groups that English counts in pairs or not at all, and plurals without s
_PLURALS = frozenset((
    "people", "children", "men", "women", "mice", "feet", "teeth", "geese", "sheep", "cattle", "police", "skis",
    "taxis", "kiwis", "bikinis", "zucchinis", "glasses", "sunglasses",
))  # fmt: skip
# they end like plurals and are none
_SINGULARS = frozenset((
    "gas", "lens", "canvas", "atlas", "christmas", "pancreas", "alias", "cosmos", "rhinoceros", "thermos", "albatros",
    "mars",
))  # fmt: skip


def is_plural(name: str) -> bool:
    """Return whether an English name takes no "a": "jeans", "red socks" and "people", but not "bus", "glass", "lens".

    The last word decides, by its ending and by short lists.
    """
    last = name_key(name).rpartition(" ")[2]
    return last in _PLURALS or (re.search(r"[^sui']s$", last) is not None and last not in _SINGULARS)
