"""Counts of what training met without stopping, shown in its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from umgclip.model.clip.tokenizer import Tokenizer

IMAGES, UNMIRRORED, REGIONS, SLIVERS, TEXTS, CUT = "images", "unmirrored", "regions", "slivers", "texts", "cut"
WITH_NEGATIVES, WITH_LONG = "with_negatives", "with_long"
SHOWN_OF = "images of "
"""The beginning of the name of a count of one dataset's images."""


def of_texts(texts: Iterable[str], tokenizer: Tokenizer) -> Counter[str]:
    """Count the texts that were encoded, and those that were cut."""
    texts = list(texts)
    return Counter({TEXTS: len(texts), CUT: len(tokenizer.cut(texts))})


def rows_of(seen: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    """Return summary rows for counts above 0; each time that a sample was shown counts."""
    told = (
        ("never mirrored", UNMIRRORED, IMAGES, "images shown, for a text says left or right"),
        ("texts cut", CUT, TEXTS, "texts encoded, longer than the model's context"),
        ("regions with wrong texts", WITH_NEGATIVES, REGIONS, "regions shown"),
        ("images with a long caption", WITH_LONG, IMAGES, "images shown"),
        ("boxes under half a pixel", SLIVERS, REGIONS, "regions shown"),
    )
    return tuple(
        (name, f"{seen[what]:,} of {seen.get(of, 0):,} {more}") for name, what, of, more in told if seen.get(what)
    )
