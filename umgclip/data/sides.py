"""Texts that a mirrored image would make untrue: those that say left or right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from umgclip.records import ImageRecord

_TEXTS_KEPT = 1 << 16
# English, and the plainest words of the languages whose captions come most; text on a sign is not known
_WORDS = (
    "left", "right", "leftmost", "rightmost", "leftward", "leftwards", "rightward", "rightwards", "lefthand",
    "righthand", "clockwise", "counterclockwise", "anticlockwise",
    "links", "rechts", "linke", "linken", "linker", "rechte", "rechten", "rechter",
    "gauche", "droite", "izquierda", "izquierdo", "derecha", "derecho", "sinistra", "destra", "esquerda", "direita",
    "слева", "справа", "левый", "правый", "左", "右", "왼쪽", "오른쪽",
)  # fmt: skip
_ALONE = [word for word in _WORDS if word.isascii() or "а" <= word[0] <= "я"]
_ANYWHERE = [word for word in _WORDS if word not in _ALONE]
_SIDE = re.compile(rf"\b(?:{'|'.join(_ALONE)})\b|{'|'.join(_ANYWHERE)}", re.IGNORECASE)
# "right" and "left" that mean no side: what is right now, left over, all right
_NO_SIDE = re.compile(
    r"\b(?:all right|right (?:now|away|before|after|there|here|next|in|at|on top|behind)|human rights?|"
    r"left ?overs?|(?:is|are|was|were|has|have|been|be) left (?!of\b|side\b|hand\b))",
    re.IGNORECASE,
)


@lru_cache(_TEXTS_KEPT)
def says_a_side(text: str) -> bool:
    """Check whether a text mentions left or right; in doubt return True."""
    return _SIDE.search(_NO_SIDE.sub(" ", text)) is not None


def texts_of(record: ImageRecord) -> Iterable[str]:
    """Yield every text of an image and of its regions, wrong ones too: mirrored, they could be right."""
    of_regions = (texts for r in record.regions or [] for texts in (r.captions, r.tags, r.negatives))
    for texts in (record.captions, record.tags, *of_regions):
        yield from (text.text for text in texts or [])


def may_be_mirrored(record: ImageRecord) -> bool:
    """Check that no text of an image or of its regions mentions left or right."""
    return not any(says_a_side(text) for text in texts_of(record))
