"""Queries that say what is not there, which detectors by words answer as if the negation were not said."""

from __future__ import annotations

import re

_NEGATIONS = frozenset(
    {"no", "not", "without", "w/o", "never", "neither", "nor", "none", "nobody", "nothing", "lacking"}
)
_NAMED_BY_WHAT_THEY_FORBID = frozenset({"sign", "signs", "symbol", "symbols", "notice", "sticker"})
_WORDS = re.compile(r"[\w/'’-]+")


def is_negated(query: str) -> bool:
    """Check whether an English query negates something, as "person without helmet" does, but "no parking sign" not.

    SAM 3 scores such queries above 0.9 where the thing is there (facebookresearch/sam3#265).
    """
    words = _WORDS.findall(query.lower())
    if not words or words[-1] in _NAMED_BY_WHAT_THEY_FORBID:
        return False
    return any(word in _NEGATIONS or word.endswith(("n't", "n’t")) for word in words)
