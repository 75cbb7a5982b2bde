"""Detect answers that refuse instead of describing: apologies, models about themselves, images that did not arrive.

A caption describes its image; a refusal describes the model that should have written it. Text that a caption quotes,
such as the words on a sign, does not count.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from umgclip.data.refusals.first_person import refuses_in_first_person
from umgclip.data.refusals.openings import INABILITY, OPENINGS, OPENINGS_EAST_ASIA, SELF

_FLAGS = re.IGNORECASE | re.VERBOSE
_OPENS = [re.compile(rf"^\W*({pattern})", _FLAGS) for pattern in (*OPENINGS.values(), *OPENINGS_EAST_ASIA.values())]
_SENTENCE = re.compile(rf"^\W*({INABILITY})", _FLAGS)
_ANYWHERE = re.compile(SELF, _FLAGS)
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|„[^“”]*[“”]|「[^」]*」|『[^』]*』")
_ENDS = re.compile(r"(?<=[.!?。！？।])\s*")
# placeholders for a missing text
_NOTHING = frozenset((
    "n/a", "na", "n.a", "none", "unknown", "null", "nil", "nothing", "undefined", "nan", "empty", "unspecified",
    "unclear", "unsure", "not available", "not applicable", "no caption", "no description", "no answer", "tbd", "todo",
))  # fmt: skip


@lru_cache(maxsize=16_384)  # labels and short captions come again and again
def refuses(text: str) -> bool:
    """Return whether a text is a model's apology, or is about the model instead of the image.

    Typographic apostrophes count as plain ones. A text that is quoted as a whole is checked without its quotes.
    """
    text = " ".join(unicodedata.normalize("NFC", text).replace("’", "'").replace("ʼ", "'").split())
    unquoted = _QUOTED.sub(" ", text).strip()
    if not any(letter.isalnum() for letter in unquoted):
        unquoted = text
    if any(opening.match(unquoted) for opening in _OPENS) or _ANYWHERE.search(unquoted):
        return True
    sentences = _ENDS.split(unquoted)
    return any(_SENTENCE.match(sentence) or refuses_in_first_person(sentence) for sentence in sentences)


def says_nothing(text: str) -> bool:
    """Return whether a text is only a placeholder: `N/A`, `none`, `-`, in any brackets and quotes."""
    bare = " ".join(text.split()).strip(" \t.,:;!?-–—_*\"'`“”‘’()[]{}<>").casefold()
    return bare in _NOTHING or not any(letter.isalnum() for letter in bare)
