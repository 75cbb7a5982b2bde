"""Things in line, a line for each client; who was served least lately goes next."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")
_REMEMBERED = 1024


class Turns(Generic[Item]):
    """Start-time fair queueing (Goyal et al., 1996): a client's turns are as many as any other's that waits.

    Who comes back, or comes first, stands where those stand who are served now. Belongs to one thread.
    """

    def __init__(self) -> None:
        self._lines: dict[str, deque[Item]] = {}
        self._served: dict[str, int] = {}
        self._now = 0

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def put(self, client: str, item: Item) -> None:
        """To the end of a client's line."""
        line = self._lines.get(client)
        if line is None:
            self._served[client] = max(self._served.get(client, 0), self._now)
            line = self._lines[client] = deque()
        line.append(item)

    def next(self) -> str:
        """Whose turn it is; of those who were served alike, who asks for least.

        Raises:
            LookupError: nobody waits.
        """
        if not self._lines:
            raise LookupError("nobody waits")
        return min(self._lines, key=lambda client: (self._served[client], len(self._lines[client])))

    def first(self, client: str) -> Item:
        """What stands first in a client's line."""
        return self._lines[client][0]

    def take(self, client: str) -> Item:
        """Take the first of a client's line."""
        line = self._lines[client]
        item = line.popleft()
        if not line:
            del self._lines[client]
        return item

    def charge(self, client: str, work: int) -> None:
        """Count what was done for a client."""
        self._now = max(self._now, self._served.get(client, self._now))
        self._served[client] = self._served.get(client, self._now) + work
        if len(self._served) > _REMEMBERED + len(self._lines):
            self._served = {name: self._served[name] for name in self._lines}
