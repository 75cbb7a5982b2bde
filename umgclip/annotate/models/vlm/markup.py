"""The marks of the grammars in answers in words, which name places and are no words."""

from __future__ import annotations

import re

_BOXES = re.compile(
    r"<box>(?:(?!</?box>).)*</box>|<\|box_start\|>[^<>]*+<\|box_end\|>"
    r"|-?\[\s*+\d*+\.?\d++(?:\s*+[,;]\s*+\d*+\.?\d++){3,}+\s*+\]",
    re.DOTALL,
)
_TAGS = re.compile(r"</?(?:ref|box|points?)\b[^<>]*+>|<\|object_ref_(?:start|end)\|>")
_GAP = re.compile(r"(?<![ \t])[ \t]++([,.;:!?])")


def without_markup(text: str) -> str:
    """Remove boxes, points and the marks around names from a text; the words in marks stay."""
    plain = _TAGS.sub("", _BOXES.sub(" ", text))
    return text if plain == text else _GAP.sub(r"\1", re.sub(r"[ \t]{2,}", " ", plain)).strip()
