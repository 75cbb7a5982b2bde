"""Spell tags as the vocabulary does: lower-case, singular, with synonyms resolved."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping

_ARTICLE = re.compile(r"^(?:an?|the|some|one|two|three|several|many|its|his|her|their)\s+")
_NOT_A_NAME = re.compile(r"[^\w\s'&-]|_")
_ENDINGS = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"), ("es", ""), ("s", ""))
_IRREGULAR = {
    "people": "person", "children": "child", "mice": "mouse", "geese": "goose", "feet": "foot", "teeth": "tooth",
}  # fmt: skip


def plain(text: str) -> str:
    """Return the words of a text in lower case and NFKC, without article and punctuation."""
    text = _NOT_A_NAME.sub(" ", unicodedata.normalize("NFKC", text).lower())
    return _ARTICLE.sub("", " ".join(text.split()))


def singulars(name: str) -> list[str]:
    """Return the names that a name may be the plural of, by its last word; the likeliest first."""
    head, _, last = name.rpartition(" ")
    words = [_IRREGULAR[last]] if last in _IRREGULAR else []
    words += [last[: -len(old)] + new for old, new in _ENDINGS if last.endswith(old) and len(last) > len(old) + 1]
    if last.endswith("ss"):
        words = []
    return [f"{head} {word}".strip() for word in words]


class TagNames:
    """A mapping from the names that models use to the concepts of a vocabulary."""

    def __init__(self, concepts: Collection[str], synonyms: Mapping[str, str]) -> None:
        """Index concepts and their synonyms.

        Args:
            concepts: the concepts as they are written.
            synonyms: concepts by their other names.
        """
        self._known = set(concepts)
        self._synonyms = {plain(other): concept for other, concept in synonyms.items()}

    def canonical(self, text: str) -> str | None:
        """Return the concept that a text names, a known concept unchanged; None if it is not in the vocabulary."""
        if text in self._known:
            return text
        name = plain(text)
        for candidate in (name, *singulars(name)):
            candidate = self._synonyms.get(candidate, candidate)
            if candidate in self._known:
                return candidate
        return None

    def normalised(self, text: str) -> str:
        """Return the concept, or the text in its plain form if it is not in the vocabulary."""
        return self.canonical(text) or plain(text)
