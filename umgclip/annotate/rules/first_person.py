"""Recognise refusals that no list holds: sentences in the first person about a task that is not done.

A sentence refuses if it has three things in one language: the writer or reader (`me`), a limit (`no`: a negation, an
inability, a prohibition) and the task (`do`: to describe, to help, a request, guidelines). "My dog never looks at the
camera" lacks the task, "a boy who cannot describe it" lacks the writer. An image that did not arrive is told by a
limit, the image, and a word of what should have happened to it (`weak`: sent, loaded, to see), and a request for
another image by `ask` in place of the limit. Who speaks of itself as a `model` describes nothing.

Words end where the language's words do, unless they have a `*`. Languages that write no spaces, or whose vowel signs
are no letters to `re`, are searched for parts of words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from umgclip.annotate.rules.first_person_words import JOINED, SPACED


@dataclass(frozen=True)
class Language:
    """The words of one language, each list as one string with `|` between its entries.

    Attributes:
        name: a code of ISO 639-1, with the script where there are several.
        words: the lists `me`, `no`, `do`, `image`, `weak`, `ask` and `model`.
        spaced: whether entries are whole words.
    """

    name: str
    words: dict[str, str]
    spaced: bool

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        return {name: _pattern(entries, self.spaced) for name, entries in self.words.items()}

    def refuses(self, sentence: str) -> bool:
        """Return whether a sentence in lower case is about its writer and a task that is not done."""
        if not self._has("me", sentence):
            return False
        if self._has("model", sentence):
            return True
        limited = self._has("no", sentence)
        if limited and self._has("do", sentence):
            return True
        if not self._has("image", sentence):
            return False
        if limited and self._has("can", sentence):
            return True
        return (limited or self._has("ask", sentence)) and self._has("weak", sentence)

    def _has(self, name: str, sentence: str) -> bool:
        return self._patterns[name].search(sentence) is not None


def _pattern(entries: str, spaced: bool) -> re.Pattern[str]:
    words = [re.escape(entry.strip()).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for entry in entries.split("|")]
    joined = "|".join(words)
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)" if spaced else joined)


LANGUAGES = (
    *(Language(name, words, spaced=True) for name, words in SPACED.items()),
    *(Language(name, words, spaced=False) for name, words in JOINED.items()),
)


def refuses_in_first_person(sentence: str) -> bool:
    """Return whether a sentence is its writer's own refusal, in any of `LANGUAGES`; quotes must have been removed."""
    lowered = sentence.replace("İ", "i").lower()
    return any(language.refuses(lowered) for language in LANGUAGES)
