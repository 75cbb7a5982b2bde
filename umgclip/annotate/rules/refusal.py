"""Answers that refuse instead of describing."""

from __future__ import annotations

import re

_REFUSAL = re.compile(
    r"""^\W*(
      (i'?m|i\ am|we'?re)\ (very\ )?(sorry|afraid|unable|not\ able)
    | (i|we)\ (can'?t|cannot|can\ not|won'?t|am\ not\ able|don'?t\ feel|must\ decline)
    | as\ an?\ (ai|artificial|large|language|text)
    | (sorry|apologies|unfortunately),?\ (but\ )?(i|we|this|that|the\ image|no)\b
    | (no|there\ is\ no)\ (image|picture|photo)\ (was|is|has|provided|given|attached|visible|to)
    | (please|could\ you)\ (provide|upload|share|attach|send)
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def refuses(text: str) -> bool:
    """Whether a text is a model's apology; typographic apostrophes count as plain ones."""
    return _REFUSAL.match(text.replace("’", "'")) is not None
