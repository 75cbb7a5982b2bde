"""Detect answers that refuse instead of describing: apologies, models about themselves, images that did not arrive.

A caption describes its image; a refusal describes the model that should have written it. Text that a caption quotes,
such as the words on a sign, does not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from umgclip.data.refusals.first_person import BY_NAME, LANGUAGES, Language, refusing_languages, words_of
from umgclip.data.refusals.openings import INABILITY, OPENINGS, OPENINGS_EAST_ASIA, SELF
from umgclip.data.refusals.scene import words_of_scene

_FLAGS = re.IGNORECASE | re.VERBOSE
_OPENS = tuple(
    (name, re.compile(rf"^\W*({pattern})", _FLAGS))
    for part in (OPENINGS, OPENINGS_EAST_ASIA)
    for name, pattern in part.items()
)
_OPENS_ANY = re.compile("|".join(opening.pattern for _, opening in _OPENS), _FLAGS)
_SENTENCE = re.compile(rf"^\W*({INABILITY})", _FLAGS)
_ANYWHERE = re.compile(SELF, _FLAGS)
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|„[^“”]*[“”]|「[^」]*」|『[^』]*』|(?<!\w)'[^']+(?:'\w[^']*)*'(?!\w)")
_SHOWN = re.compile(r"^([^:.!?]{12,}):\s.*$", re.DOTALL)
_ENDS = re.compile(r"(?<=[.!?。！？।])\s*")
_SCENE_WORDS, _SCENE_WORDS_BEFORE, _SCENE_WORDS_STRICT, _SHOWN_WORDS = 6, 8, 3, 4
_JUDGED = 1_000  # characters: a longer text refuses at its beginning, or does not
# placeholders for a missing text
_NOTHING = frozenset((
    "n/a", "na", "n.a", "none", "unknown", "null", "nil", "nothing", "undefined", "nan", "empty", "unspecified",
    "unclear", "unsure", "not available", "not applicable", "no caption", "no description", "no answer", "tbd", "todo",
))  # fmt: skip


@lru_cache(maxsize=16_384)  # labels and short captions come again and again
def refuses(text: str, *, strict: bool = False) -> bool:
    """Return whether a text is a model's apology, or is about the model instead of the image.

    Typographic apostrophes count as plain ones. A text that is quoted as a whole is checked without its quotes. A text
    that describes a scene beside what it refuses is a caption.

    Args:
        text: a caption, a label or an answer.
        strict: only what is unmistakable, as for texts of people: a listed beginning and a task, and no scene at all.
    """
    text = text[:_JUDGED]
    unquoted = _without_quotes(text)
    if _ANYWHERE.search(unquoted):
        return True
    if _placeholder(text):
        return True
    listed = {name for name, opening in _OPENS if opening.match(unquoted)} if _OPENS_ANY.match(unquoted) else set()
    sentences = [one for one in dict.fromkeys(_ENDS.split(unquoted)) if any(map(str.isalnum, one))]
    for sentence in sentences:
        by_rule = refusing_languages(sentence)
        if not (listed or by_rule or _SENTENCE.match(sentence)):
            continue
        languages = {one.name: one for one in by_rule} | {name: BY_NAME[name] for name in listed or ("en",)}
        if strict:
            return _unmistakable(unquoted, bool(listed), languages.values())
        others = " . ".join(one for one in sentences if one is not sentence)
        inside, beside = (words_of_scene(part, languages.values()) for part in (sentence, others))
        if inside < _SCENE_WORDS and beside < _SCENE_WORDS_BEFORE:
            return True
    return False


def _unmistakable(text: str, listed: bool, languages: Iterable[Language]) -> bool:
    """Return whether a text begins as refusals do and is about nothing but a picture or a request."""
    if not listed or words_of_scene(text, tuple(languages)) >= _SCENE_WORDS_STRICT:
        return False
    lowered, words = words_of(text)
    return (
        len(words) <= _SHOWN_WORDS
        or any(one.holds(name, lowered, words) for one in languages for name in ("do", "image", "model"))
        and not any(one.holds("feel", lowered, words) for one in languages)
    )


def _without_quotes(text: str) -> str:
    """Return a text in NFC without what it quotes, or shows behind a colon; all of it if nothing else is there."""
    text = " ".join(unicodedata.normalize("NFC", text).replace("’", "'").replace("ʼ", "'").split())
    unquoted = _QUOTED.sub(" ", text).strip()
    if not any(letter.isalnum() for letter in unquoted):
        return text
    shown = _SHOWN.match(unquoted)
    if shown and words_of_scene(shown[1], LANGUAGES[:1]) >= _SHOWN_WORDS and not refusing_languages(shown[1]):
        return shown[1]
    return unquoted


def says_nothing(text: str) -> bool:
    """Return whether a text is only a placeholder: `N/A`, `none`, `-`, in any brackets and quotes."""
    return _placeholder(text) or not any(letter.isalnum() for letter in text)


def _placeholder(text: str) -> bool:
    return " ".join(text.split()).strip(" \t.,:;!?-–—_*\"'`“”‘’()[]{}<>").casefold() in _NOTHING
