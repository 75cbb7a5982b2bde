"""Clean captions: remove special tokens and "The image shows", and end them where a sentence ends."""

from __future__ import annotations

import re

from umgclip.annotate.rules.repetition import loops
from umgclip.data.refusals.apology import refuses, says_nothing

_SPECIAL = re.compile(r"</?s>|<pad>|<unk>|<loc_\d+>|<\|[^|<>]{1,40}\|>|\[(?:CLS|SEP|PAD|MASK|UNK)\]")
_OPENING = re.compile(
    r"^(?:in\s+)?(?:the|this)\s+(?:image|picture|photo|photograph|scene)\s+"
    r"(?:is\s+(?:of|showing)|shows?|depicts?|features?|displays?|captures?|contains?|presents?|portrays?|of|showing)"
    r"(?:\s*:)?\s+",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(r"\*\*|__|`+|^#+\s+|^\s*[-*]\s+", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")


def clean(text: str, words_max: int) -> str:
    """Return a caption without markup, special tokens and stock openings; empty where nothing is left.

    Args:
        text: the model's text.
        words_max: a longer text is cut after its last whole sentence, or after that word if there is none.
    """
    text = _MARKDOWN.sub("", _SPECIAL.sub(" ", text.replace("\r", "\n")))
    text = _CONTROL.sub(" ", text)
    text = " ".join(text.split()).strip("\"'“” ")
    opened = _OPENING.sub("", text)
    if opened != text:
        text = opened[:1].upper() + opened[1:]
    words = text.split()
    return text if len(words) <= words_max else whole_sentences(" ".join(words[:words_max]))


def whole_sentences(text: str) -> str:
    """Return a text up to its last whole sentence, or all of it where there is none."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text


def text_fault(text: str, repeats_max: int) -> str | None:
    """Return the reason to refuse a cleaned caption, or None."""
    if says_nothing(text) or not any(letter.isalpha() for letter in text):
        return "empty"
    if refuses(text):
        return "refusal"
    if loops(text, repeats_max):
        return "repetition"
    return None
