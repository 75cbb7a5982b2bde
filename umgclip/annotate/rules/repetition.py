"""Detect captions that repeat themselves, as greedy decoding produces them."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_LONGEST_PHRASE = 12  # words
_FEW_DISTINCT = 0.25  # share of distinct words in a long text, below which it is a loop
_LONG = 24  # words


def loops(text: str, repeats_max: int) -> bool:
    """Return whether a caption repeats itself.

    It does if a phrase of at most twelve words stands more than `repeats_max` times in a row, or if less than a quarter
    of the words of a text of 24 words or more are distinct.
    """
    words = _WORD.findall(text.lower())
    for size in range(1, min(_LONGEST_PHRASE, len(words) // 2) + 1):
        run = 1
        start = size
        while start + size <= len(words):
            if words[start : start + size] == words[start - size : start]:
                run += 1
                if run > repeats_max:
                    return True
                start += size
            else:
                run = 1
                start += 1
    return len(words) >= _LONG and len(set(words)) < _FEW_DISTINCT * len(words)
