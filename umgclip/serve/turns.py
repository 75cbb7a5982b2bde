"""Fair queue with a line of items per client; the client that was served least goes next."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")
_REMEMBERED = 1024


class Turns(Generic[Item]):
    """Start-time fair queueing (Goyal et al., 1996): all waiting clients get equally many turns.

    A client that is new or returns starts level with those that are served now. Use it in one thread only.
    """

    def __init__(self) -> None:
        self._lines: dict[str, deque[Item]] = {}
        self._served: dict[str, int] = {}
        self._now = 0

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def put(self, client: str, item: Item) -> None:
        """Add an item to the end of a client's line."""
        line = self._lines.get(client)
        if line is None:
            self._served[client] = max(self._served.get(client, 0), self._now)
            line = self._lines[client] = deque()
        line.append(item)

    def next(self) -> str:
        """Return the client whose turn it is; among equally served clients, the one with the shortest line.

        Raises:
            LookupError: no client waits.
        """
        if not self._lines:
            raise LookupError("no client waits")
        return min(self._lines, key=lambda client: (self._served[client], len(self._lines[client])))

    def first(self, client: str) -> Item:
        """Return the first item of a client's line."""
        return self._lines[client][0]

    def take(self, client: str) -> Item:
        """Remove the first item from a client's line and return it."""
        line = self._lines[client]
        item = line.popleft()
        if not line:
            del self._lines[client]
        return item

    def charge(self, client: str, work: int) -> None:
        """Count the work that was done for a client."""
        self._now = max(self._now, self._served.get(client, self._now))
        self._served[client] = self._served.get(client, self._now) + work
        if len(self._served) > _REMEMBERED + len(self._lines):
            self._served = {name: self._served[name] for name in self._lines}
