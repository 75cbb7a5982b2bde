"""Counts of what workers did, small enough to be sent after every batch and added up by whoever watches."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


def _seconds() -> dict[str, float]:
    return defaultdict(float)


def _negative(counts: Counter[str]) -> Counter[str]:
    return Counter({reason: -count for reason, count in counts.items()})


@dataclass
class Tally:
    """What was done since the last one.

    Attributes:
        images: samples finished, whatever became of them.
        failed: samples that went to the quarantine, by reason.
        lost: those of them that `annotate.max_failed` counts, by reason too.
        examples: one of the lost for each reason, `KEY: what happened`.
        seconds: per role, in which models were at work.
        asked: rows per role that a model looked at; the others came from the store.
        regions: per role, those that it found or was shown.
    """

    images: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=_seconds)
    asked: Counter[str] = field(default_factory=Counter)
    regions: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count another's things too."""
        self.images += other.images
        self.lost.update(other.lost)
        self.examples = {**other.examples, **self.examples}
        self.failed.update(other.failed)
        self.asked.update(other.asked)
        self.regions.update(other.regions)
        for role, value in other.seconds.items():
            self.seconds[role] = self.seconds.get(role, 0.0) + value

    def taken_back(self) -> Tally:
        """What undoes the counts of samples that are done again; the work on them was done all the same."""
        return Tally(-self.images, _negative(self.failed), _negative(self.lost))


@runtime_checkable
class Report(Protocol):
    """Who watches a run. Engines call it from one thread; it may end the run by raising."""

    def add(self, tally: Tally) -> None:
        """Something was done."""
        ...

    def workers(self, alive: int) -> None:
        """So many workers are there now."""
        ...
