"""The best few of many, with memory for no more than these."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Ranking(Generic[T]):
    """Keeps the `size` entries of the highest scores; of equal ones the first that came."""

    size: int
    _heap: list[tuple[float, int, T]] = field(default_factory=list)
    _count: int = 0

    def accepts(self, score: float) -> bool:
        """Whether an entry of that score would be kept now."""
        return len(self._heap) < self.size or score > self._heap[0][0]

    def add(self, score: float, entry: T) -> None:
        """Keep an entry that was accepted, in place of the lowest where there is no room."""
        self._count += 1
        item = (score, -self._count, entry)
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, item)
        else:
            heapq.heapreplace(self._heap, item)

    def entries(self) -> list[tuple[float, T]]:
        """Scores and entries, the highest first."""
        return [(score, entry) for score, _, entry in sorted(self._heap, key=lambda item: item[:2], reverse=True)]
