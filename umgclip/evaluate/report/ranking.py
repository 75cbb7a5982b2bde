"""The best few of many entries, in memory for only that many."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Ranking(Generic[T]):
    """The `size` entries with the highest scores; of equal scores the first ones stay."""

    size: int
    _heap: list[tuple[float, int, T]] = field(default_factory=list)
    _count: int = 0

    def accepts(self, score: float) -> bool:
        """Return True if an entry with this score would be kept now."""
        return len(self._heap) < self.size or score > self._heap[0][0]

    def add(self, score: float, entry: T) -> None:
        """Add an accepted entry, in place of the lowest one if the ranking is full."""
        self._count += 1
        item = (score, -self._count, entry)
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, item)
        else:
            heapq.heapreplace(self._heap, item)

    def entries(self) -> list[tuple[float, T]]:
        """Return scores and entries, the highest score first."""
        return [(score, entry) for score, _, entry in sorted(self._heap, key=lambda item: item[:2], reverse=True)]
