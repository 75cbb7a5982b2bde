"""The names that are looked for in an image, the questions that ask for them, and the labels that answer these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from umgclip.annotate.models.foundation.queries import DetectorQueries
from umgclip.annotate.models.vlm.boxes import GroundedObject
from umgclip.annotate.rules.negation import is_negated
from umgclip.annotate.rules.tag_names import plain, singulars
from umgclip.data.vocabulary import Vocabulary
from umgclip.data.wording import name_key
from umgclip.errors import InputError
from umgclip.params.annotators import VlmParams

# words around a box that name nothing: "Answer: [...]", "It is located at [...]"
_EMPTY_WORDS = frozenset(
    [
        "answer",
        "it",
        "its",
        "is",
        "are",
        "at",
        "located",
        "here",
        "there",
        "the",
        "box",
        "boxes",
        "bounding",
        "coordinate",
        "coordinates",
        "position",
        "of",
        "in",
        "image",
        "object",
        "yes",
        "sure",
    ]
)


class AskedNames:
    """The names of the parameter `queries`, in groups that fit into one question."""

    def __init__(self, params: VlmParams, where: str, vocabulary: Vocabulary) -> None:
        """Choose the names.

        Args:
            params: of the model.
            where: its name in the params, for messages.
            vocabulary: the concepts.

        Raises:
            InputError: there may be more names than `questions_max` questions hold.
        """
        self._queries = None if params.queries is None else DetectorQueries(params.queries, vocabulary)
        self._group = params.names_per_question
        most, names = params.questions_max * params.names_per_question, self.for_caption("")
        if len(names) > params.questions_max:
            count = sum(map(len, names))
            raise InputError(
                f"{where}.queries: expected at most {most} names (questions_max x names_per_question), got {count}; "
                "raise names_per_question or questions_max, or list fewer names"
            )

    def for_caption(self, caption: str) -> list[tuple[str, ...]]:
        """Return the names of each question about an image; one question without names if all objects are asked for."""
        names = [] if self._queries is None else self._queries.for_caption(caption)
        return [tuple(names[start : start + self._group]) for start in range(0, len(names), self._group)] or [()]

    def is_stuff(self, label: str | None) -> bool:
        """Check whether a label is a background in the vocabulary; without `queries` none is."""
        return self._queries is not None and label is not None and self._queries.is_stuff(label)


def as_asked(one: GroundedObject, names: Sequence[str]) -> GroundedObject | None:
    """Return an object under the name that was asked for, or None if its label is none of them or says "no cat".

    Names that differ in case, an article or the plural are the same. Of words of a sentence, the last ones count. If a
    single name was asked for, a place without a label is one of it.

    Args:
        one: an object of an answer.
        names: those in the question; none: every label is right.
    """
    if one.is_phrase and one.label is not None and is_negated(one.label):
        return None
    if not names:
        return one
    by_key = {name_key(name): name for name in reversed(names)}
    words = plain(name_key(one.label or "")).split()
    meant = [word for word in words if word not in _EMPTY_WORDS] if one.is_phrase else words
    if not meant:
        return replace(one, label=names[0]) if len(names) == 1 else None
    if one.is_phrase:
        last = max(row for row, word in enumerate(words) if word not in _EMPTY_WORDS)
        tails = [" ".join(words[first : last + 1]) for first in range(last + 1)]
    else:
        tails = [" ".join(words)]
    named = next((by_key[key] for tail in tails for key in (tail, *singulars(tail)) if key in by_key), None)
    return None if named is None else replace(one, label=named)
