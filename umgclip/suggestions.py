"""Suggestions for mistyped names: commands, options, keys of parameters, values, recipes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LEAST_LIKENESS = 0.6


def closest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that a word was probably meant to be, upper and lower case alike; None if none is near.

    The dashes before an option make no two options alike.
    """
    by_letters = {name.lower().lstrip("-"): name for name in names}
    near = difflib.get_close_matches(word.lower().lstrip("-"), by_letters, n=1, cutoff=_LEAST_LIKENESS)
    return by_letters[near[0]] if near else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return the end of a message, such as `; did you mean 'train'?`; empty if no name is near the word."""
    near = closest(word, names)
    return "" if near is None else f"; did you mean {near!r}?"
