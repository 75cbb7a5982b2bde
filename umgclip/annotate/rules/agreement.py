"""Merge tags that several sources give; the merged tag names the sources that agree."""

from __future__ import annotations

from collections.abc import Sequence

from umgclip.records import Text


def agreed(tags: Sequence[Text]) -> list[Text]:
    """Return each tag once, from its most confident source, with the others in `agreed_by`; in order of first use."""
    by_name: dict[str, list[Text]] = {}
    for tag in tags:
        by_name.setdefault(tag.text, []).append(tag)
    merged = []
    for same_name in by_name.values():
        best = max(same_name, key=lambda tag: tag.score)
        others = sorted({tag.source for tag in same_name} - {best.source})
        merged.append(best.model_copy(update={"agreed_by": others}) if others else best)
    return merged


def sources(tag: Text) -> int:
    """Return how many sources give a tag."""
    return 1 + len(tag.agreed_by or [])
