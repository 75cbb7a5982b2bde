"""The queries of an open-vocabulary detector for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from umgclip.data.vocabulary import Vocabulary


class DetectorQueries:
    """The queries for an image, which its caption may decide."""

    def __init__(self, queries: Literal["caption", "vocabulary"] | list[str], vocabulary: Vocabulary) -> None:
        """Choose the source of the queries.

        Args:
            queries: `annotate.models.NAME.queries`: the concepts of each caption, those of the vocabulary, or a list.
            vocabulary: the concepts that captions may name.
        """
        self._by_caption = queries == "caption"
        self._vocabulary, self._stuff = vocabulary, frozenset(vocabulary.stuff)
        self._all = list(vocabulary.concepts) if isinstance(queries, str) else list(dict.fromkeys(queries))

    def for_caption(self, caption: str) -> list[str]:
        """Return the concepts of the caption, or all queries if it names none or does not decide."""
        named = list(dict.fromkeys(self._vocabulary.find(caption))) if self._by_caption else []
        return named or self._all

    def is_stuff(self, name: str) -> bool:
        """Check whether a concept is a background in the vocabulary."""
        return name in self._stuff


def in_groups(captions: Sequence[str], queries: DetectorQueries) -> dict[tuple[str, ...], list[int]]:
    """Group rows by their queries, so that rows with the same queries share forward passes."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, caption in enumerate(captions):
        groups.setdefault(tuple(queries.for_caption(caption)), []).append(row)
    return groups
