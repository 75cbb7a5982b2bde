"""Tags that several sources say become one, which names those that agree."""

from __future__ import annotations

from collections.abc import Sequence

from umgclip.records import Text


def agreed(tags: Sequence[Text]) -> list[Text]:
    """Each tag once, as its surest source says it, with the other sources in `agreed_by`; order as it first came."""
    by_name: dict[str, list[Text]] = {}
    for tag in tags:
        by_name.setdefault(tag.text, []).append(tag)
    merged = []
    for said in by_name.values():
        best = max(said, key=lambda tag: tag.score)
        others = sorted({tag.source for tag in said} - {best.source})
        merged.append(best.model_copy(update={"agreed_by": others}) if others else best)
    return merged


def sources(tag: Text) -> int:
    """How many sources say a tag."""
    return 1 + len(tag.agreed_by or [])
