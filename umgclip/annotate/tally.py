"""Counts of what workers did, small enough to be sent after every batch and added up by whoever watches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass
class Tally:
    """What was done since the last one.

    Attributes:
        images: samples finished, whatever became of them.
        failed: samples that went to the quarantine, by reason.
        seconds: per role, in which models were at work.
        asked: images per role that a model looked at; the others came from the store.
        regions: per role, the regions that it found or spoke of.
    """

    images: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    regions: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count another's things too."""
        self.images += other.images
        for mine, more in (
            (self.failed, other.failed),
            (self.seconds, other.seconds),
            (self.asked, other.asked),
            (self.regions, other.regions),
        ):
            mine.update(more)


@runtime_checkable
class Report(Protocol):
    """Who watches a run. Engines call it from one thread."""

    def add(self, tally: Tally) -> None:
        """Something was done."""
        ...

    def workers(self, alive: int) -> None:
        """So many workers are there now."""
        ...
