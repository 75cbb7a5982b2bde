"""What an open-vocabulary detector looks for in each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from umgclip.data.vocabulary import Vocabulary


class Looking:
    """Queries per caption."""

    def __init__(self, queries: Literal["caption", "vocabulary"] | list[str], vocabulary: Vocabulary) -> None:
        """Fixed words, the vocabulary's, or the caption's."""
        self._by_caption = queries == "caption"
        self._vocabulary = vocabulary
        self._all = list(vocabulary.concepts) if isinstance(queries, str) else list(dict.fromkeys(queries))

    def for_caption(self, caption: str) -> list[str]:
        """The caption's concepts, or all where it names none or is not asked."""
        named = list(dict.fromkeys(self._vocabulary.find(caption))) if self._by_caption else []
        return named or self._all

    def is_stuff(self, name: str) -> bool:
        """Whether the vocabulary says that a concept is a background."""
        return name in self._vocabulary.stuff


def in_groups(captions: Sequence[str], looking: Looking) -> dict[tuple[str, ...], list[int]]:
    """Rows that look for the same, so that they share their forwards."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, caption in enumerate(captions):
        groups.setdefault(tuple(looking.for_caption(caption)), []).append(row)
    return groups
