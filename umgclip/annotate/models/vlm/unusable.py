"""The unusable parts of an answer as rejected annotations, which are counted."""

from __future__ import annotations

from collections.abc import Sequence

from umgclip.annotate.models.vlm.answers import Bad
from umgclip.annotate.rejected import Rejected
from umgclip.records import Text


def refused_parts(role: str, reason: str, bad: Sequence[Bad], source: str) -> list[Rejected]:
    """Return the unusable parts of an answer as rejected annotations of one reason."""
    return [
        Rejected(
            role, reason, Text(text=one.label, score=0.0, source=source) if one.label else None, source=source,
            detail=one.detail,
        )
        for one in bad
    ]  # fmt: skip
