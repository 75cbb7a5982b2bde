"""Tell whether a text describes something beside the sentence that refuses: such a text is a caption.

"This image shows a man I cannot identify, standing next to a red car" names its scene, whatever its writer cannot do.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from umgclip.data.refusals.first_person import Language, words_of

_LINKS = (
    "but|yet|aber|doch|mais|pero|ma|mas|maar|men|ale|но|але|in which|on which|auf dem|auf der|in dem|où|"
    "dans laquelle|sur laquelle|en la que|in cui|em que|na qual|waarop|na którym|на котором|на которой"
)
_PARTS = re.compile(rf"[,;:.!?…—–。！？，、；：।،؛؟]+|\s-+\s|\s(?:{_LINKS})\s")
_JOINED_LETTERS = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_LETTERS_OF_A_WORD = 2


def words_of_scene(text: str, languages: Collection[Language]) -> int:
    """Count the words of the clauses that are not about a task, a limit or a request, nor about the writer's image.

    Args:
        text: the text, without what it quotes.
        languages: those in which it may be a refusal.

    Returns:
        A number of words; in scripts without spaces, half that of the letters.
    """
    return sum(
        _length(clause) for clause in _PARTS.split(text) if not any(_of_the_task(clause, one) for one in languages)
    )


def _of_the_task(clause: str, language: Language) -> bool:
    lowered, words = words_of(clause)
    if any(language.holds(name, lowered, words) for name in ("no", "do", "ask", "model", "can")):
        return True
    return language.holds("me", lowered, words) and language.holds("image", lowered, words)


def _length(clause: str) -> int:
    joined = len(_JOINED_LETTERS.findall(clause))
    return len(_JOINED_LETTERS.sub(" ", clause).split()) + joined // _LETTERS_OF_A_WORD
