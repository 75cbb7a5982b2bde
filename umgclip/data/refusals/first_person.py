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
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from umgclip.data.refusals.feelings import FEELINGS
from umgclip.data.refusals.first_person_words import JOINED, SPACED

_WORD = re.compile(r"\w+")
_BEGIN = re.compile(r"(\*?)(\w+)(\*?)")  # of an entry: its first word, or a part of one


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

    @property
    def _writer(self) -> tuple[str, ...]:
        """The names of the lists of which a sentence that refuses has an entry."""
        return ("me", "can") if self.spaced else ("me",)

    @property
    def writer(self) -> tuple[str, ...]:
        """The entries of which a sentence that refuses has one."""
        entries = (entry.strip() for name in self._writer for entry in self.words.get(name, "").split("|"))
        return tuple(entry for entry in entries if entry)

    def refuses(self, sentence: str, words: frozenset[str]) -> bool:
        """Return whether a sentence is about its writer and a task that is not done.

        Args:
            sentence: in lower case.
            words: the runs of letters in it.
        """
        if not any(self.holds(name, sentence, words) for name in self._writer):
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


class _Group:
    """Languages that are asked together: those are left out of whose entries about the writer none can begin here."""

    def __init__(self, languages: Iterable[Language]) -> None:
        self._languages = tuple(languages)
        self._of_word: dict[str, set[int]] = defaultdict(set)
        self._of_parts: set[int] = set()
        parts = []
        for number, language in enumerate(self._languages):
            for before, word, after in map(_begin, language.writer):
                if language.spaced and not before and not after:
                    self._of_word[word].add(number)
                    continue
                self._of_parts.add(number)
                start, end = r"(?<!\w)" * (language.spaced and not before), r"(?!\w)" * (language.spaced and not after)
                parts.append(start + re.escape(word) + end)
        self._parts = re.compile("|".join(dict.fromkeys(parts)))

    def refusing(self, sentence: str, words: frozenset[str]) -> tuple[Language, ...]:
        """Return the languages of the group in which a sentence refuses; arguments are as in `Language.refuses`."""
        numbers = set().union(*(self._of_word[word] for word in words & self._of_word.keys()))
        if self._parts.search(sentence) is not None:
            numbers |= self._of_parts
        asked = (self._languages[number] for number in sorted(numbers))
        return tuple(language for language in asked if language.refuses(sentence, words))


def _begin(entry: str) -> tuple[str, str, str]:
    """Return the first word of an entry between the stars before and behind it."""
    begin = _BEGIN.match(entry)
    assert begin is not None, entry  # noqa: S101 - the lists are ours
    return begin[1], begin[2], begin[3]


_ALL = _Group(LANGUAGES)
_IN_ASCII = _Group((
    *(one for one in LANGUAGES if any(entry.isascii() for entry in one.words["me"].split("|"))),
    *(_plain(BY_NAME[name]) for name in _TYPED_WITHOUT_ACCENTS),
))  # fmt: skip


def refusing_languages(sentence: str) -> tuple[Language, ...]:
    """Return the languages in which a sentence is its writer's own refusal; quotes must have been removed."""
    lowered, words = words_of(sentence)
    return (_IN_ASCII if lowered.isascii() else _ALL).refusing(lowered, words)


def refuses_in_first_person(sentence: str) -> bool:
    """Return whether a sentence is its writer's own refusal, in any of `LANGUAGES`; quotes must have been removed."""
    return bool(refusing_languages(sentence))
