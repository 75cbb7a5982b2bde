"""What training met and took in its stride: counted as it goes on, told at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from umgclip.model.clip.tokenizer import Tokenizer

IMAGES, UNMIRRORED, REGIONS, SLIVERS, TEXTS, CUT = "images", "unmirrored", "regions", "slivers", "texts", "cut"


def of_texts(texts: Iterable[str], tokenizer: Tokenizer) -> Counter[str]:
    """Counts of texts as they were encoded."""
    texts = list(texts)
    return Counter({TEXTS: len(texts), CUT: len(tokenizer.cut(texts))})


def rows_of(seen: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    """Rows of a summary, for what was met at all; each time that it was shown counts."""
    told = (
        ("never mirrored", UNMIRRORED, IMAGES, "images shown, for a text says left or right"),
        ("texts cut", CUT, TEXTS, "texts encoded, longer than the model's context"),
        ("boxes under half a pixel", SLIVERS, REGIONS, "regions shown"),
    )
    return tuple(
        (name, f"{seen[what]:,} of {seen.get(of, 0):,} {more}") for name, what, of, more in told if seen.get(what)
    )
