"""Names in a list or a sentence of plain English, without the words that only present them."""

from __future__ import annotations

import re

_BULLET = re.compile(r"^\s*(?:[-*•·]+|\(?\d{1,3}[.):])\s+")
_BETWEEN = re.compile(r"[,;\n，、；]")
_HEADING = re.compile(
    r"^[ *]*+(?:[a-z ]{0,60}\b)?(?:tags|objects|materials|places|items|labels|things|nouns|answer|image|picture)"
    r"[ *]*+:[ *]*+",
    re.IGNORECASE | re.MULTILINE,
)
_SHOWS = re.compile(
    r"^(?:(?:the|this) (?:image|picture|photo|scene) (?:shows|contains|depicts|features|includes|displays)"
    r"|i (?:can )?see|there (?:is|are)) ",
    re.IGNORECASE,
)
_AND_ARTICLE = re.compile(r"(?<!\s)\s++and\s++(?=(?:an?|the|some)\s)", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the|some)\s+", re.IGNORECASE)
_AND = re.compile(r"^(?:and|or)\s+", re.IGNORECASE)


def tag_words(text: str) -> list[str]:
    """Return the names between commas, semicolons or ends of lines; blank ones stay blank.

    A heading ("Tags:"), the start of a sentence ("The image shows"), stars, and "and" before the last name are no part
    of a name. In a sentence, articles are none either, and "and" before an article separates names.
    """
    text = _HEADING.sub("", text.strip())
    sentence = _SHOWS.sub("", text, count=1)
    is_sentence = sentence != text
    if is_sentence:
        text = _AND_ARTICLE.sub(", ", sentence)
    names = [_AND.sub("", _BULLET.sub("", one).strip()) for one in _BETWEEN.split(text)]
    names = [one.strip().rstrip(".").strip("*` ").rstrip(".") for one in names]
    return [_ARTICLE.sub("", one) for one in names] if is_sentence else names
