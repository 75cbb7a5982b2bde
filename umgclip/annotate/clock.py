"""Seconds by what they were spent on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")


class Clock:
    """Adds up; each name is used by one thread."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Time of a block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Time that was measured elsewhere."""
        self._spent[name] = self._spent.get(name, 0.0) + seconds

    def each(self, name: str, items: Iterator[_T]) -> Iterator[_T]:
        """The items, with the time that each takes to come."""
        while True:
            with self.on(name):
                item = next(items, None)
            if item is None:
                return
            yield item

    def read(self) -> dict[str, float]:
        """Seconds so far, to the millisecond."""
        return {name: round(value, 3) for name, value in sorted(self._spent.items())}

    def total(self) -> float:
        """Seconds since the clock was made."""
        return round(time.perf_counter() - self._started, 3)
