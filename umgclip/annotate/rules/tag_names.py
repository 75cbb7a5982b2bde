"""Tags as the vocabulary spells them: lower-case, singular, synonyms resolved."""

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
    """Lower-case words without article and punctuation, NFKC."""
    text = _NOT_A_NAME.sub(" ", unicodedata.normalize("NFKC", text).lower())
    return _ARTICLE.sub("", " ".join(text.split()))


def singulars(name: str) -> list[str]:
    """What a name may be the plural of, by its last word; the likeliest first."""
    head, _, last = name.rpartition(" ")
    found = [_IRREGULAR[last]] if last in _IRREGULAR else []
    found += [last[: -len(old)] + new for old, new in _ENDINGS if last.endswith(old) and len(last) > len(old) + 1]
    if last.endswith("ss"):
        found = []
    return [f"{head} {word}".strip() for word in found]


class TagNames:
    """Maps what models call things to the concepts of a vocabulary."""

    def __init__(self, concepts: Collection[str], synonyms: Mapping[str, str]) -> None:
        """Names and their synonyms.

        Args:
            concepts: the names as they are written.
            synonyms: other name -> concept.
        """
        self._known = set(concepts)
        self._synonyms = {plain(other): concept for other, concept in synonyms.items()}

    def canonical(self, text: str) -> str | None:
        """The concept that a text names; None where the vocabulary has none. A known concept stays as it is."""
        if text in self._known:
            return text
        name = plain(text)
        for candidate in (name, *singulars(name)):
            candidate = self._synonyms.get(candidate, candidate)
            if candidate in self._known:
                return candidate
        return None

    def normalised(self, text: str) -> str:
        """The concept, or the text in its plain form where no vocabulary holds it."""
        return self.canonical(text) or plain(text)
