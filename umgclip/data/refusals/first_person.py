"""Recognise refusals that no list holds: sentences in the first person about a task that is not done.

A sentence refuses if it has three things in one language: the writer or reader (`me`), a limit (`no`: a negation, an
inability, a prohibition) and the task (`do`: to describe, to help, a request, guidelines). "My dog never looks at the
camera" lacks the task, "a boy who cannot describe it" lacks the writer. The image stands for the task where the limit
is on what the writer can or will do (`can`, which names the writer too), or on what should have happened to the image
(`weak`: sent, loaded), but not where it is on feelings (`feel`: to believe, to wait); a request to do that again
(`ask`) stands for the limit. Who speaks of itself as a `model` describes nothing.

Words end where the language's words do, unless they have a `*`. Languages that write no spaces, or whose vowel signs
are no letters to `re`, are searched for parts of words.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from umgclip.data.refusals.feelings import FEELINGS
from umgclip.data.refusals.first_person_words import JOINED, SPACED

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Language:
    """The words of one language, each list as one string with `|` between its entries.

    Attributes:
        name: a code of ISO 639-1, with the script where there are several.
        words: the lists `me`, `no`, `do`, `image`, `weak`, `ask`, `model` and `can`.
        spaced: whether entries are whole words.
    """

    name: str
    words: dict[str, str]
    spaced: bool

    @cached_property
    def _lists(self) -> dict[str, _WordList]:
        lists = {**self.words, "feel": FEELINGS.get(self.name, "")}
        return {name: _WordList.of(entries, self.spaced) for name, entries in lists.items()}

    def refuses(self, sentence: str, words: frozenset[str]) -> bool:
        """Return whether a sentence is about its writer and a task that is not done.

        Args:
            sentence: in lower case.
            words: the runs of letters in it.
        """
        if not (self.holds("me", sentence, words) or (self.spaced and self.holds("can", sentence, words))):
            return False
        if self.holds("model", sentence, words):
            return True
        limited = self.holds("no", sentence, words)
        if limited and self.holds("do", sentence, words):
            return True
        if not self.holds("image", sentence, words) or self.holds("feel", sentence, words):
            return False
        if limited and self.holds("can", sentence, words):
            return True
        return (limited or self.holds("ask", sentence, words)) and self.holds("weak", sentence, words)

    def holds(self, name: str, sentence: str, words: frozenset[str]) -> bool:
        """Return whether a sentence has an entry of the list `name`; `words` are as in `refuses`."""
        return self._lists[name].holds(sentence, words)


@dataclass(frozen=True)
class _WordList:
    """A list of entries: plain words, which a set finds fast, and a pattern for all others."""

    plain: frozenset[str]
    pattern: re.Pattern[str] | None

    @classmethod
    def of(cls, entries: str, spaced: bool) -> _WordList:
        every = [entry.strip() for entry in entries.split("|") if entry.strip()]
        plain = frozenset(entry for entry in every if spaced and entry.isalpha())
        others = [
            re.escape(entry).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for entry in every if entry not in plain
        ]
        joined = "|".join(others)
        return cls(plain, re.compile(rf"(?<!\w)(?:{joined})(?!\w)" if spaced else joined) if others else None)

    def holds(self, sentence: str, words: frozenset[str]) -> bool:
        return not self.plain.isdisjoint(words) or (
            self.pattern is not None and self.pattern.search(sentence) is not None
        )


LANGUAGES = (
    *(Language(name, words, spaced=True) for name, words in SPACED.items()),
    *(Language(name, words, spaced=False) for name, words in JOINED.items()),
)

BY_NAME = {language.name: language for language in LANGUAGES}
_TYPED_WITHOUT_ACCENTS = ("de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "pl", "cs", "tr", "ro", "hu", "vi")


def _plain(language: Language) -> Language:
    """Return a language whose entries have lost their accents, as in texts that were typed without them."""
    return Language(language.name, {name: without_accents(text) for name, text in language.words.items()}, spaced=True)


def without_accents(text: str) -> str:
    """Return a text whose letters have lost what stands above and below them."""
    return "".join(one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one))


def words_of(sentence: str) -> tuple[str, frozenset[str]]:
    """Return a sentence in lower case, and the runs of letters in it."""
    lowered = sentence.replace("İ", "i").lower()
    return lowered, frozenset(_WORD.findall(lowered))


_IN_ASCII = (
    *(one for one in LANGUAGES if any(entry.isascii() for entry in one.words["me"].split("|"))),
    *(_plain(BY_NAME[name]) for name in _TYPED_WITHOUT_ACCENTS),
)


def refusing_languages(sentence: str) -> tuple[Language, ...]:
    """Return the languages in which a sentence is its writer's own refusal; quotes must have been removed."""
    lowered, words = words_of(sentence)
    languages = _IN_ASCII if lowered.isascii() else LANGUAGES
    return tuple(language for language in languages if language.refuses(lowered, words))


def refuses_in_first_person(sentence: str) -> bool:
    """Return whether a sentence is its writer's own refusal, in any of `LANGUAGES`; quotes must have been removed."""
    return bool(refusing_languages(sentence))
