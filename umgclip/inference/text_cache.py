"""A cache of recent text embeddings, so that the labels of many requests are embedded once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from jaxtyping import Float
from torch import Tensor


class TextCache:
    """A bounded, thread-safe mapping from prompt to embedding that evicts the least recently used entry."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def __reduce__(self) -> tuple[type[TextCache], tuple[int]]:
        """Copy or pickle as an empty cache: a lock belongs to one process, and embeddings are quickly recomputed."""
        return TextCache, (self._size,)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, prompt: str) -> bool:
        return prompt in self._rows

    def get(self, prompts: Iterable[str], *, again: bool = False) -> dict[str, Float[Tensor, "d"]]:
        """Return the cached ones of the prompts; each prompt counts as a hit or a miss, except with `again`."""
        cached = {}
        with self._lock:
            for prompt in prompts:
                row = self._rows.get(prompt)
                if row is None:
                    self.misses += not again
                    continue
                self.hits += not again
                self._rows.move_to_end(prompt)
                cached[prompt] = row
        return cached

    def put(self, rows: Mapping[str, Float[Tensor, "d"]]) -> None:
        """Store embeddings; each row is copied, so that a larger tensor is not kept in memory."""
        with self._lock:
            for prompt, row in rows.items():
                self._rows[prompt] = row.clone()
                self._rows.move_to_end(prompt)
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)
